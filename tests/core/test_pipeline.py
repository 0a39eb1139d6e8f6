# SPDX-License-Identifier: Apache-2.0
"""A whole run: real tiny models, the real CPU backend, a real database."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest
from accelerate_duckdb.store import DuckDbStore

from accelerate_core import config
from accelerate_core.assembly import make_host
from accelerate_core.assets import AssetStore
from accelerate_core.errors import ConfigError, ConnectorError, StoreError
from accelerate_core.events import Event, RunFailed, RunFinished
from accelerate_core.host import Host
from accelerate_core.markers import hookimpl
from accelerate_core.measuring import pipeline
from accelerate_core.measuring.sampling import MIN_SAMPLES
from accelerate_core.protocols import Backend, Context
from accelerate_core.testing import samples
from accelerate_core.testing.models import tiny_matmul
from accelerate_core.types import Availability, CellStatus, ModelSpec, Target


@pytest.fixture
def onnx(tmp_path: Path) -> str:
    """Return the reference of a tiny model in a file."""
    assets = AssetStore(tmp_path / "scratch")
    spec = tiny_matmul(assets)
    path = tmp_path / "tiny.onnx"
    path.write_bytes(assets.path(spec.assets[0].sha256).read_bytes())
    return f"file:{path}"


def configure(onnx: str, tmp_path: Path, **change: Any) -> tuple[config.Config, Host]:
    data = {
        "models": [{"name": "tiny", "source": onnx}],
        "benchmarks": [{"targets": ["cpu"], "repeats": 4, **change.pop("benchmark", {})}],
        **change,
    }
    made = config.parse(data)
    return made, make_host(made, cache_dir=tmp_path / "cache", state_dir=tmp_path / "state")


def run(made: config.Config, host: Host, **options: Any) -> pipeline.Outcome:
    return asyncio.run(pipeline.run(made, host, **options))


def test_a_cell_is_measured_compared_stored_and_reported(onnx: str, tmp_path: Path) -> None:
    database, report = tmp_path / "r.duckdb", tmp_path / "r.json"
    made, host = configure(
        onnx,
        tmp_path,
        store={"use": "duckdb", "path": str(database)},
        reports=[{"use": "json", "path": str(report)}],
    )
    kinds: list[str] = []
    outcome = run(made, host, observer=lambda event: kinds.append(event.kind))
    (row,) = outcome.summary.measurements
    assert row.status is CellStatus.OK and row.relative_l2 == 0.0
    assert len(row.samples_ms) == 4 and row.latency_ms and row.inference_time_ms
    assert row.worker and row.worker.target == Target("cpu") and not row.worker.is_simulated
    assert outcome.reports == {"json": report} and json.loads(report.read_text())
    assert outcome.problems == () and not outcome.summary.is_failed
    assert kinds[0] == "run_started" and kinds[-1] == "run_finished"
    assert kinds.index("measurement_stored") < kinds.index("run_finished")
    store = host.create("stores", "duckdb", {"path": str(database)}, tables=())
    try:
        assert store.summary(outcome.summary.run.id) == outcome.summary
        joined = store.query(
            "select p.model_name, c.platform from webnn_webgpu_performance p "
            "join browser_connections c on p.connection_id = c.connection_id"
        )
        assert joined.rows == (("tiny", "cpu"),)
    finally:
        store.close()


class PagerPlugin:
    """A connector whose other side is up or down."""

    is_up = True
    told: ClassVar[list[Event]] = []

    @hookimpl
    def connector_create(self) -> PagerPlugin:
        return self

    def deliver(self, event: Event) -> None:
        if not PagerPlugin.is_up:
            raise ConnectorError("nobody answers", where="pager", retryable=True)
        self.told.append(event)

    def check(self) -> tuple[str, ...]:
        return ()

    def close(self) -> None:
        pass


def test_people_are_told_once_also_by_a_later_run(onnx: str, tmp_path: Path) -> None:
    def outcome(*, is_up: bool) -> pipeline.Outcome:
        made, host = configure(
            onnx,
            tmp_path,
            store={"use": "duckdb", "path": str(tmp_path / "r.duckdb")},
            connectors=[{"use": "pager", "on": ["run_started", "run_finished"]}],
            delivery={"link": "https://ci.example/{run_id}"},
        )
        host.add("connectors", "pager", PagerPlugin)
        PagerPlugin.is_up = is_up
        return run(made, host)

    first = outcome(is_up=False)
    assert not first.is_failed
    assert first.problems == ("pager: not delivered yet: nobody answers (accel outbox list)",)
    second = outcome(is_up=True)
    assert second.problems == ()
    runs = [first.summary.run.id, second.summary.run.id]
    assert [(one.kind, one.run_id) for one in PagerPlugin.told] == [
        (kind, run_id) for run_id in runs for kind in ("run_started", "run_finished")
    ]
    assert PagerPlugin.told[1].link == f"https://ci.example/{runs[0]}"
    finished = PagerPlugin.told[3]
    assert isinstance(finished, RunFinished) and finished.summary == second.summary


@pytest.mark.parametrize(
    "error", [StoreError("the disk is full", hint="Make room."), ZeroDivisionError("a bug")]
)
def test_people_hear_of_what_ended_a_run_before_its_time(
    onnx: str, tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise error

    made, host = configure(
        onnx,
        tmp_path,
        store={"use": "duckdb", "path": str(tmp_path / "r.duckdb")},
        connectors=[{"use": "pager"}],
    )
    host.add("connectors", "pager", PagerPlugin)
    monkeypatch.setattr(PagerPlugin, "is_up", True)
    monkeypatch.setattr(PagerPlugin, "told", [])
    monkeypatch.setattr(DuckDbStore, "save_measurement", refuse)
    kinds: list[str] = []
    with pytest.raises(type(error)):
        run(made, host, observer=lambda event: kinds.append(event.kind))
    (told,) = PagerPlugin.told
    assert isinstance(told, RunFailed) and told.error is not None
    assert told.error.kind == type(error).__name__ and told.error.message == str(error.args[0])
    assert told.summary.run.finished_at is not None and told.summary.measurements == ()
    assert "run_failed" in kinds and "run_finished" not in kinds


def test_a_run_that_is_resumed_ends_again_and_people_hear_of_both() -> None:
    first = samples.summaries()["ok"]
    again = attrs.evolve(first, run=attrs.evolve(first.run, resumed_at=(samples.START,)))
    ends = [
        RunFinished(run_id="run-1", at=samples.START, summary=summary) for summary in (first, again)
    ]
    assert ends[0].key != ends[1].key and ends[0].subject == ends[1].subject


def test_a_file_that_is_not_fp32_is_compared_with_itself(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper

    half = numpy_helper.from_array(np.eye(3, dtype=np.float16), "w")
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT16, ["n", 3]) for name in "xy"]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [half])
    opset = helper.make_opsetid("", 17)
    (tmp_path / "half.onnx").write_bytes(
        helper.make_model(graph, ir_version=8, opset_imports=[opset]).SerializeToString()
    )
    made, host = configure(
        f"file:{tmp_path / 'half.onnx'}", tmp_path, benchmark={"precisions": ["fp16", "fp32"]}
    )
    half_row, full_row = run(made, host).summary.measurements
    assert half_row.status is CellStatus.OK, half_row.error
    assert half_row.relative_l2 == 0 and half_row.tolerance == 2e-2
    assert full_row.error is not None and "is fp16" in full_row.error.message


def test_the_budget_bounds_the_samples_and_three_are_made_at_least(
    onnx: str, tmp_path: Path
) -> None:
    made, host = configure(
        onnx, tmp_path, benchmark={"targets": ["cpu"], "repeats": 10_000, "budget": 1e-9}
    )
    (row,) = run(made, host).summary.measurements
    assert len(row.samples_ms) == MIN_SAMPLES


def test_a_missing_target_is_a_row_and_fails_only_when_required(onnx: str, tmp_path: Path) -> None:
    targets = {"targets": ["cpu", "fake:firefox"]}
    made, host = configure(onnx, tmp_path, benchmark=targets)
    outcome = run(made, host)
    cpu, missing = outcome.summary.measurements
    assert (cpu.status, missing.status) == (CellStatus.OK, CellStatus.MISSING)
    assert missing.error is not None and missing.error.kind == "BackendUnavailable"
    assert not outcome.summary.is_failed
    made, host = configure(onnx, tmp_path, benchmark={**targets, "required": ["fake:firefox"]})
    assert run(made, host).summary.is_failed


def test_a_run_that_measured_nothing_is_no_success(onnx: str, tmp_path: Path) -> None:
    made, host = configure(onnx, tmp_path, benchmark={"targets": ["fake:firefox"]})
    assert run(made, host).summary.is_failed


def test_a_fallback_runs_and_the_row_says_so(onnx: str, tmp_path: Path) -> None:
    made, host = configure(
        onnx, tmp_path, benchmark={"targets": ["fake:firefox"], "fallback": ["cpu"]}
    )
    (row,) = run(made, host).summary.measurements
    assert row.status is CellStatus.OK
    assert row.fell_back_from == Target("fake", None, "firefox")
    assert row.worker is not None and row.worker.target == Target("cpu")


def test_a_fallback_in_the_middle_is_said_too(onnx: str, tmp_path: Path) -> None:
    made, host = configure(
        onnx,
        tmp_path,
        benchmark={"targets": ["fake"], "fallback": ["cpu"], "repeats": 4},
        backends={"fake": {"crash_after": 4}},
        pool={"recovery": "failover"},
    )
    (row,) = run(made, host).summary.measurements
    assert row.status is CellStatus.OK and row.fell_back_from == Target("fake")
    assert set(row.provenance["answered_by"]) == {"fake", "cpu"}


def test_simulated_numbers_are_stamped_and_never_compared(onnx: str, tmp_path: Path) -> None:
    made, host = configure(onnx, tmp_path, benchmark={"targets": ["fake"]})
    (row,) = run(made, host).summary.measurements
    assert row.worker is not None and row.worker.is_simulated
    assert row.relative_l2 is None and row.tolerance is None


class Wrong:
    """A backend that computes on the CPU and adds a little."""

    name = "wrong"

    @hookimpl
    def backend_create(self, settings: Any, ctx: Context) -> Backend:
        cpu = ctx.plugins.create("backends", "cpu")
        start = cpu.start

        class Off(type(cpu)):  # type: ignore[misc]
            async def discover(self) -> list[Availability]:
                return [Availability(target=Target("wrong"), is_available=True)]

            async def start(self, target: Target, ctx: Context) -> Any:
                worker = await start(Target("cpu"), ctx)
                right = worker.run

                async def run(*args: Any, **options: Any) -> Any:
                    result = await right(*args, **options)
                    for array in result.outputs.values():
                        array += np.float32(0.1) * np.abs(array).max()
                    return result

                worker.run = run
                return worker

        cpu.__class__ = Off
        return cpu


def test_wrong_numbers_fail_the_run_and_show_the_distance(onnx: str, tmp_path: Path) -> None:
    made, host = configure(onnx, tmp_path, benchmark={"targets": ["wrong"]})
    host.add("backends", "wrong", Wrong)
    outcome = run(made, host)
    (row,) = outcome.summary.measurements
    assert row.status is CellStatus.MISMATCH and outcome.summary.is_failed
    assert row.relative_l2 is not None and row.relative_l2 > 1e-3
    assert row.error is not None and row.error.kind == "NumericalError"


def test_one_model_that_is_broken_does_not_stop_the_others(onnx: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.onnx"
    bad.write_bytes(b"not a model")
    made, host = configure(
        onnx,
        tmp_path,
        models=[{"name": "bad", "source": f"file:{bad}"}, {"name": "tiny", "source": onnx}],
    )
    outcome = run(made, host)
    assert [row.status for row in outcome.summary.measurements] == [
        CellStatus.FAILED,
        CellStatus.OK,
    ]
    assert outcome.summary.is_failed


def test_stopping_keeps_what_was_measured(onnx: str, tmp_path: Path) -> None:
    made, host = configure(
        onnx,
        tmp_path,
        benchmark={"targets": ["cpu", "fake"], "repeats": 50, "budget": "60s"},
        backends={"fake": {"latency_ms": 2_000}},
    )

    async def stopped() -> pipeline.Outcome:
        stop = asyncio.Event()

        def observe(event: Any) -> None:
            if event.kind == "cell_progress" and str(event.cell.target) == "fake":
                stop.set()

        return await asyncio.wait_for(pipeline.run(made, host, observer=observe, stop=stop), 20)

    outcome = asyncio.run(stopped())
    assert [row.status for row in outcome.summary.measurements] == [
        CellStatus.OK,
        CellStatus.SKIPPED,
    ]
    assert outcome.summary.run.is_interrupted


def test_nothing_is_started_or_written_when_the_configuration_is_wrong(
    onnx: str, tmp_path: Path
) -> None:
    database = tmp_path / "r.duckdb"
    store = {"use": "duckdb", "path": str(database)}
    for change, says in (
        ({"reports": [{"use": "htm", "path": "x"}]}, "'html'"),
        ({"reports": [{"use": "html", "pth": "x"}]}, "'path'"),
        ({"backends": {"cpu": {"thread": 1}}}, "'threads'"),
        ({"backends": {"gpu": {}}}, "no backend is called 'gpu'"),
        ({"pool": {"scheduler": "afinity"}}, "'affinity'"),
        ({"pool": {"recovery": "imediate"}}, "'immediate'"),
        ({"connectors": [{"use": "pager"}]}, "no connector is called 'pager'"),
        ({"benchmark": {"targets": ["cpux"]}}, "no backend is called 'cpux'"),
        ({"schedulers": {"afinity": {}}}, "'affinity'"),
        ({"sources": {"fil": {}}}, "'file'"),
    ):
        made, host = configure(onnx, tmp_path, store=store, **change)
        with pytest.raises(ConfigError) as caught:
            run(made, host)
        assert says in str(caught.value)
    assert not database.exists()


def test_a_store_that_cannot_be_opened_is_said_before_anything_runs(
    onnx: str, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.duckdb"
    broken.write_bytes(b"this is no database" * 100)
    made, host = configure(onnx, tmp_path, store={"use": "duckdb", "path": str(broken)})
    kinds: list[str] = []
    with pytest.raises(StoreError):
        run(made, host, observer=lambda event: kinds.append(event.kind))
    assert kinds == [] and broken.read_bytes().startswith(b"this is no database")


def test_listeners_are_told_in_order_and_cannot_hurt(onnx: str, tmp_path: Path) -> None:
    told: list[str] = []

    class Listener:
        name = "listener"

        @hookimpl
        def run_started(self, event: Any) -> None:
            told.append(event.kind)
            raise RuntimeError("listener trouble")

        @hookimpl
        def run_finished(self, event: Any) -> None:
            told.append(event.kind)

    made, host = configure(onnx, tmp_path)
    host.add("listeners", "listener", Listener)
    outcome = run(made, host)
    assert told == ["run_started", "run_finished"]
    assert not outcome.summary.is_failed
    assert any("listener trouble" in problem for problem in outcome.problems)


def test_a_measurement_says_which_commit_its_model_was_of(onnx: str, tmp_path: Path) -> None:
    made, host = configure(onnx, tmp_path)
    source = host.source(onnx)
    resolve = source.resolve

    def pinned(reference: str, *, name: str, precision: str = "fp32") -> ModelSpec:
        spec = resolve(reference, name=name, precision=precision)
        return attrs.evolve(spec, metadata={**spec.metadata, "commit": "c" * 40})

    source.resolve = pinned  # type: ignore[method-assign]
    (row,) = run(made, host).summary.measurements
    assert row.provenance["model_commit"] == "c" * 40
