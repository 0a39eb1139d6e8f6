# SPDX-License-Identifier: Apache-2.0
"""What pictures and reports say of values: units, quantiles, order, and what is told apart."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
import vl_convert
from accelerate_duckdb.store import DuckDbStore
from accelerate_insights import detecting
from accelerate_insights.advising.candidates import Question
from accelerate_insights.advising.ranking import OBJECTIVES, Answer
from accelerate_insights.advising.recommending import Recommendations
from accelerate_insights.picturing import (
    attaching,
    notes,
    plots,
    ratings,
    specs,
    spreads,
    words,
)
from accelerate_insights.picturing import report as report_of_many
from accelerate_insights.picturing.drawing import since_days
from accelerate_insights.picturing.gathering import Line, Spot, lines, quantiles, speeds, spots
from accelerate_insights.picturing.known import Known, known, merged, stored
from accelerate_insights.picturing.notes import run_notes
from accelerate_insights.picturing.ratings import Grade, Speed
from accelerate_insights.picturing.report import PerformanceReport, gather_report
from accelerate_insights.picturing.to_json import render as to_json
from accelerate_insights.picturing.to_markdown import render as to_markdown
from accelerate_insights.reading import read_series
from accelerate_insights.testing.detectors import series
from accelerate_insights.values import METRICS, Label, Severity, Status
from accelerate_insights.watching import keeping

from accelerate_core.errors import ErrorInfo
from accelerate_core.testing import samples
from accelerate_core.types import CellStatus

from .databases import filled

START = datetime(2026, 1, 1)
EVER = datetime(2000, 1, 1)
STEADY = (10.0, 10.1, 9.9, 10.05, 9.95, 10.02, 9.98)


def line(**changes: Any) -> Line:
    label = Label(**{"model": "minilm", "backend": "wasm", **changes.pop("label", {})})
    values: dict[str, Any] = {
        "key": "a",
        "machine": "x",
        "metric": METRICS["latency_ms"],
        "label": label,
        "family": "bert",
        "count": 30,
        "median": 10.0,
        "first": 10.0,
        "last": 10.0,
        "variation": 0.01,
    }
    return Line(**{**values, **changes})


def spot(day: int, value: float = 10.0) -> Spot:
    return Spot(
        at=START + timedelta(days=day),
        value=value,
        low=value,
        high=value,
        count=1,
        first_commit=None,
        commit=None,
        browser_version=None,
    )


def change(factor: float = 1.3, **changes: Any) -> Known:
    (found,) = detecting.find([series([10.0] * 30 + [10.0 * factor] * 8)])
    (one,) = known([found])
    return attrs.evolve(one, **changes)


def speed(thing: str, ms: float, **changes: Any) -> Speed:
    values: dict[str, Any] = {
        "thing": (thing,),
        "model_type": "bert",
        "backend": "wasm",
        "browser": "chromium",
        "is_software": False,
        "ok": 1,
        "failed": 0,
        "latency_ms": ms,
    }
    return Speed(**{**values, **changes})


# --- pictures -------------------------------------------------------------------------------------


def test_an_axis_names_its_metric_and_unit() -> None:
    one, other = line(), line(key="b")
    at = {shown.id: [spot(0), spot(1)] for shown in (one, other)}

    def titles(*shown: Line) -> list[str]:
        plot = plots.over_time(shown, at, [], 0)
        assert plot is not None
        panels = plot.views["over time"]["concat"]
        return [panel["layer"][3]["encoding"]["y"]["title"] for panel in panels]

    assert titles(one) == ["latency (ms)"]
    assert titles(one, other) == ["ms", "ms"]  # the figure's title has the metric


def test_levels_end_where_the_next_begins_and_a_commit_is_marked_once() -> None:
    one = line()
    commits = ["ab"[day >= 2] * 40 for day in range(9)]
    at = [
        attrs.evolve(spot(day), first_commit=commit, commit=commit)
        for day, commit in enumerate(commits)
    ]
    found = [
        change(changed_at=START + timedelta(days=day), series_key="a", machine="x", before=before)
        for day, before in ((3, 10.0), (6, 11.0))
    ]
    plot = plots.over_time([one], {one.id: at}, found, 0)
    assert plot is not None

    def days(kind: str, **where: Any) -> list[float]:
        rows = [row for row in plot.data if row["kind"] == kind and where.items() <= row.items()]
        begin = plot.data[0]["at"]
        return [(row["at"] - begin) / 86_400_000 for row in rows]

    assert [days("level", level=level) for level in range(4)] == [[0, 3], [3, 6], [3, 6], [6, 8]]
    assert days("commit") == [2] and days("change") == [3, 6]


def test_what_is_worse_has_the_colour_of_what_is_bad() -> None:
    layers = spreads.compared((-1.0, 1.0))["layer"]
    scale = layers[1]["encoding"]["color"]["scale"]
    colors = dict(zip(scale["domain"], scale["range"], strict=True))
    assert (colors["worse"], colors["better"]) == ("var(--bad)", "var(--good)")


def test_a_box_is_half_of_the_samples_and_its_line_ninety_percent() -> None:
    one = line()
    values = [100 * part for part in plots.QUANTILES]
    plot = plots.distributions([one], {one.id: (41, values)}, 0)
    assert plot is not None
    (row,) = plot.data
    assert [row[name] for name in ("p5", "p25", "p50", "p75", "p95")] == [5, 25, 50, 75, 95]


def test_batches_are_compared_on_one_machine() -> None:
    shown = [
        line(key=f"{machine}{size}", machine=machine, label={"batch_size": size}, median=median)
        for machine, size, median in (("x", 1, 10.0), ("x", 8, 20.0), ("y", 1, 99.0))
    ]
    plot = plots.by_batch(shown)
    assert plot is not None
    assert [(row["batch"], row["value"]) for row in plot.data] == [(1, 10.0), (8, 20.0)]
    assert plots.by_batch(shown[1:]) is None


def test_lines_that_look_alike_are_told_apart() -> None:
    alike = line(), line(key="b")
    (text, second) = plots.names(alike).values()
    assert second == f"{text} #2"
    apart = line(), line(machine="y")
    assert list(plots.names(apart).values()) == [f"{text} on x", f"{text} on y"]


def test_the_series_with_the_largest_change_is_drawn_first() -> None:
    first, second = line(), line(key="b")
    found = [change(1.5), change(1.3, series_key="b"), change(1.1)]
    found = [attrs.evolve(one, machine="x") for one in found]
    assert plots.chosen([second, first], found, most=1) == [first]


# --- grades ---------------------------------------------------------------------------------------


def test_times_the_best_are_a_geometric_mean() -> None:
    measured = [
        *(speed(thing, 10.0, browser="native") for thing in "ab"),
        speed("a", 10.0),
        speed("b", 40.0),
    ]
    times = {one.browser: (one.times, one.count) for one in ratings.targets(measured)}
    assert times == {"native": (1.0, 2), "chromium": (pytest.approx(2.0), 2)}


def test_of_equal_grades_that_of_hardware_counts() -> None:
    measured = [speed("a", 10.0), speed("a", 5.0, backend="webgpu", is_software=True)]
    rated = ratings.matrix(measured)["bert"]["chromium"]
    assert (rated.grade, rated.backend, rated.is_software) == (Grade.EXCELLENT, "wasm", False)


def test_changes_are_told_once_and_the_worst_first() -> None:
    minor = change(1.07, id="minor", severity=Severity.MINOR)
    critical = change(1.4, id="critical", status=Status.ACKNOWLEDGED)
    better = change(0.5, id="better", severity=Severity.IMPROVEMENT)
    found = merged([minor, critical], [better, attrs.evolve(critical, status=Status.OPEN)])
    assert [one.id for one in found] == ["critical", "minor", "better"]
    assert found[0].status is Status.ACKNOWLEDGED  # what the database keeps has the last word


# --- out of a database ----------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DuckDbStore]:
    """Three slow runs, twenty steady ones, and three that could not tell their time."""
    filled(tmp_path / "r.duckdb", [100.0] * 3, name="old")
    nan = float("nan")
    values = [nan, nan, *(STEADY[day % 7] for day in range(20)), nan]
    filled(tmp_path / "r.duckdb", values, first=3, name="run")
    store = DuckDbStore.open(tmp_path / "r.duckdb")
    yield store
    store.close()


def test_a_line_is_of_numbers_and_its_samples_are_the_latest(store: DuckDbStore) -> None:
    (one,) = lines(store, EVER, ["latency_ms"])
    assert one.count == 23 and one.median == pytest.approx(10.02, abs=0.05)
    assert one.first == pytest.approx(10.0, abs=0.2)
    assert one.last == pytest.approx(10.0, abs=0.06)
    # Half of what the middle half spans.
    assert one.variation == pytest.approx(0.01, abs=0.007)
    count, found = quantiles(store, EVER, [one], (0.0, 1.0))[one.id]
    assert count == 60 and found[1] < 11  # three samples of each of twenty
    (judged,) = speeds(store, EVER)
    assert judged.ok == 5 and judged.latency_ms == pytest.approx(10.0, abs=0.1)


def test_a_band_is_eighty_percent_of_the_measurements(tmp_path: Path) -> None:
    values = [float(day % 4) + 1 + day / 1e6 for day in range(480)]
    with_store = DuckDbStore.open(filled(tmp_path / "r.duckdb", values))
    (one,) = lines(with_store, EVER, ["latency_ms"])
    found = spots(with_store, EVER, [one])[one.id]
    with_store.close()
    assert {each.count for each in found} == {4}
    for each in found:
        assert (each.low, each.value, each.high) == pytest.approx((1.3, 2.5, 3.7), abs=0.01)


def test_what_was_simulated_is_nobodys_speed(tmp_path: Path) -> None:
    path = filled(tmp_path / "r.duckdb", [10.0])
    fake = attrs.evolve(samples.worker_info(), is_simulated=True)
    filled(path, [1.0], first=1, name="fake", worker=fake, series_key="fake", id="fake")
    with_store = DuckDbStore.open(path)
    (one,) = speeds(with_store, EVER)
    counts = gather_report(with_store, 100_000).counts
    with_store.close()
    assert (one.ok, one.latency_ms) == (1, 10.0)
    assert (counts["runs"], counts["measurements"], counts["series"]) == (1, 1, 1)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDbStore]:
    """Two machines with one series each, alike but for the machine; one became slower."""
    path = tmp_path_factory.mktemp("lab") / "r.duckdb"
    slower = [STEADY[day % 7] * (1.4 if day >= 30 else 1.0) for day in range(40)]
    commits = ["a" * 40] * 30 + ["b" * 40] * 10
    filled(path, slower, name="slow", first=20, commits=commits)
    other = {"name": "steady", "first": 20, "host": {"processor": "y"}}
    filled(path, [STEADY[day % 7] for day in range(40)], **other)
    # Its thirds are no farther apart than by chance.
    noisy = [10 + 0.6 * (day * 7 % 11 + (day >= 40)) for day in range(60)]
    filled(path, noisy, target="wasm/ort:firefox", name="noisy", model="a*b", series_key="noisy")
    # By 7 % in all: no step of it is a change.
    rising = [10 + 0.7 * day / 60 for day in range(60)]
    filled(path, rising, target="cpu", name="rising", series_key="rising")
    odd = ("edge", CellStatus.MISSING, "none `here`"), ("chrome", CellStatus.FAILED, "lost")
    for number, (browser, status, message) in enumerate((*odd, odd[0])):
        filled(
            path,
            [1.0],
            first=57 + number,
            name="odd",
            target=f"webnn:{browser}",
            status=status,
            worker=None,
            latency_ms=None,
            samples_ms=(),
            error=ErrorInfo(kind="BackendUnavailable", message=message),
        )
    store = DuckDbStore.open(path)
    yield store
    store.close()


@pytest.fixture(scope="module")
def report(lab: DuckDbStore) -> PerformanceReport:
    return gather_report(lab, 100_000)


def test_a_report_tells_changes_from_trends_and_noise(report: PerformanceReport) -> None:
    (slower,) = report.changes
    assert slower.metric.name == "latency_ms" and slower.is_worse
    assert [row.line.key for row in report.trends] == ["rising"]
    assert [row.line.key for row in report.noisy] == ["noisy"]
    assert slower.cause == f"commit {'a' * 12} -> {'b' * 12}"
    assert report.causes == {}  # one alone has nothing in common


def test_a_report_says_what_is_missing_the_most_frequent_first(report: PerformanceReport) -> None:
    assert [(one.target, one.status, one.count) for one in report.unmeasured] == [
        ("webnn:edge", "missing", 2),
        ("webnn:chrome", "failed", 1),
    ]
    text = to_markdown(report)
    assert "- `webnn:edge` missing, 2 times: `` none `here` ``" in text


def test_a_headline_counts_what_is_worse_as_regressions(report: PerformanceReport) -> None:
    one, better = change(), change(0.5, is_worse=False)
    told = words.headline(attrs.evolve(report, changes=(one, one, better)))
    assert told.endswith("2 regressions, 1 improvement")


def test_names_of_users_are_code_in_markdown(report: PerformanceReport) -> None:
    hostile = attrs.evolve(report, advice=("*a* <b> [x](y)",))
    assert "- `*a* <b> [x](y)`\n" in to_markdown(hostile)
    data = json.loads(to_json(hostile))
    assert data["advice"] == ["*a* <b> [x](y)"] and "plots" not in data


def test_advice_that_is_alike_on_many_machines_is_told_once(
    lab: DuckDbStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(kinds: int) -> Recommendations:
        asked = {"is_software": None, "task": None, "sequence_length": None, "scenario": "offline"}
        return Recommendations(
            objective="latency",
            time_range="30d",
            answers=tuple(
                Answer(
                    question=Question(machine=str(number), model=f"m{number % kinds}", **asked),
                    objective=OBJECTIVES["latency"],
                    choices=(),
                    refused=(),
                )
                for number in range(60)
            ),
        )

    for kinds, count, last in ((1, 1, "m0: "), (23, 21, "and 3 more: ")):
        answered = found(kinds)
        monkeypatch.setattr(
            report_of_many, "recommend", lambda *_, answered=answered, **__: answered
        )
        told = report_of_many._advice(lab, 30)
        assert len(told) == count and told[-1].startswith(last)


def test_of_many_changes_the_first_are_told_and_the_rest_counted() -> None:
    *told, rest = notes._told([change()] * 7, "regression")
    assert len(told) == 5 and rest.startswith("and 2 more: ")


def test_a_report_goes_back_as_many_days_as_asked() -> None:
    asked = since_days(1.5)
    ago = datetime.now(UTC).replace(tzinfo=None) - asked
    assert timedelta(days=1.5) <= ago < timedelta(days=1.6)
    assert since_days(1e9) < START


def test_what_somebody_looks_at_is_told_of_its_machine_only(lab: DuckDbStore) -> None:
    assert run_notes(lab.summary("steady-59"), lab) == ()
    finding = next(
        one for one in detecting.find(read_series(lab)) if one.series.points[-1].run_id == "slow-59"
    )
    # Of a detector that no longer finds it, long before.
    looked_at = attrs.evolve(finding, id="kept", status=Status.ACKNOWLEDGED)
    with lab.transaction() as transaction:
        keeping.save(transaction, looked_at)
    later = finding.series.points[-1].at
    assert [one.id for one in stored(lab, later)] == ["kept"]
    told = [note for note in run_notes(lab.summary("slow-59"), lab) if "latency" in note]
    assert len(told) == 2  # what is acknowledged is told, too
    assert run_notes(lab.summary("steady-59"), lab) == ()
    (kept,) = stored(lab, later)
    assert (kept.low, kept.high) == (finding.change.low, finding.change.high)
    assert kept.since == f"commit {'b' * 12}, after {'a' * 12}"
    mine = [one for one in lines(lab, EVER, ["latency_ms"]) if attaching._is_of(one, kept)]
    assert [one.machine for one in mine] == [kept.machine]


@pytest.mark.parametrize("ticks", [4, 8])
def test_no_two_moments_of_an_axis_read_the_same(ticks: int) -> None:
    minutes = (0.3, 1, 2, 3.9, 4.1, 7.9, 8.1, 20, 60, 600, 730, 1500, 2900, 4400, 9000, 20_000)
    panels = [
        {
            "mark": "point",
            "width": 900,
            "data": {"values": [{"at": 0}, {"at": 60_000 * length}]},
            "encoding": {
                "x": {
                    "field": "at",
                    "type": "temporal",
                    "scale": {"type": "utc", "nice": False},
                    "axis": {"tickCount": ticks, "format": specs.moments(length / 1440, ticks)},
                    "title": None,
                }
            },
        }
        for length in minutes
    ]
    for length, panel in zip(minutes, panels, strict=True):
        labels = re.findall(r">([^<>]*\d[^<>]*)</text>", vl_convert.vegalite_to_svg(panel))
        assert len(labels) >= 2 and len(set(labels)) == len(labels), (length, labels)
