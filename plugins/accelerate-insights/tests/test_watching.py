# SPDX-License-Identifier: Apache-2.0
"""A run against its history: suspected, measured again, stored, told, and what people say of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs
import pytest
from accelerate_duckdb.store import DuckDbStore
from accelerate_insights import detecting
from accelerate_insights.detecting.shift import ShiftDetector
from accelerate_insights.reading import read_series
from accelerate_insights.testing.detectors import series
from accelerate_insights.values import METRICS, Finding, Status
from accelerate_insights.watching import alerts, keeping
from accelerate_insights.watching.analysis import Watch
from accelerate_insights.watching.deciding import Known, by_cause, is_mended, is_news
from accelerate_insights.watching.plugin import WatchSettings

from accelerate_core.cli import main
from accelerate_core.cli.table import regression_lines
from accelerate_core.errors import ConfigError
from accelerate_core.events import Regression
from accelerate_core.host import Host
from accelerate_core.types import CellStatus, Measurement

from .databases import filled

GOOD, BAD, COMMITS = 10.0, 13.0, ("a" * 40, "b" * 40)
#: As much as real series differ, and the same in every test.
NOISE = (1.0, 1.01, 0.99, 1.005, 0.985, 1.015, 0.995, 1.002)


THROUGHPUT = "throughput_items_per_second"


def levels(*parts: tuple[float, int]) -> list[float]:
    values = [level for level, count in parts for _ in range(count)]
    return [value * NOISE[index % len(NOISE)] for index, value in enumerate(values)]


@pytest.fixture(scope="module")
def slower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database whose last twelve runs are 30% slower, from one commit on."""
    return filled(
        tmp_path_factory.mktemp("slower") / "results.duckdb",
        levels((GOOD, 30), (BAD, 12)),
        commits=[COMMITS[0]] * 30 + [COMMITS[1]] * 12,
        memory_bytes=None,
        inference_time_ms=None,
        name="run",
    )


@pytest.fixture
def path(tmp_path: Path, slower: Path) -> Path:
    """Return a copy of its own for a test."""
    return Path(shutil.copy(slower, tmp_path / "results.duckdb"))


@pytest.fixture
def opened(path: Path) -> Iterator[DuckDbStore]:
    store = DuckDbStore.open(path)
    yield store
    store.close()


def judge(
    store: DuckDbStore, run: str, *, again_ms: float | None = BAD, **settings: Any
) -> tuple[set[str], Sequence[Regression]]:
    """Do what a run's end does: ask, measure again, and ask again."""
    watch, summary = Host().create("analyses", "insights", settings), store.summary(run)
    suspects = set(watch.suspects(summary, store))
    again: list[Measurement] = []
    for one in summary.measurements:
        if one.id in suspects and again_ms is not None:
            again.append(attrs.evolve(one, id=f"{one.id}-again", again_of=one.id))
            again[-1] = attrs.evolve(again[-1], latency_ms=again_ms, samples_ms=(again_ms,) * 5)
            store.save_measurement(again[-1])
    return suspects, watch.conclude(summary, again, store)


def rows(store: DuckDbStore, columns: str) -> tuple[tuple[Any, ...], ...]:
    return tuple(store.query(f"SELECT {columns} FROM performance_regressions ORDER BY id").rows)


def test_what_is_confirmed_is_stored_and_told_with_all_that_people_need(
    opened: DuckDbStore, path: Path
) -> None:
    suspects, (told,) = judge(opened, "run-41")
    assert len(suspects) == 1
    assert (told.last_good_run, told.first_bad_run) == ("run-29", "run-30")
    assert (told.last_good_commit, told.first_bad_commit) == COMMITS
    assert told.model == "minilm" and told.target == "webgpu/ort:chromium" and told.unit == "ms"
    assert told.change == pytest.approx(0.3, abs=0.02)
    assert told.change_low is not None and told.change_high is not None
    assert told.change_low < told.change < told.change_high
    assert told.evidence["detector"] == "shift" and told.evidence["runs_before"] == 30
    assert told.label.startswith("latency of minilm on webgpu/ort:chromium")
    assert told.see == f"accel regressions show {told.id[:8]} --db {path}" and not told.fails_run
    ((identity, status, again, worse),) = rows(opened, "id, status, was_measured_again, is_worse")
    assert (identity, status, again, worse) == (told.id, "open", True, True)


def test_regressions_of_one_run_with_one_cause_are_one_alert_as_in_the_whole_database(
    opened: DuckDbStore,
) -> None:
    with opened.transaction():
        for run in opened.runs(100):
            (one,) = opened.summary(run.id).measurements
            steady = {"latency_ms": GOOD, "samples_ms": (GOOD,) * 3}
            for model, changes in (("vit", {}), ("clip", steady)):
                cell = attrs.evolve(one.cell, model=model)
                key = {"id": f"{one.id}-{model}", "cell": cell, "series_key": model}
                opened.save_measurement(attrs.evolve(one, **key, **changes))
    suspects, told = judge(opened, "run-41")
    assert len(suspects) == 2 and [one.model for one in told] == ["minilm", "vit"]
    (cause,) = {one.cause_id for one in told}
    assert cause is not None
    (alert,) = alerts.read(opened)
    assert {one.id for one in alert.findings} == {one.id for one in told}
    found = detecting.find(read_series(opened))
    assert {(one.id, one.cause_id) for one in found} == {(one.id, cause) for one in told}
    heading, *lines = regression_lines(told)
    assert heading == f"2 regressions with one cause, {told[0].cause}:"
    assert len(lines) == 2 and all(line.startswith("  ") for line in lines)


def test_what_is_known_is_told_once_and_its_numbers_follow(opened: DuckDbStore, path: Path) -> None:
    judge(opened, "run-41")
    ((changed,),) = rows(opened, "updated_at")
    opened.close()
    filled(path, levels((BAD * 1.02, 9)), first=42, name="run", memory_bytes=None)
    store = DuckDbStore.open(path)
    assert judge(store, "run-50") == (set(), [])
    ((again, updated, after),) = rows(store, "was_measured_again, updated_at, after")
    assert again and updated == changed and after == pytest.approx(BAD, rel=0.05)
    store.close()


def test_what_is_still_worse_is_said_until_somebody_answers(opened: DuckDbStore) -> None:
    watch, summary = Host().create("analyses", "insights", {}), opened.summary("run-41")
    _, told = judge(opened, "run-41")
    assert watch.still_worse(summary, told, opened) == []
    (line,) = watch.still_worse(summary, (), opened)
    assert line == (
        f"latency of minilm on webgpu/ort:chromium fp32 batch 1: {told[0].change:+.0%},"
        f" {told[0].cause}; {told[0].see}"
    )
    elsewhere = [attrs.evolve(one, series_key="other") for one in summary.measurements]
    assert watch.still_worse(attrs.evolve(summary, measurements=tuple(elsewhere)), (), opened) == []
    unknown = attrs.evolve(summary, run=attrs.evolve(summary.run, id="of another machine"))
    assert watch.still_worse(unknown, (), opened) == []
    with opened.transaction() as transaction:
        keeping.set_status(transaction, told[0].id, Status.ACKNOWLEDGED, None)
    assert watch.still_worse(summary, (), opened) == []


def test_what_was_not_confirmed_is_neither_stored_nor_told(opened: DuckDbStore) -> None:
    suspects, told = judge(opened, "run-41", again_ms=None)
    assert suspects and not told and rows(opened, "id") == ()
    failed = [
        attrs.evolve(one, id="again", again_of=one.id, status=CellStatus.FAILED, samples_ms=())
        for one in opened.summary("run-41").measurements
    ]
    watch = Watch(WatchSettings(), ShiftDetector())
    assert not watch.conclude(opened.summary("run-41"), failed, opened)


def test_a_steady_or_short_series_is_no_suspect(tmp_path: Path) -> None:
    store = DuckDbStore.open(filled(tmp_path / "r.duckdb", levels((GOOD, 40)), name="run"))
    assert judge(store, "run-39") == (set(), [])
    store.close()
    store = DuckDbStore.open(filled(tmp_path / "short.duckdb", [GOOD, BAD], name="run"))
    assert judge(store, "run-1") == (set(), [])
    store.close()


def test_a_run_whose_clock_went_back_is_not_judged_and_that_is_said(
    opened: DuckDbStore, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened.close()
    filled(path, [BAD], first=40, name="back", memory_bytes=None)
    store = DuckDbStore.open(path)
    assert judge(store, "back-40") == (set(), []) and rows(store, "id") == ()
    (record,) = caplog.records
    assert "1 series of this run have points of later times" in record.getMessage()
    store.close()


def test_what_was_bad_for_a_few_runs_is_no_news_afterwards() -> None:
    values = levels((GOOD, 30), (BAD, 5), (GOOD, 12))
    (during,) = detecting.find([series(values[:35])])
    (later,) = detecting.find([series(values)])
    assert during.id == later.id  # what was found is found again, its size is another
    assert (is_news(during, {}, 0.05), is_news(later, {}, 0.05)) == (True, False)
    lasted = detecting.find([series(levels((GOOD, 30), (BAD, 12), (GOOD * 1.1, 12)))])
    assert [one.series.points[one.change.index].run_id for one in lasted] == ["run-30", "run-42"]


@pytest.mark.parametrize("status", list(Status))
def test_only_what_was_fixed_is_news_again(status: Status) -> None:
    (found,) = detecting.find([series(levels((GOOD, 30), (BAD, 8)))])
    known = Known(status=status, updated_at=found.series.points[29].at)
    assert is_news(found, {found.id: known}, 0.05) == (status is Status.FIXED)


def test_what_became_better_is_stored_and_nobody_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = filled(tmp_path / "r.duckdb", levels((BAD, 30), (GOOD, 12)), name="run")
    store = DuckDbStore.open(path)
    assert judge(store, "run-41") == (set(), [])
    assert rows(store, "is_worse, severity, was_measured_again") == ((False, "improvement", False),)
    store.close()
    words = ["regressions", "find", "--json", "--db", str(path)]
    assert main(words) == 0 and json.loads(capsys.readouterr().out) == []
    assert main([*words, "--all"]) == 0 and len(json.loads(capsys.readouterr().out)) == 1


def test_what_was_fixed_and_is_back_is_opened_again_with_a_note(
    opened: DuckDbStore, path: Path
) -> None:
    judge(opened, "run-41")
    ((identity,),) = rows(opened, "id")
    with opened.transaction() as transaction:
        transaction.execute(
            "UPDATE performance_regressions SET status = 'fixed', updated_at ="
            " (SELECT max(timestamp) FROM webnn_webgpu_performance)"
        )
    opened.close()
    filled(path, [GOOD], first=42, name="run", memory_bytes=None)
    store = DuckDbStore.open(path)
    _, (over,) = judge(store, "run-42")
    assert (over.id, over.status) == (identity, "fixed")
    store.close()
    filled(path, [BAD, BAD], first=43, name="run", memory_bytes=None)
    store = DuckDbStore.open(path)
    suspects, (told,) = judge(store, "run-44")
    assert suspects and told.id == identity and told.note == "opened again: back in run run-44"
    assert rows(store, "status, note") == (("open", told.note),)
    store.close()


def test_the_next_change_of_a_series_that_was_fixed_says_so(
    opened: DuckDbStore, path: Path
) -> None:
    judge(opened, "run-41")
    ((identity,),) = rows(opened, "id")
    with opened.transaction() as transaction:
        transaction.execute("UPDATE performance_regressions SET status = 'fixed'")
    opened.close()
    filled(path, levels((GOOD, 30), (BAD, 12)), first=42, name="run", memory_bytes=None)
    store = DuckDbStore.open(path)
    _, (told, over) = judge(store, "run-83", again_ms=BAD)
    assert (over.id, over.status) == (identity, "fixed")
    assert told.id != identity and told.note == f"is back: was fixed as {identity[:8]}"
    store.close()


@pytest.fixture
def told(opened: DuckDbStore) -> Iterator[Regression]:
    """Return a regression that people were told of; the database is closed."""
    _, (one,) = judge(opened, "run-41")
    opened.close()
    yield one


def runs(
    path: Path, level: float, first: int, count: int = 1, **settings: Any
) -> Sequence[Regression]:
    """Return what people are told at the end of the last of these runs at a level."""
    filled(path, levels((level, count)), first=first, name="run", memory_bytes=None)
    store = DuckDbStore.open(path)
    try:
        return judge(store, f"run-{first + count - 1}", again_ms=level, **settings)[1]
    finally:
        store.close()


def mark(path: Path, word: str, identity: str) -> None:
    """Say what became of a regression, just before the next run."""
    assert main(["regressions", word, identity, "--note", "a patch", "--db", str(path)]) == 0
    store = DuckDbStore.open(path)
    with store.transaction() as transaction:
        transaction.execute(
            "UPDATE performance_regressions SET updated_at ="
            " (SELECT max(timestamp) FROM webnn_webgpu_performance) + INTERVAL 1 HOUR"
        )
    store.close()


def test_what_people_marked_fixed_is_told_once_by_the_next_run(
    path: Path, told: Regression
) -> None:
    mark(path, "fix", told.id)
    (one,) = runs(path, GOOD, 42, fail_on="minor")
    assert (one.run_id, one.status, one.id, one.note) == ("run-42", "fixed", told.id, "a patch")
    assert one.subject == told.subject and one.key != told.key and not one.fails_run
    assert one.before == pytest.approx(BAD, rel=0.02) and one.after == pytest.approx(GOOD, rel=0.02)
    assert one.change == pytest.approx(-0.23, abs=0.02) and one.cause is None
    assert one.first_bad_commit == told.first_bad_commit and one.severity == told.severity
    assert runs(path, GOOD, 43) == []


def test_what_was_marked_fixed_and_is_not_is_told_as_a_regression(
    path: Path, told: Regression
) -> None:
    mark(path, "fix", told.id)
    (one,) = runs(path, BAD, 42)
    assert (one.status, one.note) == ("open", "opened again: back in run run-42")


def test_what_was_marked_fixed_and_became_worse_still_is_not_said_to_be_over(
    path: Path, told: Regression
) -> None:
    mark(path, "fix", told.id)
    (worse,) = runs(path, BAD * 1.5, 42, 14)
    assert worse.id != told.id and worse.status == "open"
    assert runs(path, BAD * 1.5, 56) == []
    assert {one.id for one in runs(path, GOOD, 57, 40)} == {told.id, worse.id}


@pytest.mark.parametrize("word", ["open", "ack", "wontfix"])
def test_a_series_at_its_old_level_is_told_once_and_closed(
    path: Path, told: Regression, word: str
) -> None:
    mark(path, word, told.id)
    assert runs(path, BAD, 42) == []
    news = runs(path, GOOD, 43, 10)
    store = DuckDbStore.open(path)
    query = "SELECT status, note FROM performance_regressions WHERE is_worse"
    ((status, note),) = store.query(query).rows
    store.close()
    if word == "wontfix":
        assert not news and (status, note) == ("wont_fix", "a patch")
        return
    (one,) = news
    assert (one.status, one.id, one.note) == ("fixed", told.id, note)
    assert (status, note) == ("fixed", "is at its old level again in run run-52")
    assert runs(path, GOOD, 53) == []


def test_a_series_that_recovered_in_part_is_still_open(path: Path, told: Regression) -> None:
    assert runs(path, GOOD * 1.1, 42, 14) == []
    store = DuckDbStore.open(path)
    assert store.query("SELECT status, told FROM performance_regressions WHERE is_worse").rows == (
        ("open", "open"),
    )
    store.close()


def test_of_what_nobody_was_told_nobody_hears_that_it_is_over(path: Path) -> None:
    assert runs(path, GOOD, 42, 14) == []


def test_news_that_all_is_well_is_no_regression_in_print(told: Regression) -> None:
    caused = attrs.evolve(told, cause_id="one", cause="a commit")
    fixed = attrs.evolve(caused, id="other", status="fixed", note="a patch", cause=None)
    lines = regression_lines([caused, fixed])
    assert len(lines) == 2 and lines[0].startswith("critical regression: ")
    assert lines[1].startswith("well again: ") and "; a patch; accel regressions" in lines[1]


def test_settings_say_what_fails_a_run(opened: DuckDbStore) -> None:
    assert judge(opened, "run-41", min_effect=0.5) == (set(), [])
    _, (told,) = judge(opened, "run-41", fail_on="critical")
    assert told.fails_run and told.severity == "critical"


def test_a_metric_or_a_detector_nobody_knows_is_refused_before_the_run() -> None:
    with pytest.raises(ConfigError, match="there is no metric 'latency'"):
        Host().create("analyses", "insights", {"metrics": ["latency"]})
    with pytest.raises(ConfigError, match="no detector is called 'shfit'") as refused:
        Host().create("analyses", "insights", {"detector": "shfit"})
    assert "[analyses.insights] key detector" in str(refused.value)
    assert "shift" in str(refused.value)


#: Takes any rise of the last run for a change, as nobody would.
EAGER = """
from accelerate_core import hookimpl
from accelerate_insights.hookspecs.detector import Detector
from accelerate_insights.values import Change

class EagerDetector(Detector):
    def detect(self, series):
        (*_, before), after = [one.value for one in series.points[:-1]], series.points[-1].value
        last, size = len(series.points) - 1, after / before - 1
        sizes = {"before": before, "after": after, "low": size, "high": size}
        return [Change(index=last, confidence=0.5, **sizes)]

class Eager:
    name = "eager"

    @hookimpl
    def detector_create(self):
        return EagerDetector()
"""


def test_a_detector_of_somebody_else_is_asked_where_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    information = tmp_path / "accelerate_eager-1.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: eager\nVersion: 1\n")
    entry = "[accelerate_insights.detectors]\neager = accelerate_eager:Eager\n"
    (information / "entry_points.txt").write_text(entry)
    (tmp_path / "accelerate_eager.py").write_text(EAGER)
    monkeypatch.syspath_prepend(tmp_path)
    path = filled(tmp_path / "results.duckdb", [GOOD, BAD], name="run")
    store = DuckDbStore.open(path)
    assert judge(store, "run-1") == (set(), [])
    _, (told,) = judge(store, "run-1", detector="eager")
    assert told.change == pytest.approx(0.3) and told.first_bad_run == "run-1"
    store.close()
    words = ["regressions", "find", "--db", str(path), "--json"]
    assert main(words) == 0 and json.loads(capsys.readouterr().out) == []
    assert main([*words, "--detector", "eager"]) == 0
    (alert,) = json.loads(capsys.readouterr().out)
    assert [one["id"] for one in alert["findings"]] == [told.id]
    assert main([*words, "--detector", "eagre"]) == 2
    assert "no detector is called 'eagre'" in capsys.readouterr().err


# --- what is stored -------------------------------------------------------------------------------


def kept(store: DuckDbStore, *findings: Finding) -> None:
    with store.transaction() as transaction:
        for one in findings:
            keeping.save(transaction, one)
            keeping.set_told(transaction, [one.id], Status.OPEN)


def test_findings_are_of_their_machine_and_named_by_what_no_other_begins_with(
    tmp_path: Path,
) -> None:
    (first,) = detecting.find([series(levels((GOOD, 30), (BAD, 8)))])
    latency = attrs.evolve(first, id="ab1", cause_id="one", status=Status.FIXED)
    (other,) = detecting.find([series(levels((GOOD, 30), (GOOD / 2, 8)), THROUGHPUT)])
    lost = attrs.evolve(other, id="ab2", cause_id="one")
    later = attrs.evolve(latency, id="cd3", cause_id=None)
    moved = attrs.evolve(later.change, index=later.change.index + 1)
    elsewhere = attrs.evolve(first.series, machine="other")
    store = DuckDbStore.open(tmp_path / "r.duckdb")
    kept(store, latency, lost, attrs.evolve(later, change=moved))
    assert [one.id for one in alerts.told(store, first.series)] == ["ab1", "cd3"]
    assert alerts.told(store, elsewhere) == []
    assert keeping.fixed_before(store, first.series) == "cd3"  # the later one
    assert keeping.fixed_before(store, elsewhere) is None
    assert alerts.find(store, "ab1").id == "ab1"
    with pytest.raises(ConfigError, match="several findings begin with 'ab'"):
        alerts.find(store, "ab")
    # Half of the throughput is worse than 30 % of latency.
    groups = alerts.read(store, statuses=tuple(Status))
    assert [[one.id for one in alert.findings] for alert in groups] == [["ab2", "ab1"], ["cd3"]]
    store.close()


def test_the_worst_is_told_first_and_brings_what_has_its_cause() -> None:
    def found(name: str, factor: float, cause: str | None) -> Finding:
        (one,) = detecting.find([series(levels((GOOD, 30), (GOOD * factor, 8)), key=name)])
        label = attrs.evolve(one.series.label, model=name)
        return attrs.evolve(one, series=attrs.evolve(one.series, label=label), cause_id=cause)

    three = [found("a", 1.15, None), found("b", 1.15, "x"), found("c", 1.5, "x")]
    assert [one.series.key for one in by_cause(three)] == ["c", "b", "a"]


@pytest.mark.parametrize(
    ("metric", "level", "is_over"),
    [
        ("latency_ms", 10.4, True),
        ("latency_ms", 10.6, False),
        ("latency_ms", 8.0, True),
        ("throughput_items_per_second", 9.6, True),
        ("throughput_items_per_second", 9.4, False),
        ("throughput_items_per_second", 12.0, True),
    ],
)
def test_what_is_mended_is_no_worse_than_it_was(metric: str, level: float, is_over: bool) -> None:
    assert is_mended(METRICS[metric], 10.0, level, 0.05) is is_over


def test_moments_are_kept_in_utc() -> None:
    noon = datetime(2026, 11, 22, 12, tzinfo=timezone(timedelta(hours=2)))
    assert keeping.utc(noon) == datetime(2026, 11, 22, 10)


# --- accel regressions ----------------------------------------------------------------------------


@pytest.fixture
def accel(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs `accel regressions` beside a database with one finding."""
    store = DuckDbStore.open(path)
    judge(store, "run-41")
    store.close()
    monkeypatch.chdir(path.parent)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        code = main(["regressions", *words])
        shown = capsys.readouterr()
        return subprocess.CompletedProcess(words, code, shown.out, shown.err)

    return run


Accel = Callable[..., subprocess.CompletedProcess[str]]


def test_the_list_names_cause_numbers_and_state(accel: Accel) -> None:
    done = accel()
    assert done.returncode == 0, done.stderr
    assert "latency of minilm on webgpu/ort:chromium fp32 batch 1" in done.stdout
    assert "+30%" in done.stdout and "[open]" in done.stdout
    assert "1 regression with 1 cause" in done.stdout
    assert "b" * 7 in done.stdout  # the commit
    ((alert,),) = [json.loads(accel("list", "--json").stdout)]
    (finding,) = alert["findings"]
    assert finding["first_bad_commit"] == COMMITS[1] and finding["status"] == "open"


def test_a_status_is_changed_with_a_note_by_the_beginning_of_an_id(accel: Accel) -> None:
    ((alert,),) = [json.loads(accel("--json").stdout)]
    identity = alert["findings"][0]["id"]
    for word, status in (("ack", "acknowledged"), ("wontfix", "wont_fix"), ("open", "open")):
        done = accel(word, identity[:6], "--note", f"because {word}")
        assert done.returncode == 0 and f"-> {status}" in done.stdout
        shown = json.loads(accel("show", identity[:6], "--json").stdout)
        assert (shown["status"], shown["note"]) == (status, f"because {word}")
        assert (f"[{status}: " in accel().stdout) == (word != "wontfix")
    assert accel("fix", identity[:6]).returncode == 0
    assert "No regressions." in accel().stdout
    for words in (("list", "--all"), ("--all",)):
        assert "[fixed: because open]" in accel(*words).stdout
    shown = accel("show", identity).stdout
    assert "yes, and it stayed" in shown and f"{COMMITS[0]} .. {COMMITS[1]}" in shown


def test_an_id_nobody_has_and_a_time_that_is_none_are_refused(accel: Accel) -> None:
    done = accel("show", "nothing")
    assert done.returncode == 2 and "no finding is called 'nothing'" in done.stderr
    assert accel("fix", "zzz").returncode == 2
    assert accel("--since", "yesterday").returncode == 2


def test_what_was_detected_long_ago_is_listed_where_asked(accel: Accel, path: Path) -> None:
    store = DuckDbStore.open(path)
    with store.transaction() as transaction:
        transaction.execute("UPDATE performance_regressions SET detected_at = '2020-01-01'")
    store.close()
    assert "No regressions." in accel("--since", "7d").stdout
    assert "1 regression with 1 cause" in accel("list", "--since", "all").stdout


def test_without_a_database_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["regressions"]) == 2
    assert main(["regressions", "ack", "x"]) == 2
    assert "no such database" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_status_waits_for_the_run_that_holds_the_file(accel: Accel, path: Path) -> None:
    import threading

    ((alert,),) = [json.loads(accel("--json").stdout)]
    holder = DuckDbStore.open(path)
    ending = threading.Timer(1.0, holder.close)
    ending.start()
    done = accel("ack", alert["findings"][0]["id"])
    ending.join()
    assert done.returncode == 0 and "waiting for it" in done.stderr
    assert "-> acknowledged" in done.stdout
