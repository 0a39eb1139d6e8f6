# SPDX-License-Identifier: Apache-2.0
"""Which connector is told of which event, and the threads that tell them."""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import attrs

from ..errors import StoreError
from ..events import Attachment, Event, Notification, Regression, RunFailed, RunFinished
from ..memory_store import MemoryStore
from ..protocols import Connector, Store
from .attached import Attached, named_apart
from .memory_outbox import MemoryOutbox
from .outbox import Entry, Outbox, StoredOutbox, stored
from .relay import Relay, settle

_log = logging.getLogger("accelerate.delivering")

_E = TypeVar("_E", bound=Event)

#: What a connector is told of where neither the file nor itself says.
FOR_PEOPLE = tuple(kind.kind for kind in (RunFinished, RunFailed, Regression, Notification))
#: A run waits so long for messages to services that answer.
_PATIENCE_S = 10.0
#: Events whose files are remembered: several connectors are told of the same.
_REMEMBERED = 8
#: A notification about many things shows the files of so many.
_SHOWN = 4


@attrs.frozen
class Route:
    """Tie a connector to what it is told of."""

    connector: Connector
    kinds: frozenset[str]


class Dispatcher:
    """Write events into the outbox and have them delivered. Thread-safe."""

    def __init__(
        self,
        store: Store,
        routes: Mapping[str, Route],
        illustrate: Callable[[Event], Sequence[Attachment]] = lambda event: (),
    ) -> None:
        self._store = store
        self._routes = routes
        self._is_stored = not isinstance(store, MemoryStore)
        self.outbox: Outbox = StoredOutbox(store) if self._is_stored else MemoryOutbox()
        self._illustrate = illustrate
        self._files: OrderedDict[str, Attached] = OrderedDict()
        self._attaching = threading.Lock()
        self._is_closed = False
        # Shared, so that one look tells whether all are done: relays give each other work.
        changed = threading.Condition()
        self._relays = {
            name: Relay(
                name,
                route.connector,
                self.outbox,
                put=self.put,
                wake_all=self.wake,
                attach=self._attached,
                changed=changed,
            )
            for name, route in routes.items()
        }

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of event that anybody is told of."""
        return frozenset().union(*(route.kinds for route in self._routes.values()))

    @property
    def names(self) -> frozenset[str]:
        """The ids of all connectors that are told through the outbox."""
        return frozenset(self._routes)

    def start(self) -> None:
        """Begin to deliver, first what earlier processes left."""
        for route in self._routes.values():
            if attach := getattr(route.connector, "attach", None):
                attach(self._store)
        for relay in self._relays.values():
            relay.start()

    def storing(self, make: Callable[[], Sequence[_E]]) -> Sequence[_E]:
        """Call what stores something and returns events about it; all is stored, or nothing."""
        is_together = self._is_stored and bool(self._routes)
        with self._store.transaction() if is_together else contextlib.nullcontext():
            events = make()
            names = self.put(events)
        for name in names:
            self._relays[name].wake()
        return events

    def put(self, events: Sequence[Event]) -> frozenset[str]:
        """Write events into the outbox, in the transaction this thread is in, if it is in one.

        Return the names of who is to be told.
        """
        told: set[str] = set()
        for event in events:
            if names := self._wanted_by(event):
                self.outbox.put(event, names, datetime.now(UTC))
                told.update(names)
        return frozenset(told)

    def tell(self, event: Event) -> None:
        """Write an event into the outbox, and have it delivered."""
        self.storing(lambda: (event,))

    def wake(self) -> None:
        """Have every relay look into the outbox."""
        for relay in self._relays.values():
            relay.wake()

    def settle(self, timeout_s: float = _PATIENCE_S, *, is_stubborn: bool = False) -> None:
        """Wait until all is delivered that can be now, at most `timeout_s` altogether.

        Nobody waits for a connector that does not answer, unless stubborn: then also through
        pauses that end in time.
        """
        settle(self._relays.values(), timeout_s, is_stubborn=is_stubborn)

    def problems(self) -> list[str]:
        """Return what was not delivered, and why."""
        where = "accel outbox list" if self._is_stored else "without [store] it is lost"
        return [
            f"{relay.name}: {text} ({where})"
            for relay in self._relays.values()
            for text in _problems(relay)
        ]

    def close(self, timeout_s: float = 2.0) -> None:
        """End the threads, in `timeout_s` altogether; what is not delivered stays in the outbox.

        Closing again does nothing.
        """
        if self._is_closed:
            return
        self._is_closed = True
        end = time.monotonic() + timeout_s
        relays = self._relays.values()
        for relay in relays:
            relay.end()
        closed = [relay.close(max(0.0, end - time.monotonic())) for relay in relays]
        try:
            self._keep([entry for entry in closed if entry is not None])
        except StoreError as error:
            _log.warning("what was tried cannot be kept: %s", error)

    def _keep(self, tried: Sequence[Entry]) -> None:
        """Write down what relays know of what was not delivered, and tidy up behind the rest."""
        has_delivered = any(relay.has_delivered for relay in self._relays.values())
        if not (tried or has_delivered):
            return
        now = datetime.now(UTC)
        with self.outbox.atomically():
            for entry in tried:
                self.outbox.failed(entry, now)
            if has_delivered:
                self.outbox.forget(now)

    def _wanted_by(self, event: Event) -> list[str]:
        if isinstance(event, Notification):
            return [name for name in event.to if name in self._routes]
        return [name for name, route in self._routes.items() if event.kind in route.kinds]

    def _attached(self, event: Event) -> Attached:
        with self._attaching:
            if event.key not in self._files:
                self._files[event.key] = Attached(functools.partial(self._show, event))
                while len(self._files) > _REMEMBERED:
                    self._files.popitem(last=False)
            return self._files[event.key]

    def _show(self, event: Event) -> Sequence[Attachment]:
        """Make the files of an event; those of what a notification is about are its own."""
        files = list(self._illustrate(event))
        if isinstance(event, Notification) and self._is_stored:
            for one in stored(self._store, event.of[:_SHOWN]):
                files += self._attached(one)
        return named_apart(files)


def _problems(relay: Relay) -> Iterator[str]:
    if count := len(relay.given_up):
        number = f"{count} messages were" if count > 1 else "a message was"
        yield f"{number} given up: {relay.given_up[-1].message}"
    if relay.failure is not None:
        yield f"not delivered yet: {relay.failure.message}"
    elif relay.is_drawing:
        yield "not delivered yet: its pictures take long"
    elif (silent_s := relay.unanswered_s()) is not None:
        yield f"not delivered yet: no answer in {silent_s:.1f} s"
