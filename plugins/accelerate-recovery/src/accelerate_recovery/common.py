# SPDX-License-Identifier: Apache-2.0
"""What all strategies share: when they give up, how they wait, and what a broken worker needs."""

from __future__ import annotations

import random

import attrs

from accelerate_core.fleet.machine import MAX_ATTEMPTS
from accelerate_core.fleet.policy import (
    Action,
    FailedAttempt,
    FailureKind,
    FleetView,
    GiveUp,
    JobView,
    Mend,
    Retry,
)
from accelerate_core.settings import Seconds

#: What a worker needs before it can do anything again. Other failures leave it able to work.
NEEDED = {
    FailureKind.DEVICE_LOST: Mend.DEVICE,
    FailureKind.CONNECTION: Mend.PAGE,
    FailureKind.HANG: Mend.RESTART,
    FailureKind.CRASH: Mend.RESTART,
}

#: What says nothing of the worker: it was slow, or it is being mended for another job's sake.
BLAMELESS = frozenset({FailureKind.TIMEOUT, FailureKind.LOST})


def in_ns(seconds: Seconds) -> int:
    """Return a length of time in the machine's unit."""
    return int(seconds * 1e9)


@attrs.frozen(kw_only=True)
class RecoverySettings:
    """Configure any of the strategies."""

    #: Attempts of one job that may fail, at most 10; the last failure is its error.
    max_attempts: int = attrs.field(
        default=4, validator=[attrs.validators.ge(1), attrs.validators.le(MAX_ATTEMPTS)]
    )
    #: Give up on a job that fails when its first failure is longer ago. Unset: until
    #: `recovery_timeout` of `[pool]`, which every strategy keeps.
    recovery_timeout: Seconds | None = None
    #: Back-off: at most this long after the first failure, twice as long after each further one.
    first_delay: Seconds = Seconds(0.05)
    #: Back-off: never longer than this.
    max_delay: Seconds = Seconds(5.0)

    def __attrs_post_init__(self) -> None:
        if self.max_delay < self.first_delay:
            raise ValueError(
                f"max_delay ({self.max_delay:g} s) is shorter than first_delay "
                f"({self.first_delay:g} s)"
            )


class Strategy:
    """Give up in time and wait for the overloaded; `follow` says what follows other failures."""

    def __init__(self, settings: RecoverySettings | None = None) -> None:
        self.settings = settings or RecoverySettings()

    def decide(self, failed: FailedAttempt, job: JobView, fleet: FleetView) -> Action:
        """Return Retry, or GiveUp for a job that failed too often or for too long."""
        timeout = self.settings.recovery_timeout
        if timeout is not None and fleet.now_ns - failed.failing_since_ns > in_ns(timeout):
            return GiveUp()
        # It costs little to ask an overloaded worker again, and nobody is at fault.
        is_overload = failed.kind is FailureKind.OVERLOAD
        if failed.failures >= (MAX_ATTEMPTS if is_overload else self.settings.max_attempts):
            return GiveUp()
        if is_overload:
            return Retry(delay_ns=self.back_off(failed.failures, fleet.rng))
        return self.follow(failed, job, fleet)

    def follow(self, failed: FailedAttempt, job: JobView, fleet: FleetView) -> Action:
        """Return what follows a failure of a job that is not given up."""
        raise NotImplementedError

    def back_off(self, failures: int, rng: random.Random) -> int:
        """Return how long to wait after so many failures, in nanoseconds.

        Exponential with full jitter: M. Brooker, "Exponential Backoff And Jitter", 2015.
        """
        ceiling = self.settings.first_delay * 2 ** min(failures - 1, 62)
        return int(rng.random() * in_ns(Seconds(min(ceiling, self.settings.max_delay))))


def has_other(failed: FailedAttempt, job: JobView, fleet: FleetView) -> bool:
    """Whether a worker is ready for the job that has not failed it yet, however busy it is."""
    seen = {failed.worker_id, *job.tried, *(job.group.unaffected if job.group else ())}
    ready = fleet.least_loaded(len(seen) + 1, job.targets[:1])
    return any(worker.id not in seen for worker in ready)


def elsewhere(failed: FailedAttempt, job: JobView, fleet: FleetView) -> Retry:
    """Return Retry on another worker, with what the failed one needs.

    The last worker left is not avoided: that would stop one that may only be slow. When a job
    fails again, so may every job there: its worker goes on with a clean page (or process).
    """
    worker = fleet.worker(failed.worker_id) if failed.worker_id is not None else None
    if failed.kind in NEEDED:
        return Retry(mend=NEEDED[failed.kind])
    if worker is None:
        return Retry()  # its successor may take over its name, and is welcome
    if failed.failures > 1 and failed.kind not in BLAMELESS:
        return Retry(mend=Mend.PAGE if worker.info.target.browser else Mend.RESTART)
    return Retry(avoid=(worker.id,) if has_other(failed, job, fleet) else ())
