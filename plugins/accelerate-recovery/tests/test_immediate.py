# SPDX-License-Identifier: Apache-2.0
"""What `immediate` decides, beyond the contract of all recovery strategies."""

from __future__ import annotations

import pytest

from accelerate_core.errors import ErrorInfo
from accelerate_core.fleet.policy import FailedAttempt, FailureKind, GiveUp, JobView, Retry
from accelerate_core.protocols import Context, Recovery
from accelerate_core.testing.fleets import WatchedFleet
from accelerate_core.types import Target

JOB = JobView(id="job", model="a" * 64, targets=(Target("cpu"),))


@pytest.fixture
def recovery(context: Context) -> Recovery:
    policy: Recovery = context.plugins.create("recovery", "immediate")
    return policy


def failed(attempt: int, kind: FailureKind = FailureKind.TIMEOUT) -> FailedAttempt:
    error = ErrorInfo(kind="JobTimeout", message="no answer")
    return FailedAttempt(
        job_id="job",
        attempt=attempt,
        failures=attempt,
        failing_since_ns=0,
        worker_id="one",
        kind=kind,
        error=error,
    )


def test_first_failure_goes_to_another_worker(recovery: Recovery) -> None:
    fleet = WatchedFleet()
    fleet.add("one", "cpu")
    assert recovery.decide(failed(1), JOB, fleet) == Retry(avoid=("one",))


def test_successor_of_a_lost_worker_is_welcome(recovery: Recovery) -> None:
    assert recovery.decide(failed(1, FailureKind.LOST), JOB, WatchedFleet()) == Retry()


def test_second_failure_is_final(recovery: Recovery) -> None:
    assert recovery.decide(failed(2), JOB, WatchedFleet()) == GiveUp()
