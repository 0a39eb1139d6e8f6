# SPDX-License-Identifier: Apache-2.0
"""When a stuck job is taken elsewhere, and what a fleet that becomes slower makes of it."""

from __future__ import annotations

import random

import pytest

from accelerate_core.fleet import instructions as do
from accelerate_core.fleet.machine import Machine
from accelerate_core.fleet.settings import SECOND, BreakerSettings, FleetSettings
from accelerate_core.testing.simulation import Ending, World

MS = SECOND // 1000
USUAL = [5 * MS, 50 * MS, 2 * SECOND]


class Varied(World):
    """Workers whose attempts take from half of `p95_ns` to a little more; some are stuck."""

    def __init__(self, p95_ns: int, workers: int = 2) -> None:
        settings = FleetSettings(max_workers=workers, hot_spares=workers, breaker=BreakerSettings())
        super().__init__(Machine(settings=settings), start_ns=SECOND, run_ns=self.takes)
        self.p95_ns = p95_ns
        self.slower = 1.0
        self.stuck: set[str] = set()
        self.rng = random.Random(3)
        self.dispatched: dict[str, list[do.Dispatch]] = {}

    def takes(self, order: do.Dispatch) -> int | None:
        self.dispatched.setdefault(order.job_id, []).append(order)
        if order.job_id in self.stuck and order.attempt == 1:
            return None
        # Nineteen of twenty are between half of it and it.
        return round(self.slower * self.p95_ns * self.rng.uniform(0.5, 1.026))

    def seasoned(self) -> Varied:
        """Do sixty jobs, so that it is known how long they take."""
        self.run(5 * SECOND)
        for number in range(60):
            self.submit(self.now_ns + number * 2 * self.p95_ns, f"before{number}")
        self.run(self.now_ns + 130 * self.p95_ns + 5 * SECOND)
        return self


def moment(ending: Ending, what: str) -> int:
    return next(one.at_ns for one in ending.story if one.what == what)


@pytest.mark.parametrize("p95_ns", USUAL)
def test_a_stuck_job_is_taken_elsewhere_within_three_times_p95(p95_ns: int) -> None:
    world = Varied(p95_ns).seasoned()
    stuck = {f"stuck{number}" for number in range(10)}
    world.stuck = stuck
    for number in range(10):
        world.submit(world.now_ns, f"stuck{number}")
        world.run(world.now_ns + 4 * p95_ns)
        ending = world.endings[f"stuck{number}"]
        assert ending.error is None
        assert moment(ending, "hedged") - moment(ending, "placed") <= 3 * p95_ns
    assert world.told["MendWorker"] == world.told["killed"] == 0, "they only are late"


@pytest.mark.parametrize("p95_ns", USUAL)
def test_a_stuck_job_whose_fleet_is_busy_is_taken_by_the_first_that_is_free(p95_ns: int) -> None:
    world = Varied(p95_ns).seasoned()
    world.stuck = {"stuck"}
    world.submit(world.now_ns, "stuck")
    for number in range(20):
        world.submit(world.now_ns, f"other{number}")
    world.run(world.now_ns + 6 * p95_ns)
    ending = world.endings["stuck"]
    late_ns = moment(ending, "overdue") - moment(ending, "placed")
    assert late_ns <= 3 * p95_ns
    waited_ns = moment(ending, "hedged") - moment(ending, "overdue")
    assert waited_ns <= 1.1 * p95_ns, "before all that wait"


@pytest.mark.parametrize("is_sudden", [True, False])
@pytest.mark.parametrize("p95_ns", USUAL)
def test_a_fleet_that_becomes_twice_as_slow_doubts_hardly_anybody(
    p95_ns: int, is_sudden: bool
) -> None:
    world = Varied(p95_ns, workers=4).seasoned()
    before = set(world.endings)
    for number in range(400):
        world.submit(world.now_ns, f"job{number}")  # more than it can do: all are busy
    for step in range(100):
        world.slower = 2.0 if is_sudden else 1.0 + step / 100
        world.run(world.now_ns + 2 * p95_ns)
    world.run(world.now_ns + 60 * SECOND)
    endings = [ending for job, ending in world.endings.items() if job not in before]
    assert len(endings) == 400 and not any(one.error for one in endings)
    doubted = sum(any(one.what == "overdue" for one in ending.story) for ending in endings)
    assert doubted <= 0.02 * len(endings)
    assert world.told["killed"] == world.told["MendWorker"] == 0
