# SPDX-License-Identifier: Apache-2.0
"""What each strategy decides, beyond the contract of all of them."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from accelerate_recovery import (
    CoordinatedPolicy,
    FailoverPolicy,
    ImmediatePolicy,
    ParallelPolicy,
    ParallelSettings,
    RecoverySettings,
    RestartPolicy,
    RetryPolicy,
    Strategy,
)

from accelerate_core.errors import ConfigError, ErrorInfo
from accelerate_core.fleet.policy import (
    FailedAttempt,
    FailureKind,
    GiveUp,
    JobView,
    Membership,
    Mend,
    Retry,
)
from accelerate_core.fleet.settings import SECOND
from accelerate_core.protocols import Context
from accelerate_core.testing.fleets import WatchedFleet
from accelerate_core.types import Target

NAMES = ("immediate", "coordinated", "retry", "restart", "failover", "progressive", "parallel")
SIMPLE = (
    ImmediatePolicy,
    CoordinatedPolicy,
    RetryPolicy,
    RestartPolicy,
    FailoverPolicy,
    ParallelPolicy,
)
CHROMIUM = Target("wasm", None, "chromium")
FIREFOX = Target("wasm", None, "firefox")
CPU = Target("cpu")
JOB = JobView(id="job", model="a" * 64, targets=(CHROMIUM,), attempts=1)


def fleet_of(*workers: str) -> WatchedFleet:
    fleet = WatchedFleet()
    for worker in workers:
        fleet.add(worker, str(CHROMIUM))
    return fleet


def failed(kind: FailureKind = FailureKind.INTERNAL, failures: int = 1) -> FailedAttempt:
    return FailedAttempt(
        job_id="job",
        attempt=failures,
        failures=failures,
        failing_since_ns=0,
        worker_id="one",
        kind=kind,
        error=ErrorInfo(kind="WorkerLost", message="no answer"),
    )


# --- common to all --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_each_is_found_by_name_and_takes_settings(context: Context, name: str) -> None:
    strategy: Any = context.plugins.create("recovery", name, {"max_attempts": 1})
    assert strategy.decide(failed(), JOB, fleet_of("one", "two")) == GiveUp()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_attempts": 11}, "max_attempts"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"recovery_timeout": "soon"}, "length of time"),
        ({"first_delay": 10}, "shorter than first_delay"),
        ({"hedge_floor": 1}, "unknown key"),
    ],
)
def test_settings_that_cannot_be_kept_are_refused(
    context: Context, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        context.plugins.create("recovery", "retry", settings)


@pytest.mark.parametrize("policy", SIMPLE)
def test_gives_up_after_so_many_failures(policy: type[Strategy]) -> None:
    fleet = fleet_of("one", "two")
    strategy = policy()
    assert isinstance(strategy.decide(failed(failures=3), JOB, fleet), Retry)
    assert strategy.decide(failed(failures=4), JOB, fleet) == GiveUp()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [FailureKind.CRASH, FailureKind.OVERLOAD])
def test_each_gives_up_on_what_fails_for_too_long(
    context: Context, name: str, kind: FailureKind
) -> None:
    fleet = fleet_of("one", "two")
    strategy: Any = context.plugins.create("recovery", name, {"recovery_timeout": "30s"})
    fleet.now_ns = 30 * SECOND
    assert isinstance(strategy.decide(failed(kind), JOB, fleet), Retry)
    fleet.now_ns += 1
    assert strategy.decide(failed(kind), JOB, fleet) == GiveUp()


@pytest.mark.parametrize("policy", SIMPLE)
def test_an_overloaded_worker_is_not_blamed_but_given_time(policy: type[Strategy]) -> None:
    strategy, fleet = policy(), fleet_of("one", "two")
    for failures in range(1, 10):
        found = [
            strategy.decide(failed(FailureKind.OVERLOAD, failures), JOB, fleet) for _ in range(200)
        ]
        delays = [one.delay_ns for one in found if isinstance(one, Retry)]
        assert all(one == Retry(delay_ns=delay) for one, delay in zip(found, delays, strict=True))
        ceiling = min(SECOND // 20 * 2 ** (failures - 1), 5 * SECOND)
        assert 0 <= min(delays) < ceiling / 10  # full jitter: from nothing ...
        assert ceiling * 9 / 10 < max(delays) <= ceiling  # ... to the ceiling
        assert len(set(delays)) > 100
    assert strategy.decide(failed(FailureKind.OVERLOAD, 10), JOB, fleet) == GiveUp()


@pytest.mark.parametrize("policy", [one for one in SIMPLE if one is not RestartPolicy])
@pytest.mark.parametrize(
    ("kind", "mend"),
    [
        (FailureKind.DEVICE_LOST, Mend.DEVICE),
        (FailureKind.CONNECTION, Mend.PAGE),
        (FailureKind.HANG, Mend.RESTART),
        (FailureKind.TIMEOUT, None),
    ],
)
def test_what_cannot_work_any_more_is_mended(
    policy: type[Strategy], kind: FailureKind, mend: Mend | None
) -> None:
    action = policy().decide(failed(kind), JOB, fleet_of("one", "two"))
    assert isinstance(action, Retry) and action.mend is mend


# --- immediate ------------------------------------------------------------------------------------


def test_immediate_goes_to_another_worker() -> None:
    action = ImmediatePolicy().decide(failed(), JOB, fleet_of("one", "two"))
    assert action == Retry(avoid=("one",))


def test_successor_of_a_lost_worker_is_welcome() -> None:
    assert ImmediatePolicy().decide(failed(FailureKind.LOST), JOB, fleet_of("two")) == Retry()


def test_the_last_worker_is_never_avoided() -> None:
    fleet = fleet_of("one", "two")
    fleet.add("elsewhere", "cpu")
    job = attrs.evolve(JOB, tried=("two",))
    assert ImmediatePolicy().decide(failed(), job, fleet) == Retry()


def test_a_job_that_fails_again_has_its_worker_start_on_a_clean_page() -> None:
    fleet = fleet_of("one", "two")
    strategy = ImmediatePolicy()
    assert strategy.decide(failed(failures=2), JOB, fleet) == Retry(mend=Mend.PAGE)
    for kind in (FailureKind.TIMEOUT, FailureKind.LOST):
        blameless = failed(kind, failures=2)
        assert strategy.decide(blameless, JOB, fleet) == Retry(avoid=("one",))
    native = WatchedFleet()
    native.add("one", "cpu")
    job = attrs.evolve(JOB, targets=(CPU,))
    assert strategy.decide(failed(failures=2), job, native) == Retry(mend=Mend.RESTART)


# --- coordinated ----------------------------------------------------------------------------------


def test_a_part_of_a_model_stays_unless_it_is_loaded_elsewhere() -> None:
    strategy, fleet = CoordinatedPolicy(), fleet_of("one", "two")
    fleet.add("other part", str(CHROMIUM), models=[JOB.model])  # it is taken, however idle it looks
    member = attrs.evolve(JOB, group=Membership(unaffected=("other part",)))
    assert strategy.decide(failed(), member, fleet) == Retry()
    fleet.add("spare", str(CHROMIUM), models=[JOB.model])
    assert strategy.decide(failed(), member, fleet) == Retry(avoid=("one",))
    assert strategy.decide(failed(failures=2), member, fleet) == Retry(mend=Mend.PAGE)
    assert strategy.decide(failed(), JOB, fleet_of("one", "two")) == Retry(avoid=("one",))


@pytest.mark.parametrize("policy", [ImmediatePolicy, RetryPolicy, FailoverPolicy])
def test_the_workers_of_other_parts_are_no_others_to_go_to(policy: type[Strategy]) -> None:
    member = attrs.evolve(JOB, group=Membership(unaffected=("two",)))
    action = policy().decide(failed(), member, fleet_of("one", "two"))
    assert isinstance(action, Retry) and action.avoid == ()


# --- retry, restart, failover ---------------------------------------------------------------------


def test_retry_waits_longer_with_each_failure_up_to_a_cap() -> None:
    settings = RecoverySettings(max_attempts=10, first_delay=1.0, max_delay=4.0)
    strategy = RetryPolicy(settings)
    longest = []
    for failures in (1, 2, 3, 4):
        fleet = fleet_of("one", "two")
        actions = [strategy.decide(failed(failures=failures), JOB, fleet) for _ in range(150)]
        longest.append(max(one.delay_ns for one in actions if isinstance(one, Retry)) / SECOND)
    assert [round(one) for one in longest] == [1, 2, 4, 4]


def test_restart_restarts_whatever_failed() -> None:
    for kind in (FailureKind.TIMEOUT, FailureKind.DEVICE_LOST, FailureKind.CRASH):
        action = RestartPolicy().decide(failed(kind), JOB, fleet_of("one", "two"))
        assert action == Retry(mend=Mend.RESTART)


def test_failover_follows_the_order_of_the_jobs_targets() -> None:
    fleet = fleet_of("one", "two")
    job = attrs.evolve(JOB, further=(FIREFOX, CPU))
    assert FailoverPolicy().decide(failed(), job, fleet) == Retry(target=FIREFOX)
    assert FailoverPolicy().decide(failed(), JOB, fleet) == Retry(avoid=("one",))


# --- parallel -------------------------------------------------------------------------------------


def test_a_second_attempt_comes_after_the_p95_of_the_worker_it_is_on() -> None:
    fleet = fleet_of("one", "two")
    fleet.took(JOB.model, str(CHROMIUM), 70_000_000)
    fleet.took(JOB.model, "cpu", 90_000_000)
    job = attrs.evolve(JOB, targets=(Target("wasm"),), tried=("two", "one"))
    assert ParallelPolicy().hedge_after(job, fleet) == 70_000_000
    assert ParallelPolicy().hedge_after(attrs.evolve(job, copies=2), fleet) is None


def test_without_measurements_nothing_is_hedged() -> None:
    assert ParallelPolicy().hedge_after(JOB, fleet_of("one")) is None


def test_no_second_attempt_comes_before_the_floor() -> None:
    fleet = fleet_of("one")
    fleet.took(JOB.model, str(CHROMIUM), 1_000_000)
    assert ParallelPolicy().hedge_after(JOB, fleet) == 20_000_000


def test_too_many_second_attempts_stop_further_ones() -> None:
    fleet = fleet_of("one")
    fleet.took(JOB.model, str(CHROMIUM), 70_000_000)
    fleet.dispatched(128 - 12)
    fleet.dispatched(12, is_hedge=True)
    assert ParallelPolicy().hedge_after(JOB, fleet) is not None
    fleet.dispatched(1, is_hedge=True)
    assert ParallelPolicy().hedge_after(JOB, fleet) is None
    generous = ParallelPolicy(ParallelSettings(max_hedged_share=0.5))
    assert generous.hedge_after(JOB, fleet) is not None
