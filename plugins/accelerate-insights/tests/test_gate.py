# SPDX-License-Identifier: Apache-2.0
"""Which runs can be compared, what comes of each pair of cells, and how it is shown."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import attrs
import pytest
from accelerate_insights.commands.compare import app
from accelerate_insights.gate import showing
from accelerate_insights.gate.live import Turns
from accelerate_insights.gate.rows import Comparison, Row, Terms, Verdict, intervals
from accelerate_insights.gate.sides import Stored, changed, side, stored
from accelerate_insights.gate.spread import Spread
from accelerate_insights.gate.verdicts import compare as judged
from accelerate_insights.reading import Database
from click.testing import Result
from typer.testing import CliRunner

from accelerate_core.errors import AccelerateError, ConfigError, ErrorInfo, StoreError
from accelerate_core.testing import samples
from accelerate_core.types import AdapterInfo, Cell, CellStatus, Measurement, RunSummary, Target

from .databases import filled

LEVEL = tuple(10 + 0.01 * (number * 7 % 11) for number in range(20))
SLOWER = tuple(one * 1.2 for one in LEVEL)


def measured(number: int = 1, **changes: Any) -> Measurement:
    values = {"error": None, "samples_ms": LEVEL, "latency_ms": 10.0, **changes}
    return samples.measurement(number, **values)


def run(*cells: Measurement, **changes: Any) -> RunSummary:
    return RunSummary(run=samples.run_info(**changes), measurements=cells)


def compare(*runs: Any, **options: Any) -> Comparison:
    """Compare runs of a machine whose runs never differed among themselves."""
    key = samples.measurement().series_key
    alike = {(key, metric): Spread(0.0, 3) for metric in ("latency_ms", "inference_time_ms")}
    return judged(*runs, **{"spreads": alike, **options})


def row(old: Measurement, new: Measurement, **options: Any) -> Row:
    (found,) = compare(run(old), run(new), **options).rows
    return found


# --- verdicts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(1.2, "worse"), (1.03, "same"), (1.0, "same"), (0.97, "same"), (0.8, "better")],
)
def test_a_clear_change_is_called_by_name(factor: float, verdict: str) -> None:
    found = row(measured(), measured(samples_ms=tuple(one * factor for one in LEVEL)))
    assert found.verdict == verdict
    assert found.change == pytest.approx(factor - 1, abs=0.005)
    assert found.low is not None and found.high is not None
    assert found.low <= factor - 1 <= found.high


def test_what_the_smallest_change_is_can_be_chosen() -> None:
    new = measured(samples_ms=tuple(one * 1.03 for one in LEVEL))
    assert row(measured(), new, terms=Terms(min_effect=0.02)).verdict is Verdict.WORSE


def test_without_earlier_runs_a_start_may_be_all_the_difference() -> None:
    new = measured(samples_ms=tuple(one * 10 for one in LEVEL))
    found = row(measured(), new, spreads={})
    assert found.verdict is Verdict.UNDECIDED and found.note.startswith("not enough runs")
    assert found.change == pytest.approx(9, abs=0.1)
    assert row(measured(), new, spreads={}, is_interleaved=True).verdict is Verdict.WORSE
    # What is known of the new's series serves as well.
    known = {("cd" * 32, "latency_ms"): Spread(0.0, 3)}
    new = attrs.evolve(new, series_key="cd" * 32)
    assert row(measured(), new, spreads=known).verdict is Verdict.WORSE


@pytest.mark.parametrize("factor", [0.97, 1.03])
def test_what_may_be_a_change_either_way_is_not_the_same(factor: float) -> None:
    """The interval reaches over the smallest change that counts on one side only."""
    spreads = {(measured().series_key, "latency_ms"): Spread(0.016, 30)}
    new = measured(samples_ms=tuple(one * factor for one in LEVEL))
    found = row(measured(), new, spreads=spreads)
    assert found.low is not None and found.high is not None
    assert (found.low < -0.05) == (factor < 1) and (found.high > 0.05) == (factor > 1)
    assert found.verdict is Verdict.UNDECIDED and found.runs == 30


@pytest.mark.parametrize("deviation", [0.1, 9.0, 1e9])
def test_runs_that_differ_wildly_leave_the_interval_unknown(deviation: float) -> None:
    spreads = {(measured().series_key, "latency_ms"): Spread(deviation, 3)}
    found = row(measured(), measured(samples_ms=SLOWER), spreads=spreads, terms=Terms(alpha=1e-5))
    assert found.verdict is Verdict.UNDECIDED and (found.low, found.high) == (None, None)
    assert found.note == "runs differ too much among themselves: run both in turns"


def test_too_few_samples_are_undecided_and_say_how_many_are_missing() -> None:
    found = row(measured(samples_ms=LEVEL[:3]), measured(samples_ms=SLOWER[:3]))
    assert found.verdict is Verdict.UNDECIDED and found.low is None
    assert found.more == 2
    assert f"about 2 more repeats are needed, {found.samples + 2} in all" in found.note
    noisy = tuple(10.0 + 5 * (number * 7 % 11) for number in range(20))
    found = row(measured(samples_ms=noisy), measured(samples_ms=noisy[::-1]))
    assert found.verdict is Verdict.UNDECIDED and "more than 1,000" in found.note


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_samples_that_are_no_times_are_undecided(bad: float) -> None:
    found = row(measured(), measured(samples_ms=(*LEVEL, bad)))
    assert found.verdict is Verdict.UNDECIDED and "clock" in found.note
    found = row(measured(), measured(samples_ms=()))
    assert found.verdict is Verdict.UNDECIDED and "no samples" in found.note


ERROR = ErrorInfo(kind="NumericalError", message="differs")
BROKEN: dict[str, Any] = {"status": CellStatus.MISMATCH, "error": ERROR}


@pytest.mark.parametrize(
    ("old", "new", "verdict"),
    [
        ({}, BROKEN, Verdict.WORSE),
        ({}, {"status": CellStatus.FAILED, "error": ERROR, "samples_ms": ()}, Verdict.WORSE),
        ({}, {"status": CellStatus.MISSING, "is_required": True}, Verdict.WORSE),
        ({}, {"status": CellStatus.MISSING, "is_required": False}, Verdict.UNDECIDED),
        ({}, {"status": CellStatus.SKIPPED}, Verdict.UNDECIDED),
        (BROKEN, {}, Verdict.BETTER),
        (BROKEN, BROKEN, Verdict.UNDECIDED),
        ({"status": CellStatus.MISSING}, {}, Verdict.UNDECIDED),
        ({}, {"fell_back_from": Target("webgpu")}, Verdict.WORSE),
        ({"fell_back_from": Target("webgpu")}, {}, Verdict.UNDECIDED),
    ],
)
def test_what_no_longer_works_is_worse(
    old: dict[str, Any], new: dict[str, Any], verdict: Verdict
) -> None:
    found = row(measured(**old), measured(**new))
    assert (found.metric, found.verdict) == ("status", verdict)
    assert found.note


def test_cells_of_one_run_are_listed_and_the_worst_comes_first() -> None:
    found = compare(
        run(measured(1), *(measured(number) for number in range(2, 6))),
        run(
            measured(2),
            measured(3, samples_ms=tuple(one * 0.8 for one in LEVEL)),
            measured(4, samples_ms=LEVEL[:2]),
            measured(5, samples_ms=SLOWER),
            measured(6),
        ),
    )
    assert [one.verdict for one in found.rows] == ["worse", "undecided", "better", "same"]
    assert found.verdict is Verdict.WORSE
    assert [one.batch_size for one in found.only_old] == [1]
    assert [one.batch_size for one in found.only_new] == [6]
    assert [one.cell.batch_size for one in intervals(found)] == [5, 3, 2]


def test_every_test_has_its_share_of_alpha() -> None:
    cells = [measured(number) for number in range(1, 7)]
    alone = row(cells[0], cells[0])
    (*_, one) = compare(run(*cells), run(*cells)).rows
    two = compare(
        run(cells[0]), run(cells[0]), Terms(metrics=("latency_ms", "inference_time_ms"))
    ).rows
    assert one.low is not None and alone.low is not None and one.low < alone.low
    assert [each.metric for each in two] == ["inference_time_ms", "latency_ms"]
    assert two[1].low is not None and two[1].low < alone.low  # tests are counted, not cells


def test_what_else_changed_is_noted() -> None:
    worker = attrs.evolve(samples.worker_info(), browser_version="157.0", threads=3)
    found = compare(run(measured()), run(measured(worker=worker)))
    assert found.notes == (
        "webgpu/ort:chromium: browser version 156.0.1 -> 157.0",
        f"webgpu/ort:chromium: threads {samples.worker_info().threads} -> 3",
    )
    simulated = attrs.evolve(worker, is_simulated=True)
    found = compare(run(measured(worker=simulated)), run(measured(worker=simulated)))
    assert "SIMULATED" in found.notes[0]


# --- what is refused ------------------------------------------------------------------------------


def test_different_machines_and_adapters_are_refused_unless_asked_for() -> None:
    for name, one, other in (
        ("system", "Linux", "Darwin"),
        ("processor", "x", "y"),
        ("cores", 2, 64),
    ):
        with pytest.raises(ConfigError, match=f"machines: {name} is {one!r} and {other!r}"):
            compare(run(measured(), host={name: one}), run(measured(), host={name: other}))
    adapter = attrs.evolve(
        samples.worker_info(),
        adapter=AdapterInfo(vendor="nvidia", architecture="hopper"),
        is_software=False,
    )
    with pytest.raises(ConfigError, match="google swiftshader software and nvidia hopper hardware"):
        row(measured(), measured(worker=adapter))
    found = compare(run(measured()), run(measured(worker=adapter)), across_machines=True)
    assert any("adapter" in note for note in found.notes)


def test_runs_without_a_common_cell_are_refused() -> None:
    with pytest.raises(ConfigError, match="no cell in common") as refused:
        compare(run(measured(1)), run(measured(2)))
    assert len(refused.value.info.accepted) == 2


@pytest.mark.parametrize(
    "terms",
    [
        {"alpha": 0},
        {"alpha": 0.5},
        {"min_effect": 0},
        {"metrics": ("latencyms",)},
        {"min_effect": 1e999},
    ],
)
def test_terms_that_cannot_be_kept_are_refused(terms: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as refused:
        Terms(**terms)
    assert refused.value.info.accepted


# --- what A and B are -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    commits = ["a" * 40, "b" * 40, "b" * 40 + "+changes"]
    return filled(
        tmp_path_factory.mktemp("db") / "r.duckdb", [10, 11, 12], commits=commits, name="run"
    )


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("latest", "run-2"),
        ("latest~2", "run-0"),
        ("run-1", "run-1"),
        ("aaaaaaaa", "run-0"),
        ("bbbbbbbb", "run-1"),
        ("b" * 40 + "+changes", "run-2"),
    ],
)
def test_a_run_is_named_by_age_id_or_commit(db: Path, word: str, found: str) -> None:
    made = stored(Database(db), word, "A")
    assert made.summary.run.id == found
    assert [one.run_id for one in made.summary.measurements] == [found]


def test_a_database_file_is_its_latest_run(db: Path, tmp_path: Path) -> None:
    made = side(str(db), tmp_path / "other.duckdb", "A")
    assert isinstance(made, Stored) and made.summary.run.id == "run-2"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("latest~3", "there are only 3 runs"),
        ("run", "no run is called|3 runs begin"),
        ("cccccccc", "no run is called"),
        ("--upload-pack=x", "no run is called"),
    ],
)
def test_a_run_that_is_not_there_is_refused(db: Path, word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        stored(Database(db), word, "A")


def test_no_database_and_no_runs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such database"):
        side("latest", tmp_path / "none.duckdb", "A")
    empty = filled(tmp_path / "empty.duckdb", [])
    with pytest.raises(StoreError, match="no run is stored"):
        side("latest", empty, "A")


def test_spreads_are_of_runs_up_to_the_old_one(tmp_path: Path) -> None:
    path = filled(tmp_path / "r.duckdb", [10, 10.4, 10, 10.5, 9.9, 10.2, 99, 1], name="run")
    assert stored(Database(path), "latest~6", "A").spreads(("latency_ms",)) == {}
    ((_, spread),) = stored(Database(path), "latest~2", "A").spreads(("latency_ms",)).items()
    assert spread.runs == 6 and 0.01 < spread.deviation < 0.06


PIPELINE = """
[[models]]
name = "m"
source = "file:m.onnx"
[[benchmarks]]
targets = ["cpu"]
"""


def test_b_can_be_a_with_another_setting(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(PIPELINE)
    made = changed(
        path, ["models.0.source=file:other.onnx", "pool.headless=false", "backends.cpu.threads=1"]
    )
    assert made.models[0].source == "file:other.onnx"
    assert not made.pool.headless and made.backends == {"cpu": {"threads": 1}}


@pytest.mark.parametrize(
    "setting", ["headless", "models.1.source=x", "models.source=x", "name.x=1", "pool.headles=true"]
)
def test_a_setting_that_is_none_is_refused(tmp_path: Path, setting: str) -> None:
    path = tmp_path / "p.toml"
    path.write_text(PIPELINE)
    with pytest.raises(ConfigError):
        changed(path, [setting])


@pytest.mark.parametrize(
    "words",
    [
        ("latest~1", "latest", "--with", "pool.headless=false"),
        ("--markdown", "nowhere/x.md"),
        ("--alpha", "2"),
        ("--metric", "memory_usage_mb"),
        ("nowhere.toml", "latest"),
        ("latest", "latest", "--db-b", "nowhere.duckdb"),
        ("latest", "latest"),
    ],
)
def test_the_command_refuses_before_anything_starts(
    words: tuple[str, ...], db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*words, "--db", str(db)])
    assert isinstance(done.exception, AccelerateError) and done.exception.exit_code == 2


# --- turns ----------------------------------------------------------------------------------------


def test_two_runs_take_turns_also_when_one_fails() -> None:
    cells = [Cell(model=name, target=Target("cpu")) for name in "xyz"]
    made: list[str] = []

    async def work(turns: Turns, name: str, fails: str) -> None:
        number = "AB".index(name)
        for cell in cells:
            for sample in range(-1, 4):
                await turns.reach(number, cell, sample)
                made.append(f"{name}{cell.model}")
                await asyncio.sleep(0)
                if cell.model == fails:
                    break
        await turns.leave(number)

    async def both() -> None:
        turns = Turns(cells)
        await asyncio.gather(work(turns, "A", ""), work(turns, "B", "y"))

    asyncio.run(asyncio.wait_for(both(), 10))
    assert made[:10] == ["Ax", "Bx", "Ax", "Bx", "Bx", "Ax", "Ax", "Bx", "Bx", "Ax"]
    assert made[10:16] == ["Ay", "By", "Ay", "Ay", "Ay", "Ay"]
    assert made[16:] == ["Az", "Bz", "Az", "Bz", "Bz", "Az", "Az", "Bz", "Bz", "Az"]


# --- how it is shown ------------------------------------------------------------------------------


@pytest.fixture
def comparison() -> Comparison:
    hostile = "| <b>@all</b> [x](y) `a` _b_ \\"
    named = attrs.evolve(measured(2).cell, model=hostile)
    return compare(
        run(measured(1), measured(2, cell=named), measured(3)),
        run(measured(1), measured(2, cell=named, samples_ms=SLOWER), measured(4)),
    )


def test_a_comment_has_the_verdict_first_and_is_not_led_astray(comparison: Comparison) -> None:
    text = showing.markdown(comparison)
    first, _, rest = text.partition("\n")
    assert first == "**WORSE: 1 worse, 1 same**"
    shown, _, folded = rest.partition("<details>")
    assert shown.count("\n| ") == 3 and "+20%" in shown
    assert folded.count("**same**") == 1
    assert all(re.search(rf"^- Only in {side}: minilm", folded, re.M) for side in "AB")
    assert "<b>" not in text and "@all" not in text and "\\[x\\]" in text
    assert "\\`a\\` \\_b\\_ \\\\" in text
    for line in text.splitlines():
        if line.startswith("| ") and "---" not in line:
            assert line.replace("\\|", "").count("|") == 8


def test_a_comment_says_no_row_twice() -> None:
    text = showing.markdown(compare(run(measured(1)), run(measured(1, samples_ms=SLOWER))))
    assert text.startswith("**WORSE: 1 worse**") and text.count("**worse**") == 1


def test_json_holds_every_row_and_can_be_read_back(comparison: Comparison) -> None:
    data = json.loads(json.dumps(showing.plain(comparison), allow_nan=False))
    assert data["verdict"] == "worse"
    assert [one["verdict"] for one in data["rows"]] == ["worse", "same"]
    assert data["rows"][0]["change"] == pytest.approx(0.2)


def test_exit_codes_of_what_is_stored(tmp_path: Path) -> None:
    path = filled(tmp_path / "r.duckdb", [10.0] * 3, samples_ms=LEVEL)
    filled(path, [12.0], samples_ms=SLOWER, first=3)
    filled(path, [12.0], samples_ms=SLOWER[:1], first=4)
    markdown = tmp_path / "x.md"

    def said(*words: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, [*words, "--db", str(path), "--markdown", str(markdown)])
        assert markdown.read_text().startswith(f"**{done.output.splitlines()[-1]}**")
        return done.exit_code, done.output.splitlines()[-1]

    assert said("latest~2", "latest~1") == (1, "WORSE: 1 worse")
    assert said("latest~1", "latest~2") == (0, "BETTER: 1 better")
    # A second run may differ by how it was started alone.
    assert said("latest~4", "latest~1") == (0, "UNDECIDED: 1 undecided")
    # One sample decides nothing: that fails only who is strict.
    assert said() == (0, "UNDECIDED: 1 undecided")
    assert said("--strict") == (3, "UNDECIDED: 1 undecided")
    done = CliRunner().invoke(app, ["latest~2", "latest~1", "--db", str(path), "--json"])
    assert (done.exit_code, json.loads(done.output)["verdict"]) == (1, "worse")
    # What is worse wins over what is undecided, also for who is strict.
    filled(path, [12.0], inference_samples_ms=SLOWER[:1], samples_ms=SLOWER, first=5)
    both = ("--metric", "latency_ms", "--metric", "inference_time_ms")
    assert said("latest~3", "latest", "--strict", *both) == (1, "WORSE: 1 worse, 1 undecided")


def test_another_database_is_of_b_and_other_machines_only_where_asked(tmp_path: Path) -> None:
    path = filled(tmp_path / "r.duckdb", [10.0] * 3, samples_ms=LEVEL)
    host = {"processor": "y"}
    other = filled(tmp_path / "b.duckdb", [12.0], samples_ms=SLOWER, name="other", host=host)

    def asked(*words: str) -> Result:
        return CliRunner().invoke(app, [*words, "--db", str(path)])

    words = ("latest", "latest", "--db-b", str(other))
    refused = asked(*words)
    assert isinstance(refused.exception, ConfigError) and "machines" in str(refused.exception)
    done = asked(*words, "--across-machines")
    assert done.exit_code == 1 and done.output.splitlines()[-1] == "WORSE: 1 worse"
    # Refused before minutes are spent: there is no such model.
    (tmp_path / "p.toml").write_text(PIPELINE)
    refused = asked("latest", str(tmp_path / "p.toml"))
    assert isinstance(refused.exception, ConfigError) and "machines" in str(refused.exception)
