# SPDX-License-Identifier: Apache-2.0
"""What all formats share: rows, columns, notes, and what the plots hold."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET

import attrs
import numpy as np
import pytest
from accelerate_reports import notes
from accelerate_reports.columns import COLUMNS, filled, short
from accelerate_reports.pictures import to_svg
from accelerate_reports.plots import MAX_DOTS, MAX_LINES, plots
from accelerate_reports.rows import (
    UNKNOWN,
    Row,
    load_ms,
    row,
    rows,
    title,
    varying,
)

from accelerate_core.texts import clean, one_line
from accelerate_core.types import AdapterInfo, CellStatus, Measurement, Phases

from . import samples


@pytest.mark.parametrize(
    ("count", "has_p90", "has_p95"), [(9, False, False), (10, True, False), (20, True, True)]
)
def test_a_percentile_needs_enough_samples(count: int, has_p90: bool, has_p95: bool) -> None:
    shown = row(samples.measurement(count=count))
    assert (shown.latency_p90_ms is not None, shown.latency_p95_ms is not None) == (
        has_p90,
        has_p95,
    )
    assert shown.sample_count == count


def test_percentiles_are_those_of_numpy() -> None:
    one = samples.measurement(count=57)
    shown = row(one)
    expected = np.percentile(one.samples_ms, [90, 95])
    np.testing.assert_allclose([shown.latency_p90_ms, shown.latency_p95_ms], expected)


def test_unknown_stays_unknown() -> None:
    shown = row(samples.missing("webgpu:edge"))
    for field in attrs.fields(Row):
        if field.name.endswith(("_ms", "_bytes", "_second", "_l2")):
            assert getattr(shown, field.name) is None, field.name
    assert shown.is_software is None and shown.is_simulated is None and shown.is_cached is None
    assert {COLUMNS[name].text(shown) for name in ("latency", "samples", "cached", "device")} == {
        UNKNOWN
    }


def test_zero_is_not_unknown() -> None:
    shown = row(samples.measurement(relative_l2=0.0, memory_bytes=0, phases=Phases(fetch_ms=0.0)))
    assert COLUMNS["error"].text(shown) == "0"
    assert COLUMNS["memory"].text(shown) == "0.000"
    known = row(samples.measurement(memory_bytes=300_000_000))
    assert (COLUMNS["memory"].text(known), COLUMNS["memory"].unit) == ("300", "MB")
    assert load_ms(shown) == 0
    browser = row(samples.measurement("wasm:chromium", 61.0))
    assert load_ms(browser) == 640.0 + 180.0 + 240.5 + 2 * 61.0


@pytest.mark.parametrize(
    ("one", "device"),
    [
        (samples.measurement("cpu"), "cpu"),
        (samples.measurement("webgpu:chromium"), "software"),
        (samples.simulated(), "SIMULATED"),
        (samples.measurement(worker=samples.worker("fake", is_software=True)), "SIMULATED"),
        (samples.measurement(worker=samples.worker("cpu", device_type=None)), UNKNOWN),
    ],
)
def test_the_device_is_told_honestly(one: Measurement, device: str) -> None:
    assert row(one).device == device


def test_a_fallback_shows_what_was_asked() -> None:
    assert row(samples.fallback()).where == "webgpu:edge -> cpu"


def test_the_adapter_is_described_by_what_is_known() -> None:
    def shown(**known: str) -> str | None:
        info = samples.worker("webgpu:chromium", adapter=AdapterInfo(**known))
        return row(samples.measurement(worker=info)).adapter

    assert shown(vendor="nvidia", architecture="ampere") == "nvidia ampere"
    assert shown(vendor="nvidia", description="NVIDIA H100") == "NVIDIA H100"
    assert shown() is None


def test_control_characters_never_get_through() -> None:
    assert one_line("a\x1b[31m\n b\x00\ud800\uffff\u202e") == "a\ufffd[31m b" + 4 * "\ufffd"
    assert clean("a\tb\n") == "a\tb\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, UNKNOWN),
        (0.1234, "0.123"),
        (1.234, "1.23"),
        (12.34, "12.3"),
        (123.4, "123"),
        (12345.6, "12,346"),
        (9.999, "10.00"),
        (math.inf, "inf"),
    ],
)
def test_numbers_are_short(value: float | None, text: str) -> None:
    assert short(value) == text


def test_what_all_cells_share_is_said_once() -> None:
    cells = [one.cell for one in samples.large(10).measurements]
    assert title(cells) == "minilm, fp32, 32 tokens"
    assert varying(cells) == ("batch_size",)
    assert filled(("model", "batch_size", "cached"), [row(samples.measurement())]) == ()


def test_problems_are_merged_and_failures_come_first() -> None:
    shown = rows(
        samples.summary(
            samples.missing("webgpu:edge"), samples.missing("webnn:edge"), samples.failed()
        )
    )
    failure, missing = notes.problems(shown)
    assert (failure.status, failure.is_failure) == ("failed", True)
    assert (missing.cell_count, missing.is_failure) == (2, False)
    assert missing.where == "webgpu:edge, webnn:edge"
    assert missing.remedy == "accel browsers install edge"


@pytest.mark.parametrize(
    ("status", "is_required", "text"),
    [
        (CellStatus.MISSING, True, "missing, required"),
        (CellStatus.MISSING, False, "missing"),
        (CellStatus.SKIPPED, True, "skipped, required"),
        (CellStatus.MISMATCH, True, "mismatch"),
    ],
)
def test_a_problem_without_an_error_text_is_explained(
    status: CellStatus, is_required: bool, text: str
) -> None:
    one = samples.measurement(status=status, is_required=is_required, error=None)
    (problem,) = notes.problems([row(one)])
    assert problem.status == text
    assert problem.explanation


def test_plots_hold_the_raw_samples_in_the_scale_they_need() -> None:
    by_id = {plot.id: plot for plot in plots(samples.summary(*samples.good()).measurements)}
    latency = by_id["latency"]
    assert next(iter(latency.views)) == "logarithmic"  # 12 ms and 5,400 ms
    assert [len(line["samples"]) for line in latency.data] == [20, 20, 20, 12, 3, 8, 20]
    close = plots([samples.measurement(), samples.measurement("wasm:firefox", 74)])[0]
    assert next(iter(close.views)) == "linear"


def test_plots_stay_drawable_however_much_there_is() -> None:
    many = [samples.measurement(latency_ms=10 + i, count=500) for i in range(MAX_LINES + 50)]
    latency = plots(many)[0]
    assert len(latency.data) == len({line["label"] for line in latency.data}) == MAX_LINES
    assert sum(len(line["samples"]) for line in latency.data) <= MAX_DOTS
    assert "at most 20 a line" in latency.caption
    assert f"first {MAX_LINES} of {MAX_LINES + 50}" in latency.caption
    smallest = min(many[0].samples_ms)
    assert latency.data[0]["samples"][0] == pytest.approx(smallest, rel=1e-5)


def test_only_a_wrong_answer_is_drawn_as_over_its_tolerance() -> None:
    broke = samples.measurement("wasm:firefox", status=CellStatus.FAILED)
    drawn = {plot.id: plot for plot in plots([samples.measurement(), samples.mismatch(), broke])}
    assert [line["verdict"] for line in drawn["error"].data] == ["within", "over", "within"]
    assert [line["text"] for line in drawn["error"].data] == ["3.1e-06", "2.4e-01", "3.1e-06"]


def test_axes_name_the_unit_of_what_they_show() -> None:
    drawn = {plot.id: plot for plot in plots(samples.summary(*samples.good()).measurements)}
    one = samples.measurement()
    (drawn_one,) = plots([one])[0].data
    p95 = row(one).latency_p95_ms
    assert (drawn_one["text"], drawn_one["p95"]) == (
        f"{short(one.latency_ms)} ms",
        f"{short(p95)} ms",
    )
    for name, unit in (("latency", "(ms)"), ("load", "(ms)"), ("request", "(ms)")):
        svg = to_svg([drawn[name]], title="<b>x</b> & y")
        assert unit in svg
        assert "&lt;b&gt;x&lt;/b&gt; &amp; y" in svg
        ET.fromstring(svg)


def test_what_is_not_finite_is_not_drawn() -> None:
    odd = samples.measurement(
        relative_l2=math.inf,
        tolerance=math.nan,
        samples_ms=(math.nan, 0.0),
        latency_ms=0.0,
        phases=Phases(fetch_ms=math.inf),
    )
    (latency,) = plots([odd])
    assert latency.data[0]["samples"] == [0.0]
    assert list(latency.views) == ["linear"]
