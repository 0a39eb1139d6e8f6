# SPDX-License-Identifier: Apache-2.0
"""Analyses inside a run: asked, answered with second measurements, and never its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from accelerate_core import config, events
from accelerate_core.assembly import make_host
from accelerate_core.assets import AssetStore
from accelerate_core.errors import ConfigError, StoreError
from accelerate_core.host import Host
from accelerate_core.markers import hookimpl
from accelerate_core.measuring import pipeline
from accelerate_core.protocols import Store
from accelerate_core.testing.models import tiny_matmul
from accelerate_core.types import Measurement, RunSummary


class Suspicious:
    """Suspect what runs in batches of two, and confirm it whatever the second time says."""

    def __init__(self) -> None:
        self.again: list[Measurement] = []
        self.fails_run = False
        self.breaks: set[str] = set()
        self.on_suspects: Callable[[], None] = lambda: None
        self.worse: list[str] = []

    def suspects(self, summary: RunSummary, store: Store) -> Collection[str]:
        if "suspects" in self.breaks:
            raise RuntimeError("cannot think")
        self.on_suspects()
        assert len(store.query("SELECT * FROM webnn_webgpu_performance").rows) == 2
        return [one.id for one in summary.measurements if one.cell.batch_size == 2]

    def conclude(
        self, summary: RunSummary, again: Sequence[Measurement], store: Store
    ) -> Sequence[events.Regression]:
        if "conclude" in self.breaks:
            raise StoreError("cannot write")
        self.again += again
        return [
            events.Regression(
                run_id=summary.run.id,
                at=datetime.now(UTC),
                series_key=one.series_key,
                metric="latency_ms",
                before=1.0,
                after=2.0,
                severity="major",
                label="latency of tiny",
                unit="ms",
                fails_run=self.fails_run,
            )
            for one in again
        ]

    def still_worse(
        self, summary: RunSummary, news: Sequence[events.Regression], store: Store
    ) -> Sequence[str]:
        if "still_worse" in self.breaks:
            raise StoreError("cannot read")
        assert len(news) == len(self.again) and store.summary(summary.run.id)
        return self.worse


class Plugin:
    name = "suspicious"
    analysis: Suspicious

    @hookimpl
    def analysis_create(self) -> Suspicious:
        return self.analysis


@pytest.fixture
def analysis() -> Suspicious:
    return Suspicious()


@pytest.fixture
def ready(tmp_path: Path, analysis: Suspicious) -> tuple[config.Config, Host]:
    assets = AssetStore(tmp_path / "scratch")
    spec = tiny_matmul(assets)
    path = tmp_path / "tiny.onnx"
    path.write_bytes(assets.path(spec.assets[0].sha256).read_bytes())
    made = config.parse(
        {
            "disabled": ["insights"],
            "models": [{"name": "tiny", "source": f"file:{path}"}],
            "benchmarks": [{"targets": ["cpu"], "repeats": 3, "batch_sizes": [1, 2]}],
            "store": {"use": "duckdb", "path": str(tmp_path / "r.duckdb")},
        }
    )
    host = make_host(made, cache_dir=tmp_path / "cache", state_dir=tmp_path / "state")
    host.add("analyses", "suspicious", type("Made", (Plugin,), {"analysis": analysis}))
    return made, host


def run(ready: tuple[config.Config, Host], **options: Any) -> pipeline.Outcome:
    return asyncio.run(pipeline.run(*ready, **options))


def stored(ready: tuple[config.Config, Host], sql: str) -> tuple[tuple[Any, ...], ...]:
    made, host = ready
    assert made.store is not None
    store = host.create("stores", "duckdb", made.store.settings, tables=())
    try:
        return tuple(store.query(sql).rows)
    finally:
        store.close()


def test_suspects_are_measured_again_on_a_fresh_worker_and_told_when_confirmed(
    ready: tuple[config.Config, Host], analysis: Suspicious
) -> None:
    told: list[events.Event] = []
    outcome = run(ready, observer=told.append)
    suspect = outcome.summary.measurements[1]
    (again,) = analysis.again
    assert again.again_of == suspect.id and again.series_key == suspect.series_key
    assert again.connection_id != suspect.connection_id
    assert len(outcome.summary.measurements) == 2
    rows = stored(ready, "SELECT again_of FROM webnn_webgpu_performance ORDER BY id")
    assert rows == ((None,), (None,), (suspect.id,))
    assert [one.is_again for one in told if isinstance(one, events.CellStarted)] == [False] * 2 + [
        True
    ]
    assert outcome.regressions == tuple(one for one in told if isinstance(one, events.Regression))
    assert [one.series_key for one in outcome.regressions] == [suspect.series_key]
    assert not outcome.is_failed and outcome.problems == ()
    kinds = [one.kind for one in told]
    assert kinds.index("regression") < kinds.index("run_finished")


def test_a_regression_fails_a_run_only_where_settings_say_so(
    ready: tuple[config.Config, Host], analysis: Suspicious
) -> None:
    analysis.fails_run = True
    outcome = run(ready)
    assert outcome.is_failed and not outcome.summary.is_failed


def test_what_earlier_runs_told_of_is_said_at_the_end(
    ready: tuple[config.Config, Host], analysis: Suspicious
) -> None:
    analysis.worse = ["latency of tiny: +30%"]
    told: list[events.Event] = []
    outcome = run(ready, observer=told.append)
    (end,) = (one for one in told if isinstance(one, events.RunFinished))
    assert outcome.still_worse == end.still_worse == ("latency of tiny: +30%",)
    assert not outcome.is_failed


@pytest.mark.parametrize("what", ["suspects", "conclude", "still_worse"])
def test_an_analysis_that_fails_is_a_problem_and_the_run_goes_on(
    what: str, ready: tuple[config.Config, Host], analysis: Suspicious
) -> None:
    analysis.breaks = {what}
    outcome = run(ready)
    (problem,) = outcome.problems
    assert "suspicious failed: cannot" in problem
    assert not outcome.is_failed and len(outcome.summary.measurements) == 2
    # What was stored before it failed is told.
    assert len(outcome.regressions) == (what == "still_worse")
    assert not outcome.summary.run.is_interrupted


def test_a_run_stopped_while_measuring_again_ends_cleanly_and_concludes_nothing(
    ready: tuple[config.Config, Host], analysis: Suspicious
) -> None:
    async def stopped() -> pipeline.Outcome:
        stop = asyncio.Event()

        def saw(event: events.Event) -> None:
            if isinstance(event, events.CellStarted) and event.is_again:
                stop.set()

        return await pipeline.run(*ready, observer=saw, stop=stop)

    outcome = asyncio.run(stopped())
    assert outcome.summary.run.is_interrupted and outcome.regressions == ()
    assert analysis.again == []
    assert [one.status for one in outcome.summary.measurements] == ["ok", "ok"]
    assert len(stored(ready, "SELECT id FROM webnn_webgpu_performance")) == 2


def test_without_a_store_there_is_no_history_and_nothing_is_asked(
    ready: tuple[config.Config, Host], analysis: Suspicious
) -> None:
    made, host = ready
    object.__setattr__(made, "store", None)
    analysis.breaks = {"suspects"}
    assert run((made, host)).problems == ()


def test_settings_of_an_analysis_nobody_installed_are_refused(tmp_path: Path) -> None:
    made = config.parse({"analyses": {"nobody": {"x": 1}}})
    host = make_host(made, cache_dir=tmp_path, state_dir=tmp_path)
    with pytest.raises(ConfigError, match="no analysis is called 'nobody'"):
        from accelerate_core.assembly import check_tables

        check_tables(made, host)
