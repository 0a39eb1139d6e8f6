# SPDX-License-Identifier: Apache-2.0
"""A circuit breaker with the rules of resilience4j's, https://resilience4j.readme.io/docs/circuitbreaker

- CLOSED permits every call. When the window holds at least `minimum_calls` and the failure rate
  or the slow call rate is equal to or above its threshold, it opens.
- OPEN permits none. A call that asks after `open_ns` finds it HALF_OPEN, with an empty window.
- HALF_OPEN permits `probes`. Once as many (or `minimum_calls`, where that is less) have
  ended, it opens when a rate is equal to or above its threshold, and closes otherwise. After
  `half_open_ns` without a decision it opens.

What a call ended like counts in the period in which it was permitted, and in no later one.
"""

from __future__ import annotations

import enum
from collections import deque

from .settings import SECOND, BreakerSettings, Window


class BreakerState(enum.StrEnum):
    """Whether calls are permitted."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Permit calls, and learn how they end. Times must not run backwards."""

    def __init__(self, settings: BreakerSettings) -> None:
        self._settings = settings
        self._state = BreakerState.CLOSED
        #: Whether every call is permitted.
        self.is_closed = True
        self._since_ns = 0
        #: Counts changes of state.
        self._period = 0
        self._permits = 0
        self._calls = _new_window(settings)
        #: Calls in the window from which on it is judged.
        self._enough = _enough(settings, self._state)

    def state(self, now_ns: int) -> BreakerState:
        """Return its state; it is OPEN until a call asks for permission after its wait."""
        self._expire(now_ns)
        return self._state

    def permits(self, now_ns: int) -> bool:
        """Return whether a call would be permitted."""
        if self._state is BreakerState.CLOSED:
            return True
        self._expire(now_ns)
        if self._state is BreakerState.OPEN:
            return now_ns >= self._since_ns + self._settings.open_ns
        return self._permits > 0

    def permits_at_ns(self) -> int | None:
        """Return when a call is permitted at the latest, None when only ends of calls tell."""
        if self._state is BreakerState.OPEN:
            return self._since_ns + self._settings.open_ns
        if self._state is BreakerState.HALF_OPEN and self._settings.half_open_ns:
            return self._since_ns + self._settings.half_open_ns + self._settings.open_ns
        return None

    def acquire(self, now_ns: int) -> int | None:
        """Permit a call and return the period it belongs to; None where none is permitted."""
        if self.is_closed:
            return self._period
        if not self.permits(now_ns):
            return None
        if self._state is BreakerState.OPEN:
            self._become(BreakerState.HALF_OPEN, now_ns)
        if self._state is BreakerState.HALF_OPEN:
            self._permits -= 1
        return self._period

    def release(self, now_ns: int, period: int) -> None:
        """Take back a permitted call that says nothing: it was cancelled, or its own fault."""
        self._expire(now_ns)
        if period == self._period and self._state is BreakerState.HALF_OPEN:
            self._permits += 1

    def record(self, now_ns: int, period: int, *, is_failed: bool, is_slow: bool) -> None:
        """Learn how a permitted call ended."""
        if self._state is BreakerState.HALF_OPEN:
            self._expire(now_ns)
        if period != self._period:
            return
        calls, settings = self._calls, self._settings
        calls.add(now_ns, is_failed, is_slow)
        if calls.count < self._enough:
            return
        is_bad = (
            calls.failed / calls.count >= settings.failure_rate
            or calls.slow / calls.count >= settings.slow_call_rate
        )
        if is_bad:
            self._become(BreakerState.OPEN, now_ns)
        elif self._state is BreakerState.HALF_OPEN:
            self._become(BreakerState.CLOSED, now_ns)

    def _expire(self, now_ns: int) -> None:
        if self._state is BreakerState.HALF_OPEN and self._settings.half_open_ns:
            end_ns = self._since_ns + self._settings.half_open_ns
            if now_ns >= end_ns:
                self._become(BreakerState.OPEN, end_ns)

    def _become(self, state: BreakerState, now_ns: int) -> None:
        self._state = state
        self.is_closed = state is BreakerState.CLOSED
        self._since_ns = now_ns
        self._period += 1
        self._enough = _enough(self._settings, state)
        if state is BreakerState.HALF_OPEN:
            self._permits = self._settings.probes
            self._calls = _LastCalls(self._settings.probes)
        elif state is BreakerState.CLOSED:
            self._calls = _new_window(self._settings)


class _LastCalls:
    """The last `size` calls."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._ends: deque[tuple[bool, bool]] = deque()
        self.count = 0
        self.failed = 0
        self.slow = 0

    def add(self, now_ns: int, is_failed: bool, is_slow: bool) -> None:
        ends = self._ends
        ends.append((is_failed, is_slow))
        self.failed += is_failed
        self.slow += is_slow
        if self.count < self._size:
            self.count += 1
        else:
            was_failed, was_slow = ends.popleft()
            self.failed -= was_failed
            self.slow -= was_slow


class _LastSeconds:
    """The calls of this second of the clock and the `size - 1` before it."""

    def __init__(self, size: int) -> None:
        self._size = size
        #: [second, calls, failed, slow], as resilience4j sums them.
        self._sums: deque[list[int]] = deque()
        self.count = 0
        self.failed = 0
        self.slow = 0

    def add(self, now_ns: int, is_failed: bool, is_slow: bool) -> None:
        sums, second = self._sums, now_ns // SECOND
        while sums and sums[0][0] <= second - self._size:
            _, count, failed, slow = sums.popleft()
            self.count -= count
            self.failed -= failed
            self.slow -= slow
        if not sums or sums[-1][0] != second:
            sums.append([second, 0, 0, 0])
        for place, more in enumerate((1, is_failed, is_slow), start=1):
            sums[-1][place] += more
        self.count += 1
        self.failed += is_failed
        self.slow += is_slow


def _new_window(settings: BreakerSettings) -> _LastCalls | _LastSeconds:
    kind = _LastCalls if settings.window_kind is Window.COUNT else _LastSeconds
    return kind(settings.window)


def _enough(settings: BreakerSettings, state: BreakerState) -> int:
    """Return how many calls it takes to judge."""
    if state is BreakerState.HALF_OPEN:
        return min(settings.minimum_calls, settings.probes)
    if settings.window_kind is Window.COUNT:
        return min(settings.minimum_calls, settings.window)
    return settings.minimum_calls
