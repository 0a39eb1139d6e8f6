# SPDX-License-Identifier: Apache-2.0
"""The thread that empties the outbox into one connector."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta

import attrs

from ..errors import AccelerateError, ConnectorError, ErrorInfo, StoreError
from ..events import Attachment, Event
from ..protocols import Connector, Receipt
from ..secrets import redacted
from .attached import Lent
from .backoff import pause_s
from .outbox import Entry, Outbox

_log = logging.getLogger("accelerate.delivering")

#: What cannot be delivered for so long is given up; `accel outbox retry` begins anew.
GIVE_UP = timedelta(days=3)
#: A call that takes longer is not waited for.
SILENT_S = 5.0
#: A failure is written with a pause so long; one of a shorter pause when the relay is closed. A
#: write while something is measured disturbs it, and a crash forgets no more than some tries.
_LONG = timedelta(minutes=1)
#: Until a store that refused is asked again.
_STORE_PAUSE = timedelta(seconds=1)

#: Receives the events a connector wants told next.
Put = Callable[[Sequence[Event]], object]


def _now() -> datetime:
    return datetime.now(UTC)


class Relay:
    """Deliver what is due to one connector, oldest first, until it is closed.

    A try that may succeed later makes it pause, so that a service that is down is asked seldom and
    costs a run nothing; what will never succeed is given up at once, and the next is tried.
    """

    def __init__(
        self,
        name: str,
        connector: Connector,
        outbox: Outbox,
        *,
        put: Put,
        wake_all: Callable[[], None] = lambda: None,
        attach: Callable[[Event], Sequence[Attachment]] = lambda event: (),
        changed: threading.Condition | None = None,
        now: Callable[[], datetime] = _now,
        luck: Callable[[], float] = random.random,
    ) -> None:
        """Take what tells all relays of news, and the condition that they share."""
        self.name = name
        self.failure: ErrorInfo | None = None  #: what the latest try said, if it may be tried again
        self.given_up: list[ErrorInfo] = []
        self.has_delivered = False
        self.is_drawing = False  #: whether a message waits for its files
        self._connector = connector
        self._outbox = outbox
        self._put = put
        self._wake_all = wake_all
        self._attach = attach
        self._now = now
        self._luck = luck
        self._failures = 0
        #: What failed and is tried again; the store may not know of the latest tries.
        self._held: Entry | None = None
        #: What arrived and is not marked as delivered yet: it is not told again.
        self._arrived: tuple[Entry, Receipt | None] | None = None
        self.changed = changed or threading.Condition()
        # All below belong to it.
        self._is_asked = True
        self._is_resting = False
        self._is_closing = False
        self._paused_until: datetime | None = None
        self._call: tuple[Entry, float] | None = None  #: what is being told, and since when
        self._thread = threading.Thread(target=self._run, name=f"relay-{name}", daemon=True)

    def start(self) -> None:
        """Begin with what earlier processes left."""
        self._thread.start()

    def wake(self) -> None:
        """Look into the outbox."""
        with self.changed:
            self._is_asked = True
            self.changed.notify_all()

    def busy_s(self) -> float:
        """Return how long it is worth waiting until something changes; 0 when it is not.

        It is not when nothing is due, and for a connector that does not answer: that has taken
        `SILENT_S`, or failed before. Of pauses only a short one that the service itself asked for
        is: it is there, and has too much to do. The shared condition is to be held.
        """
        if self._is_there() and self._paused_until is not None and not self._is_closing:
            return self.stubborn_s(SILENT_S)
        return 0.0 if self._is_asleep() else self._patience_s()

    def stubborn_s(self, left_s: float) -> float:
        """Return the same for who waits through pauses that end in time, and for slow answers."""
        if self._paused_until is not None:
            pause = (self._paused_until - self._now()).total_seconds()
            return max(pause, 0.01) if pause < left_s else 0.0
        return 0.0 if self._is_asleep() else max(left_s, 0.01)

    def end(self) -> None:
        """Begin nothing more; what waits stays."""
        with self.changed:
            self._is_closing = True
            self.changed.notify_all()

    def close(self, timeout_s: float) -> Entry | None:
        """End, after what is being told now if that is worth waiting for, at most `timeout_s`.

        Return what is not told yet, with what the store may not know of it: how often it was
        tried, and what went wrong.
        """
        self.end()
        with self.changed:
            timeout_s = min(timeout_s, self._patience_s())
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        with self.changed:
            return self._held if self._call is None else self._unanswered(*self._call)

    def unanswered_s(self) -> float | None:
        """Return for how long the connector has not answered; None when it is not being told."""
        with self.changed:
            return None if self._call is None else time.monotonic() - self._call[1]

    def _is_asleep(self) -> bool:
        is_paused = self._paused_until is not None
        return self._is_closing or is_paused or (self._is_resting and not self._is_asked)

    def _is_there(self) -> bool:
        """Whether the service itself said when to come back."""
        return self.failure is not None and self.failure.retry_after is not None

    def _patience_s(self) -> float:
        if self._call is None:
            return SILENT_S
        entry, began = self._call
        # Who delivers is doubted no longer, but for what was tried in vain before.
        is_doubted = entry.attempts > 1 if self.has_delivered else entry.is_doubted
        is_known = is_doubted or self._failures > 0
        return (
            0.0
            if is_known and not self._is_there()
            else max(0.0, SILENT_S - (time.monotonic() - began))
        )

    def _unanswered(self, entry: Entry, began: float) -> Entry:
        """Return that nobody answered: the next process need not wait to find out."""
        info = ErrorInfo(
            kind="ConnectorError",
            message=f"no answer in {time.monotonic() - began:.1f} s, and the process ended",
            where=self.name,
            retryable=True,
        )
        return attrs.evolve(entry, error=info)

    def _run(self) -> None:
        while not self._is_closing:
            with self.changed:
                self._is_asked = False
            try:
                if self._arrived is None and (entry := self._next()) is not None:
                    self._deliver(entry)
                if self._arrived is not None:
                    self._note(*self._arrived)
            except Exception as error:
                # What is in the store stays there, and nobody else reads it out.
                level = logging.DEBUG if self._is_closing else logging.WARNING
                _log.log(level, "the outbox cannot be used for %s: %s", self.name, error)
                self._rest(self._now() + _STORE_PAUSE)

    def _next(self) -> Entry | None:
        if self._paused_until is not None:
            self._pause(self._paused_until)
            return None
        if self._held is not None:
            return self._held
        now = self._now()
        entry = self._outbox.next(self.name, now)
        if entry is not None and entry.due_at <= now:
            return entry
        self._rest(None if entry is None else entry.due_at)
        return None

    def _pause(self, until: datetime) -> None:
        """Wait until then: nothing new is a reason to ask earlier."""
        with self.changed:
            self.changed.notify_all()
            self.changed.wait_for(lambda: self._is_closing, self._seconds(until))
            if self._now() >= until:
                self._paused_until = None

    def _rest(self, until: datetime | None) -> None:
        """Wait until then, or until somebody asks."""
        with self.changed:
            self._is_resting = True
            self.changed.notify_all()
            self.changed.wait_for(
                lambda: self._is_closing or self._is_asked,
                None if until is None else self._seconds(until),
            )
            self._is_resting = False

    def _seconds(self, until: datetime) -> float:
        seconds = (until - self._now()).total_seconds()
        return min(max(0.0, seconds), threading.TIMEOUT_MAX)

    def _deliver(self, entry: Entry) -> None:
        entry = attrs.evolve(entry, attempts=entry.attempts + 1)
        try:
            self._arrived = entry, self._tell(entry, entry.read())
        except Exception as error:
            self._failed(entry, error)

    def _note(self, entry: Entry, receipt: Receipt | None) -> None:
        """Keep that one arrived, together with what its connector wants told next."""
        events = receipt.events if isinstance(receipt, Receipt) else ()
        try:
            with self._outbox.atomically():
                self._outbox.delivered(entry, receipt, self._now())
                if events:
                    self._put(events)
        except StoreError:
            raise
        except Exception as error:  # what it wants told next is no event
            self._failed(entry, error)
        else:
            self._failures, self.failure, self._held = 0, None, None
            self.has_delivered = True
        self._arrived = None
        if events:
            self._wake_all()

    def _tell(self, entry: Entry, event: Event) -> Receipt | None:
        told = attrs.evolve(event, attachments=Lent(self._attach(event), self._drawing))
        with self.changed:
            self._call = entry, time.monotonic()
            self.changed.notify_all()
        try:
            return self._connector.deliver(told)
        finally:
            with self.changed:
                self._call = None

    @contextlib.contextmanager
    def _drawing(self) -> Iterator[None]:
        """Count nothing as the service's silence meanwhile: its files are made here."""
        with self.changed:
            call, self._call, self.is_drawing = self._call, None, True
        try:
            yield
        finally:
            with self.changed:
                self._call = (call[0], time.monotonic()) if call else None
                self.is_drawing = False
                self.changed.notify_all()
        if call and self._is_closing:  # whoever comes next tells it, and finds what is there
            raise ConnectorError("its pictures took too long", where=self.name, retryable=True)

    def _failed(self, entry: Entry, error: Exception) -> None:
        info = redacted(_info(error, self.name))
        entry = attrs.evolve(entry, error=info)
        now = self._now()
        is_over = now - entry.due_at > GIVE_UP
        if isinstance(error, ConnectorError) and info.retryable and not is_over:
            self._failures += 1
            pause = timedelta(seconds=pause_s(self._failures, self._luck(), info.retry_after))
            self._held, self.failure = entry, info
            _log.info("%s: %s; again in %.1f s", self.name, info.message, pause.total_seconds())
            try:
                if pause >= _LONG:
                    self._outbox.failed(entry, now)
                    self._held = None  # others may have to go first
            finally:  # nobody waits any longer from here on
                self._paused_until = now + pause
            return
        self._outbox.failed(entry, now, is_over=True)
        self._held, self.failure = None, None
        self.given_up.append(info)
        _log.warning("%s: %s was given up: %s", self.name, entry.kind, info.message)


def settle(relays: Collection[Relay], timeout_s: float, *, is_stubborn: bool = False) -> bool:
    """Wait until all is told that can be now; relays share their condition. False: time is up.

    Nobody waits for a connector that does not answer, unless stubborn: then also through pauses
    that end in time.
    """
    end = time.monotonic() + timeout_s
    for changed in {relay.changed for relay in relays}:
        with changed:
            while wait_s := max(
                relay.stubborn_s(end - time.monotonic()) if is_stubborn else relay.busy_s()
                for relay in relays
            ):
                if (left := end - time.monotonic()) <= 0:
                    return False
                changed.wait(min(left, wait_s))
    return True


def _info(error: Exception, name: str) -> ErrorInfo:
    if isinstance(error, AccelerateError):
        return error.info
    return ErrorInfo(kind=type(error).__name__, message=str(error), where=name, retryable=False)
