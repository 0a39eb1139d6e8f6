# SPDX-License-Identifier: Apache-2.0
"""What configuration says about the fleet, in the machine's units.

Bounds are stated where users meet them, in `accelerate_core.pool_config`.
"""

from __future__ import annotations

import enum

import attrs

SECOND = 1_000_000_000


class Window(enum.StrEnum):
    """Which calls a circuit breaker looks at: a number of them, or those of some seconds."""

    COUNT = "count"
    TIME = "time"


@attrs.frozen(kw_only=True)
class BreakerSettings:
    """Set when a worker or target is tried no more for a while (a circuit breaker)."""

    #: Attempts looked at: the last so many, or those of the last so many seconds.
    window: int = 20
    window_kind: Window = Window.COUNT
    #: With fewer attempts than this, nothing is judged.
    minimum_calls: int = 5
    #: Part of them that failed from which on it opens.
    failure_rate: float = 0.5
    #: Part of them that were slow from which on it opens.
    slow_call_rate: float = 1.0
    #: An attempt is slow that takes longer than this. None: longer than `slow_call_factor` medians
    #: of its model on its target.
    slow_call_ns: int | None = None
    slow_call_factor: float = 20.0
    #: How long it stays open before it is probed.
    open_ns: int = 5 * SECOND
    #: Attempts let through to see whether it is well again.
    probes: int = 2
    #: How long they may take before it opens again. 0: however long.
    half_open_ns: int = 60 * SECOND


@attrs.frozen(kw_only=True)
class FleetSettings:
    """Set how many workers there are, how much may wait, and when a worker is doubted."""

    max_workers: int = 4
    #: Workers kept for each target in use, however idle.
    min_workers: int = 0
    #: Idle workers kept ready for each target in use, with its hottest models loaded.
    hot_spares: int = 0
    #: Whether a target gets more workers while its jobs wait long; otherwise it has one.
    is_adaptive: bool = False
    #: A worker idle for longer is stopped; None: never.
    idle_ns: int | None = None
    #: A worker older than this is replaced; None: never.
    max_age_ns: int | None = None
    #: A worker that did so many jobs is replaced; None: never.
    max_jobs_per_worker: int | None = None
    #: A worker that holds so many bytes more than after its last load is replaced; None: never.
    max_growth_bytes: int | None = None
    #: Bytes all workers may hold together; None: what the machine has.
    memory_limit_bytes: int | None = None
    #: None: nothing is ever cut off.
    breaker: BreakerSettings | None = None
    #: Jobs that may wait; one more is refused with Overloaded.
    max_queue: int = 10_000
    #: Whether a job is refused at once that cannot be done by its deadline, as far as is known.
    refuses_late: bool = False
    #: A worker that answers no heartbeat for this long gets no more jobs, and those it has are
    #: given to another as well.
    suspect_after_ns: int = 3 * SECOND // 10
    #: An attempt that takes longer than this, and than `overdue_factor` times what nearly all
    #: (p95) of its model on its target take, is given to another worker as well.
    overdue_ns: int = SECOND // 100
    overdue_factor: float = 2.0
    #: Attempts to have been seen before any is overdue.
    overdue_calls: int = 20
    #: A worker that makes no progress for longer than this, and than `hung_factor` times what
    #: nearly all attempts take, hangs: it is ended.
    hung_ns: int = 10 * SECOND
    hung_factor: float = 20.0
    #: A worker that failed `quarantine_after` times in a row gets no jobs for this long, for twice
    #: as long the next time, and so on; then it is started anew.
    quarantine_after: int = 3
    quarantine_ns: int = SECOND
    quarantine_max_ns: int = 300 * SECOND

    @property
    def floor(self) -> int:
        """Workers kept for each target in use, whatever it is used for."""
        return min(self.min_workers + self.hot_spares, self.max_workers)
