# SPDX-License-Identifier: Apache-2.0
"""Tell observers what happened: one thread each, so that none slows the run or another.

An observer that raises is logged and counted; the run never notices.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs

from .errors import AccelerateError, ErrorInfo
from .events import Event

_log = logging.getLogger("accelerate.observers")


@attrs.frozen
class Failure:
    """Count an observer's failures."""

    observer: str
    count: int
    last: ErrorInfo


class Bus:
    """Deliver every event to every observer that asked for its kind, in order."""

    def __init__(self) -> None:
        self._observers: list[_Observer] = []

    def add(self, name: str, deliver: Callable[[Any], Any], kinds: Iterable[str] = ()) -> None:
        """Add an observer; without `kinds` it gets every event."""
        self._observers.append(_Observer(name, deliver, frozenset(kinds)))

    def send(self, event: Event) -> None:
        """Queue an event for all observers; never blocks, never raises."""
        for observer in self._observers:
            if not observer.kinds or event.kind in observer.kinds:
                observer.queue.put(event)

    def flush(self, timeout_s: float = 10.0) -> None:
        """Wait until everything sent so far is delivered, at most for `timeout_s` each."""
        marks = []
        for observer in self._observers:
            mark = threading.Event()
            observer.queue.put(mark)
            marks.append(mark)
        for mark in marks:
            mark.wait(timeout_s)

    def failures(self) -> Sequence[Failure]:
        """Return which observers failed, how often, and how."""
        return tuple(
            Failure(one.name, one.failed, one.last)
            for one in self._observers
            if one.last is not None
        )

    def close(self, timeout_s: float = 10.0) -> None:
        """Deliver what is queued, at most for `timeout_s` each, and end the threads."""
        for observer in self._observers:
            observer.queue.put(None)
        for observer in self._observers:
            observer.thread.join(timeout_s)
            if observer.thread.is_alive():
                _log.warning("%s did not finish in %.0f s and was left", observer.name, timeout_s)
        self._observers.clear()


class _Observer:
    def __init__(self, name: str, deliver: Callable[[Any], Any], kinds: frozenset[str]) -> None:
        self.name = name
        self.kinds = kinds
        self.queue: queue.SimpleQueue[Event | threading.Event | None] = queue.SimpleQueue()
        self.failed = 0
        self.last: ErrorInfo | None = None
        self._deliver = deliver
        self.thread = threading.Thread(target=self._run, name=f"observer-{name}", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while (event := self.queue.get()) is not None:
            if isinstance(event, threading.Event):
                event.set()
                continue
            try:
                self._deliver(event)
            except Exception as error:
                self.failed += 1
                self.last = (
                    error.info
                    if isinstance(error, AccelerateError)
                    else ErrorInfo(kind=type(error).__name__, message=str(error), where=self.name)
                )
                _log.warning("%s failed on %s: %s", self.name, event.kind, error)
