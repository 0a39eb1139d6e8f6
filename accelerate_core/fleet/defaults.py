# SPDX-License-Identifier: Apache-2.0
"""The policies of a fleet for which none was configured."""

from __future__ import annotations

from .policy import FailedAttempt, FleetView, GiveUp, JobView, Placement, Wait


class FirstIdle:
    """Place on the first worker with room: what runs where no scheduler is installed."""

    def pick(self, job: JobView, fleet: FleetView) -> Placement | Wait:
        """Return the first idle worker, one with the model loaded before others."""
        enough = 1 + len(job.tried)
        for worker in fleet.idle_with(job.model, job.targets, enough):
            if worker.id not in job.tried:
                return Placement((worker.id,))
        for worker in fleet.idle(job.targets, enough):
            if worker.id not in job.tried:
                return Placement((worker.id,))
        return Wait("every worker is busy")


class NoRecovery:
    """Give up on every failure: what runs where no recovery strategy is installed."""

    def decide(self, failed: FailedAttempt, job: JobView, fleet: FleetView) -> GiveUp:
        """Return GiveUp."""
        return GiveUp()
