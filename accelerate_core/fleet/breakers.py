# SPDX-License-Identifier: Apache-2.0
"""The circuit breakers of a fleet: one for each group of workers, one for each model on it.

A group is the workers of one concrete target. An attempt is a call of both its breakers, from its
placement to its end; what is the model's own fault, and what had no room, is no failure of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from ..types import Target
from .breaker import Breaker, BreakerState
from .latency import Latencies
from .policy import FINAL, FailureKind
from .settings import BreakerSettings
from .state import Attempt

#: A model (None: all of them) on a concrete target.
Circuit: TypeAlias = tuple[str | None, Target]

#: Kinds of failure that no worker can help.
NO_FAULT = FINAL | {FailureKind.OVERLOAD}
_NONE: frozenset[Target] = frozenset()


class Breakers:
    """Know which targets are left alone for a while."""

    def __init__(self, settings: BreakerSettings | None, latencies: Latencies) -> None:
        self._settings = settings
        self._latencies = latencies
        self._of: dict[Circuit, Breaker] = {}
        self._circuits: dict[Breaker, Circuit] = {}
        #: Those that are not closed, in order of opening.
        self._tripped: dict[Breaker, Circuit] = {}
        #: (model, target) -> the breakers of its attempts.
        self._both: dict[tuple[str, Target], tuple[Breaker, Breaker]] = {}
        #: Jobs may be placed that could not be, or have to go elsewhere, since this was unset.
        self.has_changed = False

    def blocked(self, model: str, now_ns: int) -> frozenset[Target]:
        """Return the concrete targets that permit no attempt of a model now."""
        if not self._tripped:
            return _NONE
        return frozenset(
            target
            for breaker, (only, target) in self._tripped.items()
            if only in (None, model) and not breaker.permits(now_ns)
        )

    def permits_at_ns(self, model: str, now_ns: int) -> int | None:
        """Return when some target that is blocked now permits an attempt at the latest.

        None: when a probe ends that is under way.
        """
        moments: dict[Target, list[int | None]] = {}
        for breaker, (only, target) in self._tripped.items():
            if only in (None, model) and not breaker.permits(now_ns):
                moments.setdefault(target, []).append(breaker.permits_at_ns())
        known = [
            max(at_ns for at_ns in of_one if at_ns is not None)
            for of_one in moments.values()
            if None not in of_one
        ]
        return min(known, default=None)

    def states(self, now_ns: int) -> Mapping[Circuit, BreakerState]:
        """Return the state of every circuit that was ever used."""
        return {circuit: breaker.state(now_ns) for circuit, breaker in self._of.items()}

    def begin(self, attempt: Attempt, now_ns: int) -> None:
        """Count an attempt in; one that asked nobody for permission is not counted."""
        if self._settings is None:
            return
        model, target = attempt.model, attempt.worker.target
        both = self._both.get((model, target))
        if both is None:
            both = self._breaker((None, target)), self._breaker((model, target))
            self._both[model, target] = both
        for breaker in both:
            if (period := breaker.acquire(now_ns)) is not None:
                attempt.calls[breaker] = period

    def answered(self, attempt: Attempt, now_ns: int) -> None:
        """Learn that an attempt was answered."""
        if not attempt.calls:
            return
        self._record(attempt, now_ns, is_failed=False, is_slow=self._is_slow(attempt, now_ns))

    def answered_copy(self, attempt: Attempt, now_ns: int) -> None:
        """Learn that a copy was answered, which counts once it is compared.

        A probe counts at once: the copies it is compared with may wait for its end.
        """
        if any(circuit in self._tripped for circuit in attempt.calls):
            self.answered(attempt, now_ns)

    def failed(self, attempt: Attempt, kind: FailureKind, now_ns: int) -> None:
        """Learn that an attempt failed."""
        if kind in NO_FAULT:
            self._release(attempt, now_ns)
        else:
            self._record(attempt, now_ns, is_failed=True, is_slow=self._is_slow(attempt, now_ns))

    def dropped(self, attempt: Attempt, now_ns: int) -> None:
        """Learn that nobody waits for an attempt any more; it may have been slow until then."""
        if not attempt.calls:
            return
        if self._is_slow(attempt, now_ns):
            self._record(attempt, now_ns, is_failed=False, is_slow=True)
        else:
            self._release(attempt, now_ns)

    def _is_slow(self, attempt: Attempt, now_ns: int) -> bool:
        if self._settings is None:
            return False
        took_ns = (attempt.answered_ns or now_ns) - (attempt.dispatched_ns or now_ns)
        if self._settings.slow_call_ns is not None:
            return took_ns > self._settings.slow_call_ns
        # Not p95: a few slow attempts would move it, and none after them would be slow.
        usual_ns = self._latencies.median_ns(attempt.model, attempt.worker.target)
        return usual_ns is not None and took_ns > self._settings.slow_call_factor * usual_ns

    def _record(self, attempt: Attempt, now_ns: int, *, is_failed: bool, is_slow: bool) -> None:
        for breaker, period in attempt.calls.items():
            breaker.record(now_ns, period, is_failed=is_failed, is_slow=is_slow)
            if self._tripped or not breaker.is_closed:
                self._note(breaker)
        attempt.calls.clear()

    def _release(self, attempt: Attempt, now_ns: int) -> None:
        for breaker, period in attempt.calls.items():
            breaker.release(now_ns, period)
            self._note(breaker)
        attempt.calls.clear()

    def _note(self, breaker: Breaker) -> None:
        if not breaker.is_closed:
            self._tripped[breaker] = self._circuits[breaker]
        elif self._tripped.pop(breaker, None) is None:
            return
        self.has_changed = True

    def _breaker(self, circuit: Circuit) -> Breaker:
        breaker = self._of.get(circuit)
        if breaker is None:
            assert self._settings is not None
            breaker = self._of[circuit] = Breaker(self._settings)
            self._circuits[breaker] = circuit
        return breaker
