# SPDX-License-Identifier: Apache-2.0
"""The outbox of a run without `[store]`: what was not delivered is lost with the process."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import attrs

from ..events import Event
from ..protocols import Receipt
from .outbox import YIELDING_TRIES, Entry, due_at


class MemoryOutbox:
    """Keep what is to be delivered until the process ends."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._known: set[tuple[str, str]] = set()
        self._waiting: dict[tuple[str, str], Entry] = {}

    def put(self, event: Event, connectors: Sequence[str], now: datetime) -> None:
        """Add an event for each connector; one that is there is left as it is."""
        with self._lock:
            for connector in connectors:
                identity = (event.key, connector)
                if identity not in self._known:
                    self._known.add(identity)
                    self._waiting[identity] = Entry(
                        key=event.key,
                        connector=connector,
                        kind=event.kind,
                        attempts=0,
                        due_at=due_at(event, now),
                        read=functools.partial(_same, event),
                    )

    def next(self, connector: str, now: datetime) -> Entry | None:
        """Return what to tell next, due or not; None when nothing waits.

        Of what is due the oldest, and last what failed `YIELDING_TRIES` times.
        """

        def place(one: Entry) -> tuple[datetime, bool]:
            return max(one.due_at, now), one.attempts >= YIELDING_TRIES

        with self._lock:
            waiting = [one for one in self._waiting.values() if one.connector == connector]
            found = min(waiting, key=place, default=None)
            is_doubted = any(one.attempts for one in waiting)
            return attrs.evolve(found, is_doubted=is_doubted) if found else None

    def delivered(self, entry: Entry, receipt: Receipt | None, now: datetime) -> None:
        """Forget one."""
        with self._lock:
            self._waiting.pop((entry.key, entry.connector), None)

    def failed(self, entry: Entry, now: datetime, *, is_over: bool = False) -> None:
        """Keep how often one was tried; forget it where it is over."""
        with self._lock:
            if is_over:
                self._waiting.pop((entry.key, entry.connector), None)
            else:
                self._waiting[entry.key, entry.connector] = entry

    def forget(self, now: datetime) -> None:
        """Do nothing: what arrived is forgotten already."""

    def atomically(self) -> contextlib.AbstractContextManager[Any]:
        """Do several calls while nobody else does any."""
        return self._lock


def _same(event: Event) -> Event:
    return event
