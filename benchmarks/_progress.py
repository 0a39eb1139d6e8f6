# SPDX-License-Identifier: Apache-2.0
"""Say on standard error how far a long run is, and how long it still takes."""

from __future__ import annotations

import sys
import time

import attrs


@attrs.define
class Progress:
    """Print a line now and then; `at` is told how much of `total` is done."""

    what: str  #: a plural: "cycles"
    total: float
    every_s: float = 10.0
    _began_s: float = attrs.field(factory=time.monotonic, init=False)
    _said_s: float = attrs.field(default=0.0, init=False)

    def at(self, done: float, *also: str) -> None:
        """Print how far it is, unless a line was printed a moment ago."""
        now_s = time.monotonic()
        if now_s - self._said_s < self.every_s and done < self.total:
            return
        self._said_s = now_s
        left_s = (now_s - self._began_s) * (self.total - done) / max(done, 1e-9)
        parts = [f"{done:.0f}/{self.total:.0f} {self.what}", f"{clock(left_s)} left", *also]
        print("  " + ", ".join(parts), file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """Return minutes and seconds: 2:05."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
