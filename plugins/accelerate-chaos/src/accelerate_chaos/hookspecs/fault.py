# SPDX-License-Identifier: Apache-2.0
"""Hooks of the `faults` family: what can go wrong with a worker, for real, and how it is proved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from accelerate_core.errors import Unsupported
from accelerate_core.markers import hookspec
from accelerate_core.protocols import Context

if TYPE_CHECKING:
    from ..victim import Victim


@attrs.frozen(kw_only=True)
class Proof:
    """Say what was seen to have happened, and since when."""

    at_ns: int  #: `time.perf_counter_ns()` of the moment it began
    seen: str  #: "pid 4711 is gone", "pid 4711 is in state T", "reset after 64 bytes"


class Fault:
    """One fault, injected once: make another for another injection."""

    #: Seconds a worker must have run something for the fault to hit it, not to delay it.
    hits_after_s: float = 0.0

    def obstacle(self, victim: Victim) -> str | None:
        """Return why this fault cannot happen to `victim`, or None. Touches nothing."""
        return None

    async def inject(self, victim: Victim) -> Proof:
        """Make it happen, and return once it was seen to have happened.

        Unsupported with the obstacle when it cannot happen to `victim`; WorkerLost when the
        victim was gone before, or did not suffer what it should have.
        """
        raise Unsupported("this fault does not say how it happens")

    async def lift(self) -> None:
        """End what still lasts, and everything that was started for it. Safe to call twice."""


@hookspec(firstresult=True)
def fault_create(settings: Any, ctx: Context) -> Fault:  # type: ignore[empty-body]
    """Return a fault that has not happened yet."""
