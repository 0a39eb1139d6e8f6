# SPDX-License-Identifier: Apache-2.0
"""Rules with a clock of their own, and connectors that remember what they were told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
from accelerate_duckdb.store import DuckDbStore
from accelerate_notify.notifier import Notifier
from accelerate_notify.rendering import Renderer
from accelerate_notify.settings import NotifySettings

from accelerate_core.events import Event, Notification, Regression
from accelerate_core.protocols import Receipt, Store
from accelerate_core.settings import structure

RENDERER = Renderer()
#: A Wednesday.
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


class Recorder:
    """A connector that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Event] = []
        self.shown: list[str] = []  #: what the first picture of each is about

    def deliver(self, event: Event) -> Receipt | None:
        self.told.append(event)
        self.shown += [one.description for one in event.attachments[:1]]
        return None

    def check(self) -> Sequence[str]:
        return ()

    def close(self) -> None:
        pass


def settings(*rules: Mapping[str, Any], **more: Any) -> NotifySettings:
    """Return settings as a file has them; a rule tells slack unless it says whom."""
    tables = [{"to": ["slack"], **rule} for rule in rules]
    return structure({"rules": tables, **more}, NotifySettings, where="file.toml")


def regression(name: str = "r-1", **changes: Any) -> Regression:
    """Return a regression; those with one `cause_id` have one cause."""
    values: dict[str, Any] = {
        "run_id": "run-1",
        "at": NOW,
        "series_key": name,
        "metric": "latency_ms",
        "before": 10.0,
        "after": 15.0,
        "severity": "major",
        "id": name,
        "label": f"latency of {name}",
        "model": "bert",
        "target": "webgpu/ort:chromium",
        "change": 0.5,
        "cause": "Chromium 156 -> 157",
        "cause_id": "chromium-157",
    }
    return Regression(**values | changes)


class Office:
    """Stand in for the outbox: hold timers until the clock says that they are due."""

    def __init__(self, store: Store, *rules: Mapping[str, Any], **more: Any) -> None:
        self.now = NOW
        self.store = store
        self.messages: list[Notification] = []
        self._timers: dict[str, Notification] = {}
        self._settings = settings(*rules, **more)
        self.restart()

    def restart(self, *rules: Mapping[str, Any], **more: Any) -> None:
        """Begin anew, as another process does."""
        if rules:
            self._settings = settings(*rules, **more)
        if not rules or isinstance(self.store, DuckDbStore):
            self.notifier = Notifier(self._settings, RENDERER, now=lambda: self.now)
            others = {name: Recorder() for name in ("slack", "mail", "oncall")}
            self.notifier.meet("notify", others)
            self.notifier.attach(self.store)

    def tell(self, *events: Event) -> list[Notification]:
        """Tell of events; return the messages that come at once."""
        before = len(self.messages)
        for event in events:
            self._deliver(event)
        self._ring()
        return self.messages[before:]

    def wait(self, **length: float) -> list[Notification]:
        """Let time pass; return the messages that come meanwhile."""
        before, end = len(self.messages), self.now + timedelta(**length)
        while due := [one for one in self._waiting() if one <= end]:
            self.now = max(self.now, min(due))
            self._ring()
        self.now = end
        return self.messages[before:]

    def sleep(self, **length: float) -> list[Notification]:
        """Let time pass while no process is there; return what comes when one is."""
        before = len(self.messages)
        self.now += timedelta(**length)
        self._ring()
        return self.messages[before:]

    def next_due(self) -> datetime | None:
        return min(self._waiting(), default=None)

    def _waiting(self) -> list[datetime]:
        return [one.not_before for one in self._timers.values() if one.not_before]

    def _ring(self) -> None:
        while due := [one for one in self._timers.values() if (one.not_before or NOW) <= self.now]:
            for timer in due:
                del self._timers[timer.key]
                self._deliver(timer)

    def _deliver(self, event: Event) -> None:
        receipt = self.notifier.deliver(event)
        # A process may die before anybody knows: what is told twice is told once.
        self.now += (moment := timedelta(microseconds=1))
        assert self.notifier.deliver(event) == receipt
        self.now -= moment
        for one in receipt.events if receipt else ():
            assert isinstance(one, Notification)
            if one.to == ("notify",):
                self._timers[one.key] = one
            elif one.key in (told := {message.key: message for message in self.messages}):
                assert one == told[one.key], "what is told again is the same"
            else:
                self.messages.append(one)


def titles(messages: Sequence[Notification]) -> list[str]:
    return [one.title for one in messages]


def fixed(event: Regression, **changes: Any) -> Regression:
    return attrs.evolve(event, status="fixed", **changes)
