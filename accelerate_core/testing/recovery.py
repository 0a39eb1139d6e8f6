# SPDX-License-Identifier: Apache-2.0
"""Contract of recovery strategies."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from ..errors import ErrorInfo
from ..fleet.policy import FINAL, Action, FailedAttempt, FailureKind, GiveUp, JobView, Mend, Retry
from ..protocols import Recovery
from .contract import Contract
from .fleets import WatchedFleet
from .policies import MODELS, cpu_job, forbid, random_fleet, random_job

_SECOND = 1_000_000_000


def _failure(
    kind: FailureKind, failures: int, worker_id: str | None = "one", job_id: str = "job-1"
) -> FailedAttempt:
    error = ErrorInfo(kind="WorkerLost", message="the page is gone", where=worker_id)
    return FailedAttempt(
        job_id=job_id,
        attempt=failures,
        failures=failures,
        failing_since_ns=0,
        worker_id=worker_id,
        kind=kind,
        error=error,
    )


def _hedge(recovery: Recovery, job: JobView, fleet: WatchedFleet) -> Any:
    """Return when a second attempt is wanted; None from a strategy that never hedges."""
    hedge_after = getattr(recovery, "hedge_after", None)
    return None if hedge_after is None else hedge_after(job, fleet)


def _story(recovery: Recovery, seed: int) -> Iterator[tuple[JobView, Action, Any]]:
    """Fail jobs with fallbacks and smaller models until they are given up; yield every decision."""
    fleet, rng = random_fleet(seed), random.Random(seed)
    kinds = [kind for kind in FailureKind if kind not in FINAL]
    for number in range(20):
        asked = random_job(number, rng)
        for target in asked.targets:
            fleet.took(asked.model, str(target), rng.randint(1, _SECOND))
        job = attrs.evolve(
            asked,
            targets=asked.targets[:1],
            further=asked.targets[1:],
            degraded=tuple(one for one in MODELS[: rng.randint(0, 3)] if one != asked.model),
        )
        for failures in range(1, 11):
            worker_id = rng.choice(fleet.ids())
            job = attrs.evolve(job, tried=tuple(dict.fromkeys((*job.tried, worker_id))))
            fleet.begin()
            hedge_ns = _hedge(recovery, job, fleet)
            failed = _failure(rng.choice(kinds), failures, worker_id, job.id)
            action = recovery.decide(failed, job, fleet)
            yield job, action, hedge_ns
            if not isinstance(action, Retry):
                break
            fleet.now_ns += max(action.delay_ns, 1)
            job = _moved(job, action)


def _moved(job: JobView, action: Retry) -> JobView:
    """Return the job as the fleet shows it after a retry."""
    targets = (*job.targets, *job.further)
    if action.target in targets:
        targets = targets[targets.index(action.target) :]
    model = action.model if action.model in job.degraded else job.model
    return attrs.evolve(job, targets=targets[:1], further=targets[1:], model=model)


class RecoveryContract(Contract):
    """What every recovery strategy keeps. Supply the fixture `recovery`, a fresh policy object.

    A model's own error never reaches a strategy: the fleet fails such a job at once.
    """

    @pytest.fixture
    def recovery(self) -> Recovery:
        """Return the policy under test."""
        raise NotImplementedError("supply the fixture `recovery`")

    @pytest.fixture
    def fleet(self) -> WatchedFleet:
        """Return a fleet of three workers, one of them gone."""
        fleet = WatchedFleet()
        for name in ("two", "three"):
            fleet.add(name, "cpu")
        return fleet

    @pytest.mark.parametrize("kind", list(FailureKind))
    @pytest.mark.parametrize("worker_id", ["one", "two", None])
    def test_answers_every_failure(
        self, recovery: Recovery, fleet: WatchedFleet, kind: FailureKind, worker_id: str | None
    ) -> None:
        action = recovery.decide(_failure(kind, 1, worker_id), cpu_job(), fleet)
        assert isinstance(action, Retry | GiveUp), f"returned {action!r}"
        if isinstance(action, Retry):
            assert isinstance(action.delay_ns, int) and action.delay_ns >= 0
            assert isinstance(action.avoid, tuple)
            assert all(isinstance(one, str) for one in action.avoid)

    def test_empty_fleet_is_no_error(self, recovery: Recovery) -> None:
        action = recovery.decide(_failure(FailureKind.LOST, 1), cpu_job(), WatchedFleet())
        assert isinstance(action, Retry | GiveUp)

    @pytest.mark.parametrize("kind", list(FailureKind))
    def test_gives_up_some_day(
        self, recovery: Recovery, fleet: WatchedFleet, kind: FailureKind
    ) -> None:
        for failures in range(1, 101):
            fleet.now_ns += _SECOND
            if recovery.decide(_failure(kind, failures), cpu_job(), fleet) == GiveUp():
                return
        pytest.fail("retried 100 times")

    @pytest.mark.parametrize("seed", range(4))
    def test_uses_only_what_the_job_allows(self, recovery: Recovery, seed: int) -> None:
        for job, action, _ in _story(recovery, seed):
            if isinstance(action, Retry):
                assert action.target in (None, *job.targets, *job.further), "not the job's target"
                assert action.model in (None, *job.degraded), "not one of the job's smaller models"
                assert action.mend is None or isinstance(action.mend, Mend)

    @pytest.mark.parametrize("seed", range(4))
    def test_hedges_after_nanoseconds(self, recovery: Recovery, seed: int) -> None:
        hedges = [hedge_ns for *_, hedge_ns in _story(recovery, seed)]
        hedges.append(_hedge(recovery, cpu_job(), WatchedFleet()))
        for hedge_ns in hedges:
            is_time = type(hedge_ns) is int and hedge_ns >= 0
            assert hedge_ns is None or is_time, f"hedge_after returned {hedge_ns!r}"

    @pytest.mark.parametrize("seed", range(4))
    def test_replay_decides_the_same(self, recovery: Recovery, seed: int) -> None:
        twin = copy.deepcopy(recovery)
        assert [*_story(twin, seed)] == [*_story(recovery, seed)]

    def test_touches_no_clock_no_chance_no_file(
        self, recovery: Recovery, fleet: WatchedFleet, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            forbid(patch)
            actions = [recovery.decide(_failure(kind, 1), cpu_job(), fleet) for kind in FailureKind]
            _hedge(recovery, cpu_job(), fleet)
        assert len(actions) == len(FailureKind)

    def test_does_not_walk_ten_thousand_workers(self, recovery: Recovery) -> None:
        fleet = WatchedFleet()
        for number in range(10_000):
            fleet.add(f"worker-{number}", "cpu")
        fleet.begin()
        assert recovery.decide(_failure(FailureKind.LOST, 1), cpu_job(), fleet) is not None
        fleet.begin()
        _hedge(recovery, cpu_job(), fleet)
