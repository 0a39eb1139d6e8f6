# SPDX-License-Identifier: Apache-2.0
"""Store what a run finds, together with what people are to be told of it, and tell observers."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import attrs

from .. import events
from ..assembly import Assembly
from ..errors import AccelerateError, ErrorInfo
from ..running.lives import Lives
from ..secrets import redacted
from ..types import RunSummary

_log = logging.getLogger("accelerate.telling")

Observer = Callable[[events.Event], None]

_E = TypeVar("_E", bound=events.Event)


class Teller:
    """Tell of one run: connectors through the outbox, all others at once."""

    def __init__(self, assembly: Assembly, observer: Observer | None, link: str | None) -> None:
        """Take who watches beside the configured ones, and where people read more."""
        self._assembly = assembly
        self._observer = observer
        self._link = link
        self._lives = Lives(assembly.store.save_connection)

    async def store(self, save: Callable[[], Any], *told: events.Event) -> None:
        """Store something and what connectors are told of it as one; then tell observers."""
        linked = [self._linked(one) for one in told]

        def make() -> Sequence[events.Event]:
            save()
            return linked

        await asyncio.to_thread(self._assembly.dispatcher.storing, make)
        for one in linked:
            self.tell(one)

    def conclude(
        self, judge: Callable[[], Sequence[events.Regression]]
    ) -> Sequence[events.Regression]:
        """Store what an analysis found and what connectors are told of it as one."""
        return self._assembly.dispatcher.storing(lambda: [self._linked(one) for one in judge()])

    def tell(self, event: events.Event) -> None:
        """Tell observers of an event; a worker's life is stored."""
        self._lives.tell(event)
        self._assembly.bus.send(event)
        if self._observer is not None:
            self._observer(event)

    async def settled(self) -> None:
        """Wait until workers' lives are stored; raise what failed."""
        await self._lives.settled()

    async def flush(self) -> None:
        """Wait until observers saw everything, and connectors what can be delivered now."""
        await asyncio.to_thread(self._assembly.bus.flush)
        await asyncio.to_thread(self._assembly.dispatcher.settle)

    async def broke_off(self, summary: RunSummary, error: Exception) -> None:
        """Tell people what ended a run before its time; who started it sees the error itself."""
        if isinstance(error, AccelerateError):
            info = error.info
        else:
            info = ErrorInfo(kind=type(error).__name__, message=str(error))
        save = functools.partial(self._assembly.store.save_run, summary.run)
        failed = events.RunFailed(
            run_id=summary.run.id, at=datetime.now(UTC), summary=summary, error=redacted(info)
        )
        try:
            await self.store(save, failed)
            await self.flush()
        except AccelerateError as silenced:  # the store itself may be what is broken
            _log.warning("nobody could be told why the run ended: %s", silenced)

    def problems(self) -> list[str]:
        """Return which observers failed, and what was not delivered."""
        return [
            f"{failure.observer} failed {failure.count} times, last: {failure.last.message}"
            for failure in self._assembly.bus.failures()
        ] + self._assembly.dispatcher.problems()

    def _linked(self, event: _E) -> _E:
        return attrs.evolve(event, link=event.link or self._link)
