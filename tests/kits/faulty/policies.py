# SPDX-License-Identifier: Apache-2.0
"""Schedulers and recovery strategies that break their contracts, each in its own way."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest

from accelerate_core.fleet.defaults import FirstIdle, NoRecovery
from accelerate_core.fleet.policy import GiveUp, Placement, Retry, Wait
from accelerate_core.testing import RecoveryContract, SchedulerContract
from accelerate_core.types import Target


class _Scheduler(SchedulerContract, FirstIdle):
    """The scheduler is the test class itself: a fresh one for each test, as contracts ask."""

    @pytest.fixture
    def scheduler(self) -> Any:
        return self


class PlacesAnywhere(_Scheduler):
    caught_by = ("test_placements_are_possible", "test_uses_an_idle_fleet")

    def pick(self, job: Any, fleet: Any) -> Any:
        return Placement(("other",))


class PlacesOnBusyWorkers(_Scheduler):
    caught_by = ("test_placements_are_possible", "test_waits_when_all_are_busy")

    def pick(self, job: Any, fleet: Any) -> Any:
        found = fleet.least_loaded(1, job.targets)
        return Placement((found[0].id,)) if found else Wait()


class ForgetsWhatWasTried(_Scheduler):
    caught_by = ("test_placements_are_possible", "test_goes_past_workers_that_failed_the_job")

    def pick(self, job: Any, fleet: Any) -> Any:
        found = fleet.idle(job.targets)
        return Placement((found[0].id,)) if found else Wait()


class ReturnsAName(_Scheduler):
    caught_by = ("test_placements_are_possible",)

    def pick(self, job: Any, fleet: Any) -> Any:
        return "worker-1"


class CountsOnAWorker(_Scheduler):
    caught_by = ("test_empty_fleet_is_no_error",)

    def pick(self, job: Any, fleet: Any) -> Any:
        return Placement((fleet.idle(job.targets)[0].id,))


class NeverPlaces(_Scheduler):
    caught_by = ("test_placements_are_possible", "test_uses_an_idle_fleet")

    def pick(self, job: Any, fleet: Any) -> Any:
        return Wait()


class OwnChance(_Scheduler):
    caught_by = ("test_replay_decides_the_same", "test_touches_no_clock_no_chance_no_file")

    def pick(self, job: Any, fleet: Any) -> Any:
        found = fleet.idle(job.targets)
        return Placement((random.choice(found).id,)) if found else Wait()


class OwnClock(_Scheduler):
    caught_by = ("test_touches_no_clock_no_chance_no_file",)

    def pick(self, job: Any, fleet: Any) -> Any:
        time.monotonic()
        return super().pick(job, fleet)


class WalksTheFleet(_Scheduler):
    caught_by = ("test_does_not_walk_ten_thousand_workers",)

    def pick(self, job: Any, fleet: Any) -> Any:
        fleet.idle(job.targets, 100_000)
        return super().pick(job, fleet)


class _Recovery(RecoveryContract, NoRecovery):
    @pytest.fixture
    def recovery(self) -> Any:
        return self


class ReturnsNothing(_Recovery):
    caught_by = ("test_answers_every_failure", "test_empty_fleet_is_no_error")

    def decide(self, failed: Any, job: Any, fleet: Any) -> Any:
        return None


class NeverGivesUp(_Recovery):
    caught_by = ("test_gives_up_some_day",)

    def decide(self, failed: Any, job: Any, fleet: Any) -> Any:
        return Retry()


class NeedsAWorker(_Recovery):
    caught_by = ("test_answers_every_failure", "test_empty_fleet_is_no_error")

    def decide(self, failed: Any, job: Any, fleet: Any) -> Any:
        return Retry(avoid=(fleet.worker(failed.worker_id).id,))


class FlipsACoin(_Recovery):
    caught_by = ("test_replay_decides_the_same", "test_touches_no_clock_no_chance_no_file")

    def decide(self, failed: Any, job: Any, fleet: Any) -> Any:
        return random.choice([GiveUp(), Retry()])


class AsksForEveryWorker(_Recovery):
    caught_by = ("test_does_not_walk_ten_thousand_workers",)

    def decide(self, failed: Any, job: Any, fleet: Any) -> Any:
        fleet.least_loaded(100_000, job.targets)
        return GiveUp()


class GoesAnywhere(_Recovery):
    caught_by = ("test_uses_only_what_the_job_allows",)

    def decide(self, failed: Any, job: Any, fleet: Any) -> Any:
        return Retry(target=Target("webnn", None, "edge")) if failed.failures < 3 else GiveUp()


class SkipsToASmallerModel(_Recovery):
    caught_by = ("test_uses_only_what_the_job_allows",)

    def decide(self, failed: Any, job: Any, fleet: Any) -> Any:
        return Retry(model=job.model + "-int4") if failed.failures < 3 else GiveUp()


class MendsByName(_Recovery):
    caught_by = ("test_uses_only_what_the_job_allows",)

    def decide(self, failed: Any, job: Any, fleet: Any) -> Any:
        return Retry(mend="restart") if failed.failures < 3 else GiveUp()


class HedgesInSeconds(_Recovery):
    caught_by = ("test_hedges_after_nanoseconds",)

    def hedge_after(self, job: Any, fleet: Any) -> Any:
        return 0.5


class HedgesByTheClock(_Recovery):
    caught_by = ("test_touches_no_clock_no_chance_no_file",)

    def hedge_after(self, job: Any, fleet: Any) -> Any:
        return int(time.monotonic())


class HedgesByChance(_Recovery):
    caught_by = ("test_replay_decides_the_same",)

    def hedge_after(self, job: Any, fleet: Any) -> Any:
        return random.randint(0, 10**9)


class HedgesWhereSomebodyIsIdle(_Recovery):
    caught_by = ("test_does_not_walk_ten_thousand_workers",)

    def hedge_after(self, job: Any, fleet: Any) -> Any:
        return 1 if len(fleet.idle(job.targets, 100_000)) > 1 else None
