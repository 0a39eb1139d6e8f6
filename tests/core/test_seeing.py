# SPDX-License-Identifier: Apache-2.0
"""What schedulers see of jobs and workers, and when those that wait by choice are asked again."""

from __future__ import annotations

from accelerate_core.errors import ErrorInfo
from accelerate_core.fleet import events as ev
from accelerate_core.fleet import instructions as do
from accelerate_core.fleet.defaults import FirstIdle
from accelerate_core.fleet.machine import Machine
from accelerate_core.fleet.policy import Decision, FleetView, JobView, Placement, Wait
from accelerate_core.fleet.settings import SECOND, FleetSettings
from accelerate_core.testing.simulation import CPU, World
from accelerate_core.types import Target

FIRST, SECOND_BEST = Target.parse("wasm:chromium"), Target.parse("wasm:firefox")
BOTH = (FIRST, SECOND_BEST)


class Last:
    """Take the last worker of those that are idle, and note what was seen."""

    def __init__(self, *, sees_fallbacks: bool = False) -> None:
        self.sees_fallbacks = sees_fallbacks
        self.seen: list[JobView] = []

    def pick(self, job: JobView, fleet: FleetView) -> Decision:
        self.seen.append(job)
        idle = fleet.idle(job.targets)
        return Placement((idle[-1].id,)) if idle else Wait()


def test_fallbacks_are_shown_and_started_only_for_a_scheduler_that_sees_them() -> None:
    for sees, shown, used in ((False, BOTH[:1], FIRST), (True, BOTH, SECOND_BEST)):
        scheduler = Last(sees_fallbacks=sees)
        world = World(Machine(scheduler=scheduler, settings=FleetSettings(max_workers=2)))
        world.submit(0, "first", targets=BOTH)
        world.submit(10 * SECOND, "second", targets=BOTH)
        world.run()
        assert scheduler.seen[-1].targets == shown
        assert scheduler.seen[-1].further == BOTH[len(shown) :]
        placed = next(one for one in world.endings["second"].story if one.what == "placed")
        assert placed.detail == f"{used}-1"
        assert len(world.started) == len(shown)


def test_a_fallback_that_could_not_be_started_is_not_started_again_and_again() -> None:
    machine = Machine(scheduler=Last(sees_fallbacks=True), settings=FleetSettings(max_workers=2))
    world = World(machine)
    world.submit(0, "first", targets=BOTH)
    world.run(until_ns=1)
    error = ErrorInfo(kind="WorkerLost", message="it did not start")
    failed = ev.WorkerFailed(at_ns=2, worker_id=f"{SECOND_BEST}-1", epoch=1, error=error)
    world.post(failed)
    world.submit(3, "second", targets=BOTH)
    world.run()
    assert world.endings["first"].error is None and world.endings["second"].error is None
    assert len(world.started) == 2


class Patient:
    """Wait until a moment, and note when it is asked."""

    def __init__(self, until_ns: int | None) -> None:
        self.until_ns = until_ns
        self.asked: list[tuple[str, int, int]] = []

    def pick(self, job: JobView, fleet: FleetView) -> Decision:
        if not (idle := fleet.idle(job.targets)):
            return Wait()
        self.asked.append((job.id, fleet.now_ns, fleet.waiting(job.targets)))
        if fleet.now_ns >= 60 * SECOND:
            return Placement((idle[0].id,))
        return Wait(until_ns=self.until_ns)


def test_who_waits_by_choice_is_asked_again_then_and_when_more_come() -> None:
    scheduler = Patient(until_ns=60 * SECOND)
    world = World(Machine(scheduler=scheduler))
    world.submit(0, "a")
    for number, name in enumerate("bc"):
        world.submit((20 + number) * SECOND, name)
    world.run()
    assert scheduler.asked[:3] == [
        ("a", 2 * SECOND, 1),
        ("a", 20 * SECOND, 2),
        ("a", 21 * SECOND, 3),
    ]
    assert scheduler.asked[3] == ("a", 60 * SECOND, 3)
    assert all(one.error is None for one in world.endings.values())


def test_who_waits_for_good_is_not_asked_for_every_job_that_comes() -> None:
    scheduler = Patient(until_ns=None)
    world = World(Machine(scheduler=scheduler))
    for number in range(5):
        world.submit((10 + number) * SECOND, f"job-{number}")
    world.run(until_ns=50 * SECOND)
    assert len(scheduler.asked) == 1


class Pacing(FirstIdle):
    sees_paces = True


def test_loads_and_paces_are_seen() -> None:
    slow = "cpu-2"

    def took(one: do.Dispatch) -> int:
        return SECOND if one.worker_id == slow else SECOND // 10

    settings = FleetSettings(max_workers=2, min_workers=2, overdue_calls=10**6)
    machine = Machine(scheduler=Pacing(), settings=settings)
    world = World(machine, run_ns=took, load_ns=3 * SECOND)
    assert machine.fleet.load_ns("m", CPU) is None
    for number in range(80):
        world.submit(number * SECOND // 5, f"job-{number}")
    world.run(until_ns=SECOND)
    world.run()
    assert machine.fleet.load_ns("m", CPU) == 3 * SECOND
    assert machine.fleet.targets((CPU,)) == [CPU]
    views = {one.id: one for one in machine.fleet.idle((CPU,))}
    assert views[slow].pace > 3 > 1.1 > views["cpu-1"].pace
    assert views[slow].paced_ns > 0
    world.submit(world.now_ns, "last")
    world.run(until_ns=world.now_ns)
    (busy,) = (one for one in machine.fleet.least_loaded(2, (CPU,)) if one.running)
    assert busy.attempts == (("m", world.now_ns),)
