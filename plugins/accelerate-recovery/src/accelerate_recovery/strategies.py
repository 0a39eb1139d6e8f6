# SPDX-License-Identifier: Apache-2.0
"""Strategies with one answer each: immediate, coordinated, retry, restart, failover, parallel."""

from __future__ import annotations

import attrs

from accelerate_core.fleet.policy import Action, FailedAttempt, FleetView, JobView, Mend, Retry
from accelerate_core.settings import Seconds

from .common import NEEDED, RecoverySettings, Strategy, elsewhere, in_ns


class ImmediatePolicy(Strategy):
    """Try again at once, on another worker."""

    def follow(self, failed: FailedAttempt, job: JobView, fleet: FleetView) -> Action:
        """Return Retry without delay."""
        return elsewhere(failed, job, fleet)


class CoordinatedPolicy(Strategy):
    """Leave the parts of a cut model where they are, unless another worker has one loaded.

    The other parts wait meanwhile, and a mended worker is sooner back than another has loaded the
    part. A job of its own is recovered as by `immediate`.
    """

    def follow(self, failed: FailedAttempt, job: JobView, fleet: FleetView) -> Action:
        """Return Retry, with what the worker needs or a spare to go to."""
        action = elsewhere(failed, job, fleet)
        if job.group is None or not action.avoid:
            return action
        taken = {*action.avoid, *job.group.unaffected}
        spares = fleet.idle_with(job.model, job.targets[:1], len(taken) + 1)
        if any(worker.id not in taken for worker in spares):
            return action
        return attrs.evolve(action, avoid=())


class RetryPolicy(Strategy):
    """Try again after a while, on another worker."""

    def follow(self, failed: FailedAttempt, job: JobView, fleet: FleetView) -> Action:
        """Return Retry with a random delay that grows with each failure."""
        delay_ns = self.back_off(failed.failures, fleet.rng)
        return attrs.evolve(elsewhere(failed, job, fleet), delay_ns=delay_ns)


class RestartPolicy(Strategy):
    """Restart the worker that failed, whatever failed, and stay on the target."""

    def follow(self, failed: FailedAttempt, job: JobView, fleet: FleetView) -> Action:
        """Return Retry with a restart."""
        return Retry(mend=Mend.RESTART)


class FailoverPolicy(Strategy):
    """Go on to the job's next target, in configured order; on the last one, be immediate."""

    def follow(self, failed: FailedAttempt, job: JobView, fleet: FleetView) -> Action:
        """Return Retry on the next target."""
        if job.further:
            return Retry(target=job.further[0], mend=NEEDED.get(failed.kind))
        return elsewhere(failed, job, fleet)


@attrs.frozen(kw_only=True)
class ParallelSettings(RecoverySettings):
    """Configure `parallel`."""

    #: No second attempt earlier than this, however quick the model is.
    hedge_floor: Seconds = Seconds(0.02)
    #: No second attempt while more of the last 128 attempts were second ones: 0 to 1.
    max_hedged_share: float = attrs.field(
        default=0.1, validator=[attrs.validators.ge(0), attrs.validators.le(1)]
    )


class ParallelPolicy(Strategy):
    """Start a second attempt beside one that is late; the first answer wins. Else be immediate.

    Source: J. Dean and L. A. Barroso, "The Tail at Scale", 2013 (hedged requests).
    """

    settings: ParallelSettings

    def __init__(self, settings: ParallelSettings | None = None) -> None:
        super().__init__(settings or ParallelSettings())

    def follow(self, failed: FailedAttempt, job: JobView, fleet: FleetView) -> Action:
        """Return Retry without delay."""
        return elsewhere(failed, job, fleet)

    def hedge_after(self, job: JobView, fleet: FleetView) -> int | None:
        """Return when it is late where it runs now, in nanoseconds; None for no second attempt."""
        if job.copies > 1 or fleet.hedged_share > self.settings.max_hedged_share:
            return None
        worker = fleet.worker(job.tried[-1]) if job.tried else None  # the one it is on now
        measured = fleet.latency(job.model, worker.target if worker else job.targets[0])
        return max(measured.late_ns, in_ns(self.settings.hedge_floor)) if measured else None
