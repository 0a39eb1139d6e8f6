# SPDX-License-Identifier: Apache-2.0
"""The runner with several attempts of one job, and with workers that are doubted or mended."""

from __future__ import annotations

import asyncio
import collections
import time
from typing import Any

import numpy as np
import pytest

from accelerate_core.errors import (
    AccelerateError,
    BackendUnavailable,
    ErrorInfo,
    JobTimeout,
    ModelError,
    NumericalError,
    Overloaded,
    PluginError,
    Unsupported,
    WorkerLost,
)
from accelerate_core.fleet.policy import FailureKind, GiveUp, Mend, Retry
from accelerate_core.fleet.settings import BreakerSettings, FleetSettings
from accelerate_core.fleet.state import WorkerStatus
from accelerate_core.protocols import Worker
from accelerate_core.running import attempts, gauges
from accelerate_core.running.agreement import agree
from accelerate_core.running.capacity import Cores, free_memory
from accelerate_core.running.failures import classify, ends_worker
from accelerate_core.testing.fake import FakeBackend, FakeSettings
from accelerate_core.testing.waiting import until

from .test_runner import Fleet


class Mending:
    """Mend what failed, remember what it was told."""

    def __init__(self, how: Mend | None, hedge_ns: int | None = None) -> None:
        self.how = how
        self.hedge_ns = hedge_ns
        self.kinds: list[FailureKind] = []

    def decide(self, failed: Any, job: Any, fleet: Any) -> Retry | GiveUp:
        self.kinds.append(failed.kind)
        return Retry(mend=self.how)

    def hedge_after(self, job: Any, fleet: Any) -> int | None:
        return self.hedge_ns


class Watched(FakeBackend):
    """Keep the workers that were started, and what was asked of them."""

    def __init__(self, settings: FakeSettings) -> None:
        super().__init__(settings)
        self.workers: list[Any] = []
        self.asked: list[tuple[str, Any]] = []

    async def start(self, target: Any, ctx: Any) -> Worker:
        worker: Any = await super().start(target, ctx)
        self.workers.append(worker)
        for verb in ("mend", "close", "unload"):
            setattr(worker, verb, self._noted(verb, getattr(worker, verb)))
        return worker

    def _noted(self, verb: str, call: Any) -> Any:
        async def noted(*given: Any, **named: Any) -> Any:
            self.asked.append((verb, named.get("kill", given[0] if given else None)))
            return await call(*given, **named)

        return noted


# --- several attempts -------------------------------------------------------------------------


async def test_copies_are_compared_and_the_wrong_one_is_outvoted_and_named(
    context,
    work,
    inputs,
    caplog,
) -> None:
    async with Fleet(context, wrong_worker=2, settings=FleetSettings(max_workers=3)) as fleet:
        answer = await fleet.runner.submit(work, inputs, copies=3)
        alone = await fleet.runner.submit(work, inputs)
    for name, value in alone.result.outputs.items():
        assert np.array_equal(answer.result.outputs[name], value)
    odd = [record.getMessage() for record in caplog.records if "alone" in record.message]
    assert len(odd) == 1 and "fake-2#" in odd[0]


async def test_two_copies_that_disagree_are_a_numerical_error(
    context,
    work,
    inputs,
) -> None:
    async with Fleet(context, wrong_worker=2, settings=FleetSettings(max_workers=2)) as fleet:
        with pytest.raises(NumericalError, match="2 workers answered, and no majority"):
            await fleet.runner.submit(work, inputs, copies=2)


async def test_a_worker_that_computes_wrongly_is_outvoted_and_quarantined(
    context,
    work,
    inputs,
) -> None:
    """It never fails by itself: only the comparison tells."""
    lenient = BreakerSettings(minimum_calls=20)
    settings = FleetSettings(max_workers=3, breaker=lenient)
    async with Fleet(context, wrong_worker=2, settings=settings) as fleet:
        answers = [await fleet.runner.submit(work, inputs, copies=2) for _ in range(5)]
        status = {one.id: one.status for one in fleet.runner._machine.fleet.workers.values()}
    assert status.pop("fake-2") is WorkerStatus.QUARANTINED
    assert set(status.values()) == {WorkerStatus.READY}
    first, *more = [list(one.result.outputs.values()) for one in answers]
    for one in more:
        assert all(map(np.array_equal, first, one))


async def test_copies_cannot_stay_on_their_workers(context, work, inputs) -> None:
    async with Fleet(context) as fleet:
        name = work.spec.outputs[0].name
        with pytest.raises(Unsupported, match="copies"):
            await fleet.runner.submit(work, inputs, copies=2, keep=(name,))
        assert not fleet.told


async def test_a_hedge_answers_for_a_late_worker_which_is_free_at_once(
    context,
    work,
    inputs,
) -> None:
    backend = Watched(FakeSettings(latency_ms=0, silent_after=1, silent_ms=60_000))
    recovery = Mending(None, hedge_ns=20_000_000)
    settings = FleetSettings(max_workers=2, suspect_after_ns=10**12)
    async with Fleet(context, backend, recovery=recovery, settings=settings) as fleet:
        await fleet.runner.submit(work, inputs, copies=2)
        backend.workers[1]._runs = 100  # only the first falls silent in its second run
        begin = time.perf_counter()
        answer = await fleet.runner.submit(work, inputs)
        assert answer.worker_id == "fake-2" and answer.attempts == 2
        assert time.perf_counter() - begin < 30
        await until(lambda: not fleet.runner._attempts._running)


async def test_a_silent_worker_is_doubted_and_its_job_given_to_another(
    context,
    work,
    inputs,
) -> None:
    backend = Watched(FakeSettings(latency_ms=0, silent_after=1, silent_ms=60_000))
    settings = FleetSettings(max_workers=2, suspect_after_ns=200_000_000)
    async with Fleet(context, backend, settings=settings) as fleet:
        await fleet.runner.submit(work, inputs, copies=2)
        backend.workers[1]._runs = 100
        begin = time.perf_counter()
        answer = await fleet.runner.submit(work, inputs)
        assert answer.worker_id == "fake-2"
        assert 0.15 < time.perf_counter() - begin < 30


async def test_a_place_is_taken_until_the_cancelled_run_has_ended(context, work, inputs) -> None:
    backend = Watched(FakeSettings(latency_ms=0))
    async with Fleet(context, backend, settings=FleetSettings(max_workers=1)) as fleet:
        await fleet.runner.submit(work, inputs)
        free, began = asyncio.Event(), asyncio.Event()
        (worker,) = backend.workers
        run = worker.run

        async def unwilling(*given: Any, **named: Any) -> Any:
            worker.run = run
            began.set()
            try:
                await asyncio.sleep(3600)
            finally:
                await free.wait()

        worker.run = unwilling
        late = asyncio.create_task(fleet.runner.submit(work, inputs))
        await began.wait()
        late.cancel()
        next_one = asyncio.create_task(fleet.runner.submit(work, inputs))
        assert not (await asyncio.wait([next_one], timeout=0.1))[0]
        assert late.cancelled(), "nobody waits for it"
        free.set()
        assert (await asyncio.wait_for(next_one, 5)).worker_id == "fake-1"


async def test_a_worker_that_does_not_stop_a_cancelled_run_is_lost(
    context, work, inputs, monkeypatch
) -> None:
    monkeypatch.setattr(attempts, "CANCEL_TIMEOUT_S", 0.1)
    backend = Watched(FakeSettings(latency_ms=0))
    async with Fleet(context, backend, settings=FleetSettings(max_workers=1)) as fleet:
        await fleet.runner.submit(work, inputs)
        never = asyncio.Event()

        async def stuck(*given: Any, **named: Any) -> Any:
            try:
                await asyncio.sleep(3600)
            finally:
                await never.wait()

        backend.workers[0].run = stuck
        with pytest.raises(JobTimeout):
            await fleet.runner.submit(work, inputs, timeout_s=0.05)
        answer = await asyncio.wait_for(fleet.runner.submit(work, inputs), 5)
        assert len(backend.workers) == 2 and answer.attempts == 1
        assert ("close", True) in backend.asked
        never.set()


async def test_an_answer_outlives_its_worker(context, work, inputs) -> None:
    """The comparison comes when one of the workers that answered is gone."""
    async with Fleet(context, latency_ms=50) as fleet:
        compare = fleet.runner._compare

        async def late(order: Any) -> None:
            for worker_id, live in list(fleet.runner._workers.live.items()):
                fleet.runner._workers.lose(worker_id, live, WorkerLost("planned"))
            await compare(order)

        fleet.runner._compare = late
        answer = await fleet.runner.submit(work, inputs, copies=2)
        assert answer.handle.spec == work.spec and answer.result.outputs


# --- mended, stopped, unloaded ----------------------------------------------------------------


@pytest.mark.parametrize("how", [Mend.DEVICE, Mend.PAGE])
async def test_a_mended_worker_is_of_another_epoch_and_loads_its_models_again(
    context,
    work,
    inputs,
    how,
) -> None:
    backend, recovery = Watched(FakeSettings(device_lost_every=2)), Mending(how)
    async with Fleet(context, backend, recovery=recovery) as fleet:
        first = await fleet.runner.submit(work, inputs)
        second = await fleet.runner.submit(work, inputs)
        assert recovery.kinds == [FailureKind.DEVICE_LOST]
        assert backend.asked == [("mend", how)] and len(backend.workers) == 1
        assert second.attempts == 2 and second.handle.id != first.handle.id
        assert fleet.runner._workers.live["fake-1"].epoch == 2
    assert fleet.kinds().count("worker_lost") == 1


async def test_a_worker_that_cannot_be_mended_is_lost_and_another_does_the_job(
    context,
    work,
    inputs,
) -> None:
    backend = Watched(FakeSettings(device_lost_every=2, mends=()))
    async with Fleet(context, backend, recovery=Mending(Mend.PAGE)) as fleet:
        await fleet.runner.submit(work, inputs)
        answer = await fleet.runner.submit(work, inputs)
        assert len(backend.workers) == 2 and answer.attempts == 2
        await until(lambda: ("close", True) in backend.asked)


async def test_a_restart_kills_and_does_not_ask(context, work, inputs) -> None:
    backend = Watched(FakeSettings(fail_every=2))
    async with Fleet(context, backend, recovery=Mending(Mend.RESTART)) as fleet:
        await fleet.runner.submit(work, inputs)
        await fleet.runner.submit(work, inputs)
        assert backend.asked[0] == ("close", True) and len(backend.workers) == 2


async def test_mending_stops_what_still_runs_there(context, work, inputs) -> None:
    """A job of the old epoch is answered once, by the new one."""
    backend = Watched(FakeSettings(slots=2, latency_ms=300, device_lost_every=4))
    async with Fleet(context, backend, recovery=Mending(Mend.DEVICE)) as fleet:
        await fleet.runner.submit(work, inputs)
        backend.workers[0]._runs = 3  # the first of both loses the device
        mend, running = backend.workers[0].mend, []

        async def mend_late(how: Mend) -> None:
            await asyncio.sleep(0.02)
            running.extend(fleet.runner._attempts._running)
            await mend(how)

        backend.workers[0].mend = mend_late
        both = await asyncio.gather(*(fleet.runner.submit(work, inputs) for _ in range(2)))
        assert not running, "the other attempt went on"
        assert sorted(one.attempts for one in both) == [2, 2]
        assert len(backend.workers) == 1


@pytest.mark.parametrize("kind", [FailureKind.CRASH, FailureKind.HANG, FailureKind.CONNECTION])
async def test_a_recovery_strategy_is_told_what_a_loss_was(
    context,
    work,
    inputs,
    kind,
) -> None:
    recovery = Mending(None)
    async with Fleet(context, crash_after=1, crash_reason=kind, recovery=recovery) as fleet:
        await fleet.runner.submit(work, inputs)
        await fleet.runner.submit(work, inputs)
        assert recovery.kinds == [kind]


# --- pure -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (WorkerLost("it is gone"), FailureKind.LOST),
        (WorkerLost("it is gone", reason="crash"), FailureKind.CRASH),
        (WorkerLost("it is gone", reason="of the future"), FailureKind.LOST),
        (ModelError("no room", reason="out_of_memory"), FailureKind.OUT_OF_MEMORY),
        (ModelError("wrong"), FailureKind.MODEL),
        (NumericalError("wrong"), FailureKind.NUMERICAL),
        (JobTimeout("late"), FailureKind.TIMEOUT),
        (Overloaded("full"), FailureKind.OVERLOAD),
        (BackendUnavailable("none"), FailureKind.BACKEND),
        (Unsupported("no"), FailureKind.UNSUPPORTED),
        (PluginError("bug"), FailureKind.INTERNAL),
    ],
)
def test_every_error_is_a_kind_of_failure(error: AccelerateError, kind: FailureKind) -> None:
    assert classify(error) is kind
    assert classify(AccelerateError.from_info(error.info)) is kind


def test_a_lost_device_ends_no_worker() -> None:
    assert ends_worker(WorkerLost("it is gone", reason="hang"))
    assert not ends_worker(WorkerLost("the device is gone", reason="device_lost"))
    assert not ends_worker(ModelError("no room", reason="out_of_memory"))
    assert ErrorInfo(kind="WorkerLost", message="").reason is None


def _outputs(*values: float) -> dict[str, np.ndarray]:
    return {"out": np.array(values, np.float32)}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([(1, 2), (1, 2)], (1, ())),
        ([(1, 2), (1, 2.0001)], (1, ())),
        ([(1, 2), (1, 3)], (None, (1, 2))),
        ([(9, 9), (1, 2), (1, 2)], (2, (1,))),
        ([(1, 2), (1, 2), (3, 4), (3, 4)], (None, (1, 2, 3, 4))),
        ([(float("nan"), 2), (1, 2), (1, 2)], (2, (1,))),
        ([(0, 0), (1, 2), (0, 0)], (1, (2,))),
        ([(1, 2, 3), (1, 2), (1, 2)], (2, (1,))),
    ],
)
def test_the_majority_counts(answers: Any, expected: Any) -> None:
    numbered = {number: _outputs(*one) for number, one in enumerate(answers, 1)}
    assert agree(numbered, 1e-3) == expected


# --- gauges -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "weighs", "looks"),
    [
        (FleetSettings(), False, False),
        (FleetSettings(memory_limit_bytes=1 << 30), True, True),
        (FleetSettings(max_growth_bytes=1 << 20), True, False),
        (FleetSettings(is_adaptive=True), False, True),
    ],
)
async def test_workers_are_weighed_only_where_somebody_cares(
    context,
    work,
    inputs,
    monkeypatch,
    settings,
    weighs,
    looks,
) -> None:
    monkeypatch.setattr(gauges, "WEIGH_S", 0.01)
    seen: list[str] = []
    wanted = {
        name for name, is_wanted in (("WorkerMemory", weighs), ("Capacity", looks)) if is_wanted
    }
    enough = asyncio.Event()
    async with Fleet(context, settings=settings) as fleet:
        handle = fleet.runner._machine.handle

        def spy(event: Any) -> Any:
            seen.append(type(event).__name__)
            if wanted <= set(seen):
                enough.set()
            return handle(event)

        fleet.runner._machine.handle = spy
        backend_memory = 123 << 20
        monkeypatch.setattr(
            "accelerate_core.testing.fake.FakeWorker.memory",
            lambda self: asyncio.sleep(0, backend_memory),
        )
        await fleet.runner.submit(work, inputs)
        await asyncio.sleep(0.1)
        await asyncio.wait_for(enough.wait(), 5)
        assert ("WorkerMemory" in seen, "Capacity" in seen) == (weighs, looks)
        if weighs:
            assert fleet.runner._machine.fleet.workers["fake-1"].held_bytes == backend_memory
    assert not fleet.runner._tasks


def test_cores_are_busy_with_what_is_neither_idle_nor_waiting_for_a_disk(monkeypatch) -> None:
    import psutil

    assert 0 <= Cores().busy() <= 1
    times = collections.namedtuple("times", "user system idle iowait guest")
    seen = [times(10, 5, 100, 5, 2), times(13, 5, 106, 6, 3), times(13, 5, 106, 6, 3)]
    monkeypatch.setattr(psutil, "cpu_times", lambda: seen.pop(0))
    cores = Cores()
    assert cores.busy() == pytest.approx(0.3)  # what a guest uses is in user already
    assert cores.busy() == 0  # no time has passed


def test_free_memory_is_the_least_of_all_limits(tmp_path) -> None:
    own = tmp_path / "sys/fs/cgroup/outer/inner"
    own.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/outer/inner\n")
    (own / "memory.max").write_text("max\n")
    assert free_memory(tmp_path) > 1 << 24, "no limit: what the machine has"
    (own.parent / "memory.max").write_text(f"{100 << 20}\n")
    (own.parent / "memory.current").write_text(f"{90 << 20}\n")
    (own.parent / "memory.stat").write_text(f"anon 7\ninactive_file {5 << 20}\n")
    assert free_memory(tmp_path) == 15 << 20
    (own.parent / "memory.current").write_text(f"{190 << 20}\n")
    assert free_memory(tmp_path) == 0


def test_free_memory_knows_the_first_version_of_cgroups(tmp_path) -> None:
    place = tmp_path / "sys/fs/cgroup/memory"
    place.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    # The path is the host's; in the container only the top is there.
    (tmp_path / "proc/self/cgroup").write_text("5:devices:/\n4:cpu,memory:/docker/abc\n")
    (place / "memory.limit_in_bytes").write_text(f"{(1 << 63) - 4096}\n")
    assert free_memory(tmp_path) > 1 << 24
    (place / "memory.limit_in_bytes").write_text(f"{64 << 20}\n")
    (place / "memory.usage_in_bytes").write_text(f"{60 << 20}\n")
    (place / "memory.stat").write_text(f"inactive_file 1\ntotal_inactive_file {2 << 20}\n")
    assert free_memory(tmp_path) == 6 << 20
