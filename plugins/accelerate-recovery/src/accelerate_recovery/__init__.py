# SPDX-License-Identifier: Apache-2.0
"""Recovery strategies for failed attempts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accelerate_core import hookimpl
from accelerate_core.protocols import Context, Recovery

from .common import RecoverySettings, Strategy
from .progressive import ProgressivePolicy, ProgressiveSettings
from .strategies import (
    CoordinatedPolicy,
    FailoverPolicy,
    ImmediatePolicy,
    ParallelPolicy,
    ParallelSettings,
    RestartPolicy,
    RetryPolicy,
)

__all__ = [
    "Coordinated",
    "CoordinatedPolicy",
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


class _Plugin:
    """Make the policy of a strategy from its settings."""

    policy: Callable[[Any], Recovery]

    @hookimpl
    def recovery_create(self, settings: RecoverySettings | None, ctx: Context) -> Recovery:
        """Return the policy."""
        return type(self).policy(settings)


class Immediate(_Plugin):
    """Try again at once, on another worker."""

    name = "immediate"
    settings = RecoverySettings
    policy = ImmediatePolicy


class Coordinated(_Plugin):
    """Keep the parts of a model on several workers together; else be immediate."""

    name = "coordinated"
    settings = RecoverySettings
    policy = CoordinatedPolicy


class Retry(_Plugin):
    """Try again after a random delay that grows with each failure."""

    name = "retry"
    settings = RecoverySettings
    policy = RetryPolicy


class Restart(_Plugin):
    """Restart the worker that failed, and stay on its target."""

    name = "restart"
    settings = RecoverySettings
    policy = RestartPolicy


class Failover(_Plugin):
    """Go on to the job's next browser or backend, in configured order."""

    name = "failover"
    settings = RecoverySettings
    policy = FailoverPolicy


class Progressive(_Plugin):
    """Climb from a plain retry to a restart and to other targets, as far as it takes."""

    name = "progressive"
    settings = ProgressiveSettings
    policy = ProgressivePolicy


class Parallel(_Plugin):
    """Start a second attempt beside one that is late; the first answer wins."""

    name = "parallel"
    settings = ParallelSettings
    policy = ParallelPolicy
