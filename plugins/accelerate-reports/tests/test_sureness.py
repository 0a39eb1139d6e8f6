# SPDX-License-Identifier: Apache-2.0
"""What reports say of how samples were taken, and of how sure they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
from accelerate_reports import notes, to_csv, to_html, to_markdown
from accelerate_reports.columns import COLUMNS, filled
from accelerate_reports.rows import conditions, row, rows, title
from accelerate_reports.to_terminal import SHOWN, TerminalReport

from accelerate_core.measuring import sampling
from accelerate_core.sampled import Estimate, Noise, Sampling, Scenario, Trial
from accelerate_core.types import Measurement

from . import samples

QUIET = Noise(cores=2, other_cores=0.05, stolen_cores=0.0, throttled_s=0.0, slowed_count=0)


def taken(target: str = "cpu", count: int = 20, **known: Any) -> Measurement:
    one = samples.measurement(target, count=count)
    said = sampling.describe(one.samples_ms)
    return attrs.evolve(one, sampling=attrs.evolve(said, **{"noise": QUIET, **known}))


def said(*measurements: Measurement) -> str:
    return " ".join(notes.warnings(tuple(map(row, measurements)), is_interrupted=False))


def server(**known: Any) -> Measurement:
    one = taken(count=100)
    scenario = Scenario(name="server", rate=20.0, bound_ms=100.0)
    within = Estimate(value=0.97, low=0.92, high=0.99)
    trial = Trial(rate=20.0, within=within, count=100, holds=known.pop("holds", True))
    return attrs.evolve(
        one,
        cell=attrs.evolve(one.cell, scenario=scenario),
        sampling=attrs.evolve(one.sampling, rate=20.0, within=within, trials=(trial,)),
    )


def test_a_quiet_machine_and_a_steady_series_need_no_words() -> None:
    assert said(taken()) == ""
    # A tenth of the cores, and half a core of many.
    assert said(taken(noise=Noise(cores=16, other_cores=0.5, stolen_cores=0.1))) == ""


@pytest.mark.parametrize(
    ("known", "says"),
    [
        ({"noise": Noise(cores=2, other_cores=1.2)}, "other processes used 1.20 of 2 cores (cpu)"),
        ({"noise": Noise(cores=2, stolen_cores=0.5)}, "The host gave 0.500 of 2 cores to other"),
        ({"noise": Noise(cores=2, throttled_s=0.1)}, "held back at its CPU limit"),
        ({"noise": Noise(cores=2, slowed_count=3)}, "slowed because they were hot"),
        ({"warmup_ms": (9.0, 8.0)}, "the first samples (2) were slower and are left out (cpu)"),
        ({"level_change": 0.2}, "changed its level by +20 % (cpu)"),
        ({"interval": 0.02, "ended_by": "budget"}, "\N{PLUS-MINUS SIGN}2 %, was not reached"),
    ],
)
def test_what_disturbs_is_said_with_its_target(known: dict[str, Any], says: str) -> None:
    assert says in said(taken(**known))
    assert says.split(" (")[0].split()[0] not in said(taken())


def test_many_rows_make_one_line_with_the_worst() -> None:
    busy = [
        taken(target, noise=Noise(cores=2, other_cores=used))
        for target, used in (("cpu", 0.5), ("wasm:firefox", 1.5), ("wasm:chrome", 0.3))
    ]
    text = said(*busy, taken())
    assert "up to 1.50 of 2 cores (cpu, wasm:firefox, wasm:chrome)" in text
    levels = [taken(level_change=change) for change in (0.1, -0.3)]
    assert "changed its level by up to -30 % (cpu)" in said(*levels)
    assert "(4 cells)" in said(*busy, taken("wasm:edge", noise=Noise(cores=2, other_cores=1.0)))


def test_an_interval_that_was_reached_is_no_warning() -> None:
    assert said(taken(interval=0.02, ended_by="interval")) == ""


def test_scenarios_have_columns_only_where_there_are_some() -> None:
    plain, loaded = row(taken()), row(server())
    always = {"scenario", "rate", "within"}
    assert not always & set(filled(SHOWN, [plain]))
    assert always <= set(filled(SHOWN, [plain, loaded]))
    assert COLUMNS["within"].text(loaded) == "97.0" and COLUMNS["rate"].text(loaded) == "20.0"
    assert "single_stream" not in title([plain])
    assert conditions(loaded).endswith("server 20/s within 100 ms")
    assert "The latency bound was not kept (cpu)." in said(server(holds=False))
    # Of several rates that were tried one that kept the bound is enough.
    tried = server().sampling
    assert tried is not None
    trials = (attrs.evolve(tried.trials[0], holds=False), *tried.trials)
    searched = attrs.evolve(server(), sampling=attrs.evolve(tried, trials=trials))
    assert row(searched).holds is True and said(searched) == ""


def test_intervals_are_in_every_format(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, cache_dir: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    summary = samples.summary(taken(count=400), server())
    first, _ = rows(summary)
    for name in ("low", "high"):
        for percentile in ("", "_p90", "_p95", "_p99"):
            assert getattr(first, f"latency{percentile}_{name}_ms") is not None
    assert first.latency_low_ms <= first.latency_ms <= first.latency_high_ms
    range_ = COLUMNS["p95_interval"].text(first)
    assert "\N{EN DASH}" in range_ and len(range_) > 2
    assert range_ in to_markdown.render(summary)
    assert range_ in to_html.render(summary, cache_dir=cache_dir)
    assert repr(first.latency_p99_high_ms) in to_csv.render(summary)
    TerminalReport().write(summary)
    text = capsys.readouterr().out
    assert "\N{PLUS-MINUS SIGN}" in text and "in time" in text


def test_what_older_versions_measured_is_shown_as_far_as_its_samples_go() -> None:
    older = samples.measurement(count=50)
    assert older.sampling is None
    shown = row(older)
    assert shown.latency_low_ms is not None and shown.interval_reached is not None
    assert (shown.ended_by, shown.other_cores, shown.warmup_count) == (None, None, 0)
    assert row(samples.missing("webgpu:edge")).effective_count is None
    assert Sampling() == sampling.describe(())
