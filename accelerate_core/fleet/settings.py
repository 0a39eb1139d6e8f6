# SPDX-License-Identifier: Apache-2.0
"""What configuration says about the fleet, in the machine's units."""

from __future__ import annotations

import attrs

SECOND = 1_000_000_000


@attrs.frozen(kw_only=True)
class BreakerSettings:
    """Set when a worker or target is tried no more for a while (a circuit breaker)."""

    #: Attempts looked at: the last so many.
    window: int = 20
    #: With fewer attempts than this, nothing is judged.
    minimum_calls: int = 5
    #: Part of them that failed from which on it opens.
    failure_rate: float = 0.5
    #: Part of them that were slow from which on it opens.
    slow_call_rate: float = 1.0
    #: An attempt that takes longer is slow; None: none is.
    slow_call_ns: int | None = None
    #: How long it stays open before it is probed.
    open_ns: int = 5 * SECOND
    #: Attempts let through to see whether it is well again.
    probes: int = 2


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
    #: Bytes all workers may hold together; None: what the machine has.
    memory_limit_bytes: int | None = None
    #: None: nothing is ever cut off.
    breaker: BreakerSettings | None = None
    #: Jobs that may wait; one more is refused with Overloaded.
    max_queue: int = 10_000
    #: A worker that answers no heartbeat for this long gets no more jobs, and those it has are
    #: given to another as well.
    suspect_after_ns: int = SECOND // 3
