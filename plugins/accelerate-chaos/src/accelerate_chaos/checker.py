# SPDX-License-Identifier: Apache-2.0
"""Judge what a fleet did with requests under faults. Pure: told what was seen, returns findings.

Every request is answered once: with what the reference says, by a worker that lives at that
moment, or with a typed error.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from accelerate_core.errors import AccelerateError

if TYPE_CHECKING:
    from accelerate_core.types import Array


class Rule(enum.StrEnum):
    """Name what must never happen."""

    LOST = "lost"  #: asked, and neither answered nor refused
    WRONG = "wrong"  #: another answer than the reference's
    DOUBLED = "doubled"  #: accepted more than once
    STALE = "stale"  #: accepted from a worker that was gone, or answered by another epoch
    UNTYPED = "untyped"  #: refused with an error that says nothing


@attrs.frozen
class Finding:
    """Say which rule was broken, by which request, and how."""

    rule: Rule
    about: str
    detail: str = ""


class Checker:
    """Keep every request's invocation and answer, and what the fleet told of itself."""

    def __init__(self, tolerance: float = 1e-3) -> None:
        """Accept answers within this relative L2 distance of the reference."""
        self._tolerance = tolerance
        self._expected: dict[str, Mapping[str, Array]] = {}
        self._outcomes: Counter[str] = Counter()
        self._alive: dict[str, str] = {}  # worker -> the connection of its epoch
        self._accepted: dict[str, str | None] = {}  # request -> the connection it came from
        self._findings: list[Finding] = []

    # --- what callers see ---------------------------------------------------------------------

    def asked(self, request: str, expected: Mapping[str, Array]) -> None:
        """Remember a request and the reference's answer to it."""
        if request in self._expected:
            raise ValueError(f"request {request!r} was asked already")
        self._expected[request] = expected

    def answered(self, request: str, outputs: Mapping[str, Array], connection: str) -> None:
        """Take a request's answer, and the connection of the worker that gave it."""
        self._outcome(request)
        accepted = self._accepted.get(request)
        if accepted is not None and accepted != connection:
            self._find(Rule.STALE, request, f"accepted from {accepted}, answered by {connection}")
        if fault := _difference(outputs, self._expected.get(request, {}), self._tolerance):
            self._find(Rule.WRONG, request, fault)

    def refused(self, request: str, error: BaseException) -> None:
        """Take the error a request ended with."""
        self._outcome(request)
        if not isinstance(error, AccelerateError):
            self._find(Rule.UNTYPED, request, f"{type(error).__name__}: {error}")

    # --- what the fleet tells, in the order it happens ----------------------------------------

    def came(self, worker: str, connection: str) -> None:
        """Learn that a worker is ready, and the connection of its epoch."""
        self._alive[worker] = connection

    def went(self, worker: str, connection: str) -> None:
        """Learn that a worker's epoch is over."""
        if self._alive.get(worker) == connection:
            del self._alive[worker]

    def accepted(self, request: str, worker: str) -> None:
        """Learn that a worker's answer to a request was accepted."""
        if request in self._accepted:
            self._find(Rule.DOUBLED, request, f"accepted again, from {worker}")
            return
        self._accepted[request] = self._alive.get(worker)
        if worker not in self._alive:
            self._find(Rule.STALE, request, f"accepted from {worker}, which was gone")

    # --- the verdict --------------------------------------------------------------------------

    def findings(self) -> tuple[Finding, ...]:
        """Return every broken rule; a request that is still open counts as lost."""
        lost = [
            Finding(Rule.LOST, request, "no answer and no error")
            for request in self._expected
            if not self._outcomes[request]
        ]
        return (*self._findings, *lost)

    def _outcome(self, request: str) -> None:
        self._outcomes[request] += 1
        if request not in self._expected:
            self._find(Rule.WRONG, request, "was never asked")
        elif self._outcomes[request] > 1:
            self._find(Rule.DOUBLED, request, f"ended {self._outcomes[request]} times")

    def _find(self, rule: Rule, about: str, detail: str) -> None:
        self._findings.append(Finding(rule, about, detail))


def _difference(
    outputs: Mapping[str, Array], expected: Mapping[str, Array], tolerance: float
) -> str | None:
    import numpy as np

    if set(outputs) != set(expected):
        return f"outputs {sorted(outputs)} instead of {sorted(expected)}"
    for name, wanted in expected.items():
        given = np.asarray(outputs[name])
        if given.shape != wanted.shape or given.dtype != wanted.dtype:
            return f"{name} is {given.dtype}{given.shape}, not {wanted.dtype}{wanted.shape}"
        off = float(np.linalg.norm((given - wanted).ravel().astype(np.float64)))
        size = float(np.linalg.norm(wanted.ravel().astype(np.float64)))
        if not off <= tolerance * max(size, 1e-9):
            return f"{name} is off by {off / max(size, 1e-9):.3g} of its length"
    return None
