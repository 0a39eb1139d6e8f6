# SPDX-License-Identifier: Apache-2.0
"""When an attempt is late, by what those before it took and by the pace of the whole fleet."""

from __future__ import annotations

import math

from .desk import Desk
from .policy import MOST_MEDIANS
from .state import Attempt


def overdue_after_ns(desk: Desk, attempt: Attempt) -> int | None:
    """Return how long an attempt may take before it is overdue; None: too little is known."""
    usual = _usual_ns(desk, attempt, most=MOST_MEDIANS)
    if usual is None:
        return None
    return max(desk.settings.overdue_ns, round(usual * desk.settings.overdue_factor))


def hung_after_ns(desk: Desk, attempt: Attempt) -> int:
    """Return how long a worker may make no progress before it hangs."""
    usual = _usual_ns(desk, attempt) or 0
    return max(desk.settings.hung_ns, round(usual * desk.settings.hung_factor))


def _usual_ns(desk: Desk, attempt: Attempt, most: float = math.inf) -> float | None:
    latencies, calls = desk.fleet.latencies, desk.settings.overdue_calls
    return latencies.usual_ns(attempt.model, attempt.worker.target, calls, most=most)


def quiet_ns(attempt: Attempt, now_ns: int) -> int:
    """Return how long an attempt has run while its worker made no progress that is known of."""
    worker = attempt.worker
    since_ns = max(attempt.dispatched_ns or now_ns, worker.progress_ns, worker.fruitless_until_ns)
    return now_ns - since_ns
