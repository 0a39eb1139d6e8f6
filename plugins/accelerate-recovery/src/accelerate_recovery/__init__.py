# SPDX-License-Identifier: Apache-2.0
"""Recovery strategies for failed attempts."""

from __future__ import annotations

from accelerate_core import hookimpl
from accelerate_core.protocols import Context, Recovery

from .common import RecoverySettings, Strategy
from .progressive import ProgressivePolicy, ProgressiveSettings
from .strategies import (
    FailoverPolicy,
    ImmediatePolicy,
    ParallelPolicy,
    ParallelSettings,
    RestartPolicy,
    RetryPolicy,
)

__all__ = [
    "Failover",
    "FailoverPolicy",
    "Immediate",
    "ImmediatePolicy",
    "Parallel",
    "ParallelPolicy",
    "ParallelSettings",
    "Progressive",
    "ProgressivePolicy",
    "ProgressiveSettings",
    "RecoverySettings",
    "Restart",
    "RestartPolicy",
    "Retry",
    "RetryPolicy",
    "Strategy",
]


class Immediate:
    """Try again at once, on another worker."""

    name = "immediate"
    settings = RecoverySettings

    @hookimpl
    def recovery_create(self, settings: RecoverySettings | None, ctx: Context) -> Recovery:
        """Return the policy."""
        return ImmediatePolicy(settings)


class Retry:
    """Try again after a random delay that grows with each failure."""

    name = "retry"
    settings = RecoverySettings

    @hookimpl
    def recovery_create(self, settings: RecoverySettings | None, ctx: Context) -> Recovery:
        """Return the policy."""
        return RetryPolicy(settings)


class Restart:
    """Restart the worker that failed, and stay on its target."""

    name = "restart"
    settings = RecoverySettings

    @hookimpl
    def recovery_create(self, settings: RecoverySettings | None, ctx: Context) -> Recovery:
        """Return the policy."""
        return RestartPolicy(settings)


class Failover:
    """Go on to the job's next browser or backend, in configured order."""

    name = "failover"
    settings = RecoverySettings

    @hookimpl
    def recovery_create(self, settings: RecoverySettings | None, ctx: Context) -> Recovery:
        """Return the policy."""
        return FailoverPolicy(settings)


class Progressive:
    """Climb from a plain retry to a restart and to other targets, as far as it takes."""

    name = "progressive"
    settings = ProgressiveSettings

    @hookimpl
    def recovery_create(self, settings: ProgressiveSettings | None, ctx: Context) -> Recovery:
        """Return the policy."""
        return ProgressivePolicy(settings)


class Parallel:
    """Start a second attempt beside one that is late; the first answer wins."""

    name = "parallel"
    settings = ParallelSettings

    @hookimpl
    def recovery_create(self, settings: ParallelSettings | None, ctx: Context) -> Recovery:
        """Return the policy."""
        return ParallelPolicy(settings)
