# SPDX-License-Identifier: Apache-2.0
"""Pictures that go with messages: what they show, how large they are, and when there are none."""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from accelerate_duckdb.store import DuckDbStore
from accelerate_insights.picturing import drawing, painting
from accelerate_insights.plugin import InsightsPlugin
from accelerate_insights.reading import Database
from accelerate_insights.watching.plugin import WatchPlugin, WatchSettings
from accelerate_reports.plots import Plot

from accelerate_core.errors import Unsupported
from accelerate_core.events import Attachment, Event, Regression, RunFinished
from accelerate_core.host import Host
from accelerate_core.memory_store import MemoryStore
from accelerate_core.testing import samples
from accelerate_core.types import RunSummary

from .databases import filled

PNG = b"\x89PNG\r\n\x1a\n"
#: A card of Teams holds 28 kB, pictures as base64.
MOST_BYTES = 15_000


def size(data: bytes) -> tuple[int, int]:
    """Return width and height of a PNG."""
    assert data.startswith(PNG)
    width, height = struct.unpack(">II", data[16:24])
    return width, height


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DuckDbStore, Regression]]:
    """A database in which an analysis found a regression, and what it tells of it."""
    noise = random.Random(5)
    folder = tmp_path_factory.mktemp("attaching")
    values = [20 * noise.lognormvariate(0, 0.02) * (1.4 if day >= 30 else 1.0) for day in range(40)]
    path = filled(folder / "r.duckdb", values, commits=[f"{day // 10}" * 40 for day in range(40)])
    host = Host(cache_dir=folder / "cache", state_dir=folder / "state")
    watch = WatchPlugin().analysis_create(WatchSettings(metrics=("latency_ms",)), host.context)
    store = DuckDbStore.open(path)
    last = store.summary(store.runs(1)[0].id)
    suspects = watch.suspects(last, store)
    again = [
        attrs.evolve(one, id=f"{one.id}-again", again_of=one.id)
        for one in last.measurements
        if one.id in suspects
    ]
    (event, *_) = watch.conclude(last, again, store)
    yield store, event
    store.close()


def attached(event: Event, store: object) -> list[Attachment]:
    return list(InsightsPlugin().event_attachments(event, store))  # type: ignore[arg-type]


def test_a_regression_shows_its_series_with_the_change_marked(
    found: tuple[DuckDbStore, Regression], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, event = found
    drawn: list[Plot] = []
    paint = painting.painted

    def look(plot: Plot) -> bytes:
        drawn.append(plot)
        return paint(plot)

    monkeypatch.setattr(painting, "painted", look)
    (picture,) = attached(event, store)
    width, height = size(picture.data)
    assert 700 <= width <= 1000 and 200 <= height <= 700 and len(picture.data) < MOST_BYTES
    assert picture.name == "series.png" and picture.media_type == "image/png"
    assert event.label in picture.description and "+4" in picture.description
    (plot,) = drawn
    (change,) = (row for row in plot.data if row["kind"] == "change")
    assert change["text"].startswith("worse +")
    assert len([row for row in plot.data if row["kind"] == "point"]) == 40


def test_what_the_database_does_not_keep_has_no_picture(
    found: tuple[DuckDbStore, Regression],
) -> None:
    store, event = found
    assert attached(attrs.evolve(event, id="another"), store) == []
    assert attached(attrs.evolve(event, metric="of a plugin"), store) == []
    assert attached(event, MemoryStore()) == []


def test_a_run_compares_its_cells() -> None:
    rows = tuple(
        samples.measurement(number, text=text, latency_ms=12.0 * number)
        for number, text in enumerate(("minilm", samples.HOSTILE[0], samples.HOSTILE[6]), 1)
    )
    summary = RunSummary(run=samples.run_info(), measurements=rows)
    event = RunFinished(run_id="run-1", at=samples.START, summary=summary)
    (picture,) = attached(event, MemoryStore())
    width, _ = size(picture.data)
    assert 500 <= width <= 1200 and len(picture.data) < MOST_BYTES
    assert picture.description.startswith("Latency: ") and picture.description.count(" ms") == 3


def test_of_very_many_cells_the_first_are_compared() -> None:
    rows = tuple(samples.measurement(number) for number in range(1, 61))
    summary = RunSummary(run=samples.run_info(), measurements=rows)
    event = RunFinished(run_id="run-1", at=samples.START, summary=summary)
    (picture,) = attached(event, MemoryStore())
    assert picture.description.startswith("Latency of the first 16 of 60 cells: ")
    _, height = size(picture.data)
    assert height < 800 and len(picture.data) < MOST_BYTES


def test_a_single_cell_and_one_without_times_are_not_compared() -> None:
    for rows in ((), (samples.measurement(),), (samples.measurement(), samples.missing())):
        summary = RunSummary(run=samples.run_info(), measurements=rows)
        event = RunFinished(run_id="run-1", at=samples.START, summary=summary)
        assert attached(event, MemoryStore()) == []


def test_other_events_have_none() -> None:
    for event in samples.every_event():
        if not isinstance(event, Regression | RunFinished):
            assert attached(event, MemoryStore()) == []


def test_what_cannot_be_drawn_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = Database(filled(tmp_path / "r.duckdb", [10.0]))
    (plot, *_) = over_time(store)
    with pytest.raises(Unsupported, match="cannot be drawn"):
        painting.painted(attrs.evolve(plot, views={"over time": {"mark": "no such mark"}}))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "gone"))
    with pytest.raises(Unsupported, match="cannot be drawn"):
        painting.painted(plot)


def over_time(store: Database) -> list[Plot]:
    return drawing.draw(store, drawing.gather(store, 100_000, ("latency_ms",)), ("latency_ms",))
