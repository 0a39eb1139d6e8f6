# SPDX-License-Identifier: Apache-2.0
"""Recovery strategies for failed attempts."""

from __future__ import annotations

from accelerate_core import hookimpl
from accelerate_core.fleet.policy import Action, FailedAttempt, FleetView, GiveUp, JobView, Retry
from accelerate_core.protocols import Context, Recovery

__all__ = ["Immediate", "ImmediatePolicy"]


class ImmediatePolicy:
    """Try once more at once, on another worker; then give up."""

    def decide(self, failed: FailedAttempt, job: JobView, fleet: FleetView) -> Action:
        """Return Retry for a first failure, GiveUp for a second."""
        if failed.attempt > 1:
            return GiveUp()
        # A lost worker is gone already: what is started in its place, and may take over its name,
        # is another worker and welcome.
        is_alive = failed.worker_id is not None and fleet.worker(failed.worker_id) is not None
        return Retry(avoid=(failed.worker_id,) if failed.worker_id and is_alive else ())


class Immediate:
    """Offer the recovery strategy `immediate`."""

    name = "immediate"

    @hookimpl
    def recovery_create(self, settings: None, ctx: Context) -> Recovery:
        """Return the policy."""
        return ImmediatePolicy()
