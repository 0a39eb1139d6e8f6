# SPDX-License-Identifier: Apache-2.0
"""Ask analyses about a run: what they suspect is measured again before they conclude."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from ..errors import AccelerateError
from ..events import Regression
from ..protocols import Analysis, Store
from ..types import Measurement, RunSummary

_log = logging.getLogger("accelerate.pipeline")


class Judge:
    """Let analyses judge one run. What fails is a problem, never the end of the run."""

    def __init__(
        self,
        analyses: Mapping[str, Analysis],
        store: Store,
        again: Callable[[Measurement], Awaitable[Measurement | None]],
        storing: Callable[[Callable[[], Sequence[Regression]]], Sequence[Regression]],
    ) -> None:
        """Take how a cell is measured again, None once the run is to stop; and what stores."""
        self._analyses = analyses
        self._store = store
        self._again = again
        self._storing = storing
        self.problems: list[str] = []
        self.still_worse: list[str] = []  #: what earlier runs told of, a line each

    async def judge(self, summary: RunSummary) -> tuple[Regression, ...]:
        """Return what the analyses confirmed; nothing when the run is stopped meanwhile."""
        suspected: set[str] = set()
        asked: dict[str, Analysis] = {}
        for name, analysis in self._analyses.items():
            try:
                suspected.update(await asyncio.to_thread(analysis.suspects, summary, self._store))
                asked[name] = analysis
            except Exception as error:
                self._failed(name, error)
        again = await self._measure([one for one in summary.measurements if one.id in suspected])
        found: list[Regression] = []
        if again is None:
            return ()
        for name, analysis in asked.items():
            try:
                conclude = functools.partial(analysis.conclude, summary, again, self._store)
                news = await asyncio.to_thread(self._storing, conclude)
                found += news
                if ask := getattr(analysis, "still_worse", None):
                    self.still_worse += await asyncio.to_thread(ask, summary, news, self._store)
            except Exception as error:
                self._failed(name, error)
        return tuple(found)

    async def _measure(self, suspects: Sequence[Measurement]) -> list[Measurement] | None:
        again = []
        for one in suspects:
            try:
                measured = await self._again(one)
            except AccelerateError as error:
                self._failed(f"of {one.cell}, measured again,", error)
                continue
            if measured is None:
                return None
            again.append(measured)
        return again

    def _failed(self, name: str, error: Exception) -> None:
        _log.error("analysis %s failed", name, exc_info=error)
        self.problems.append(f"analysis {name} failed: {error}")
