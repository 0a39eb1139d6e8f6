# SPDX-License-Identifier: Apache-2.0
"""Schedulers: round_robin, affinity and performance."""

from __future__ import annotations

from accelerate_core import hookimpl
from accelerate_core.protocols import Context, Scheduler

from .performance import PerformancePolicy, PerformanceSettings
from .policies import AffinityPolicy, AffinitySettings, RoundRobinPolicy

__all__ = [
    "Affinity",
    "AffinityPolicy",
    "AffinitySettings",
    "Performance",
    "PerformancePolicy",
    "PerformanceSettings",
    "RoundRobin",
    "RoundRobinPolicy",
]


class RoundRobin:
    """Offer the scheduler `round_robin`."""

    name = "round_robin"

    @hookimpl
    def scheduler_create(self, settings: None, ctx: Context) -> Scheduler:
        """Return the policy."""
        return RoundRobinPolicy()


class Affinity:
    """Offer the scheduler `affinity`."""

    name = "affinity"
    settings = AffinitySettings

    @hookimpl
    def scheduler_create(self, settings: AffinitySettings | None, ctx: Context) -> Scheduler:
        """Return the policy."""
        return AffinityPolicy((settings or AffinitySettings()).browser_preferences)


class Performance:
    """Offer the scheduler `performance`."""

    name = "performance"
    settings = PerformanceSettings

    @hookimpl
    def scheduler_create(self, settings: PerformanceSettings | None, ctx: Context) -> Scheduler:
        """Return the policy."""
        return PerformancePolicy(settings)
