# SPDX-License-Identifier: Apache-2.0
"""How workers of one target have been used: attempts at once, models, failures to start."""

from __future__ import annotations

from collections import Counter, deque

from .settings import SECOND

#: Attempts that say which models are hot.
_RECENT = 256
#: However often it is regretted, workers are kept idle no longer than this many times `idle_ns`.
_MOST_PATIENCE = 64
_LONGEST_BACK_OFF_NS = 60 * SECOND


class Usage:
    """Remember for each number of attempts at once when it last was reached.

    The number of workers that were needed within any past span follows, whatever the order in
    which a scheduler uses them.
    """

    def __init__(self) -> None:
        self.running = 0
        #: Whether jobs came for it since it was retired; else nothing is started but for a job.
        self.is_used = False
        #: How many times `idle_ns` an idle worker is kept: doubled whenever one is started soon
        #: after another was stopped, so that no load, however regular, stops and starts for ever.
        self.patience = 1
        self.stopped_ns: int | None = None
        #: Moment of the last step up, and before which nothing is started unasked.
        self.grown_ns: int | None = None
        self.start_after_ns = 0
        self.failures = 0
        #: A moment to look at it is on its way because jobs wait.
        self.is_watched = False
        #: A moment at which its workers may be too many is on its way.
        self.is_planned = False
        #: The [k] is the last moment at which more than k ran.
        self._last_ns: list[int] = []
        self._recent: deque[str] = deque(maxlen=_RECENT)
        self._seen: set[str] = set()

    def took(self, model: str) -> tuple[bool, bool]:
        """Count an attempt; say whether it is the first of its model, and more run than ever."""
        self.running += 1
        self.is_used = True
        self._recent.append(model)
        is_new = model not in self._seen
        if is_new:
            self._seen.add(model)
        is_peak = self.running > len(self._last_ns)
        if is_peak:
            self._last_ns.append(0)
        return is_new, is_peak

    def left(self, now_ns: int) -> None:
        """Count an attempt that is over."""
        self.running -= 1
        self._last_ns[self.running] = now_ns

    def peak(self, now_ns: int, span_ns: int | None) -> int:
        """Return the most attempts at once within a span that ends now; None: ever."""
        if span_ns is None:
            return len(self._last_ns)
        while len(self._last_ns) > self.running and self._last_ns[-1] + span_ns <= now_ns:
            self._last_ns.pop()
        return len(self._last_ns)

    def falls_at_ns(self, span_ns: int) -> int | None:
        """Return when the peak of a span falls if nothing comes; None while it is reached."""
        if len(self._last_ns) <= self.running:
            return None
        return self._last_ns[-1] + span_ns

    def hottest(self, count: int) -> list[str]:
        """Return the models that most of the last attempts were for."""
        return [model for model, _ in Counter(self._recent).most_common(count)]

    def regret(self, now_ns: int, idle_ns: int) -> None:
        """Be more patient where a worker was stopped before its time: one is started now."""
        if self.stopped_ns is not None and now_ns < self.stopped_ns + _MOST_PATIENCE * idle_ns:
            self.patience = min(2 * self.patience, _MOST_PATIENCE)
        self.stopped_ns = None

    def failed(self, now_ns: int) -> None:
        """Wait before the next unasked start, longer the more came to nothing; once not at all."""
        if self.failures:
            back_off_ns = min(SECOND << min(self.failures - 1, 10), _LONGEST_BACK_OFF_NS)
            self.start_after_ns = now_ns + back_off_ns
        self.failures += 1

    def worked(self) -> None:
        """Forget failures."""
        self.failures = 0
        self.start_after_ns = 0

    def retire(self) -> None:
        """Forget what it was used for."""
        self.is_used = False
        del self._last_ns[self.running :]
        self._recent.clear()
        self._seen.clear()
