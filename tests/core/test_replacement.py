# SPDX-License-Identifier: Apache-2.0
"""A worker that is lost, killed or doubted is replaced at that moment, and not for ever."""

from __future__ import annotations

import pytest

from accelerate_core.errors import ErrorInfo
from accelerate_core.fleet import events as ev
from accelerate_core.fleet.machine import Machine
from accelerate_core.fleet.policy import FailureKind, Mend, Retry
from accelerate_core.fleet.settings import SECOND, FleetSettings
from accelerate_core.testing.simulation import World

MINUTE = 60 * SECOND


class Restart:
    def decide(self, failed: object, job: object, fleet: object) -> Retry:
        return Retry(mend=Mend.RESTART)


def world(**options: int) -> World:
    """Return a fleet that has been at work for 30 seconds."""
    settings = FleetSettings(**{"max_workers": 4, "min_workers": 2, "hot_spares": 1, **options})
    one = World(Machine(recovery=Restart(), settings=settings), stop_ns=5 * SECOND)
    for number in range(20):
        one.submit(number * SECOND, f"j{number}")
    one.run(30 * SECOND)
    assert len(one.alive) == 3
    return one


@pytest.mark.parametrize("victim", ["cpu-1", "cpu-2", "cpu-3"])
def test_the_moment_of_the_loss_is_the_moment_of_the_start(victim: str) -> None:
    one = world()
    before = len(one.started)
    one.kill(victim)
    assert one.started[before:] == [one.now_ns]


def test_one_that_is_lost_as_soon_as_it_came_is_replaced_at_once_too() -> None:
    one = world()
    for _ in range(2):
        one.kill("cpu-1")
        assert one.started[-1] == one.now_ns
        one.run(one.now_ns + one.start_ns + SECOND // 2)  # up, and without a job


def test_what_is_lost_again_and_again_as_soon_as_it_comes_is_started_ever_less_often() -> None:
    one = world()
    before = len(one.started)
    for _ in range(600):
        worker = one.machine.fleet.workers.get("cpu-2")
        if worker is not None and worker.status == "ready":
            one.kill("cpu-2")
        one.run(one.now_ns + SECOND)
    assert 5 <= len(one.started) - before <= 20


@pytest.mark.parametrize("most", [3, 4])
def test_a_killed_worker_is_replaced_before_it_has_ended(most: int) -> None:
    """Also where there are as many as there may be: it does not count any more."""
    one = world(max_workers=most)
    one.submit(one.now_ns, "fails")
    one.run(one.now_ns)
    (busy,) = [each for each in one.machine.fleet.workers.values() if each.jobs]
    before = len(one.started)
    one.post(
        ev.AttemptFailed(
            at_ns=one.now_ns,
            job_id="fails",
            attempt=1,
            worker_id=busy.id,
            epoch=busy.epoch,
            kind=FailureKind.CRASH,
            error=ErrorInfo(kind="AccelerateError", message="planned"),
        )
    )
    assert one.stopped == [one.now_ns] == one.started[before:]
    one.run(one.now_ns + MINUTE)
    assert one.endings["fails"].error is None
    assert len(one.alive) == 3 and len(one.started) == before + 1


def test_a_doubt_starts_another_only_where_fewer_than_the_least_are_trusted() -> None:
    one = world()
    before = len(one.started)

    def post(kind: type[ev.FleetEvent], worker_id: str, **fields: int) -> None:
        epoch = one.machine.fleet.workers[worker_id].epoch
        one.post(kind(at_ns=one.now_ns, worker_id=worker_id, epoch=epoch, **fields))

    post(ev.WorkerSilent, "cpu-1", silent_ns=SECOND // 2)
    assert len(one.started) == before, "a spare stands in"
    post(ev.WorkerSilent, "cpu-2", silent_ns=SECOND // 2)
    assert one.started[before:] == [one.now_ns]
    post(ev.WorkerSilent, "cpu-3", silent_ns=SECOND // 2)
    assert len(one.started) == before + 1, "there may be no more"
    for worker_id in ("cpu-1", "cpu-2", "cpu-3"):
        post(ev.WorkerHeard, worker_id)
    one.run(one.now_ns + MINUTE)
    assert not one.stopped, "to be doubted costs nobody its life"
