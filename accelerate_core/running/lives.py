# SPDX-License-Identifier: Apache-2.0
"""Workers' lives, stored as they are told: from the start, and once more at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .. import events
from ..types import Connection


class Lives:
    """Store the lives of workers in threads, one after the other. Use from one event loop.

    Two threads might come to the store in the wrong order, and a life that ended would go on.
    """

    def __init__(self, save: Callable[[Connection], None]) -> None:
        self._save = save
        self._last: asyncio.Task[None] | None = None

    def tell(self, event: events.Event) -> None:
        """Store the life that an event is about, if it is about one."""
        if isinstance(event, events.WorkerStarted | events.WorkerGone) and event.connection:
            self._last = asyncio.ensure_future(self._store(event.connection, self._last))

    async def settled(self) -> None:
        """Wait until all is stored; raise what failed."""
        if self._last is not None:
            await self._last

    async def _store(self, life: Connection, before: asyncio.Task[None] | None) -> None:
        try:
            if before is not None:
                await before
        finally:
            await asyncio.to_thread(self._save, life)
