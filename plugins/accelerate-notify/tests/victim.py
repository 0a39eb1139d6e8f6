# SPDX-License-Identifier: Apache-2.0
"""Processes that tell by rules and die: after so many deliveries, before they are acknowledged.

victim.py DATABASE LOG DELIVERIES...: one after another, each a fork, which saves the imports. With
0 deliveries one lives, and ends when all is told. Prints how each ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from accelerate_duckdb.store import DuckDbStore
from accelerate_notify.notifier import Notifier
from accelerate_notify.rendering import Renderer
from accelerate_notify.settings import NotifySettings
from accelerate_notify.stored import TABLES

from accelerate_core.delivering.dispatcher import Dispatcher, Route
from accelerate_core.delivering.outbox import OutboxPlugin
from accelerate_core.events import Event, Notification, Regression
from accelerate_core.protocols import Receipt
from accelerate_core.settings import structure

#: Two of one cause, one of another.
CAUSES = {"a": "chromium", "b": "chromium", "c": "engine"}


class Mortal(Notifier):
    """Rules that are killed when they have done something, before anybody knows."""

    left = 0

    def deliver(self, event: Event) -> Receipt | None:
        receipt = super().deliver(event)
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return receipt


class Log:
    """A connector that writes what it is told into a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def deliver(self, event: Event) -> Receipt | None:
        assert isinstance(event, Notification)
        line = json.dumps([event.key, event.title, event.of])
        with self._path.open("a") as file:
            file.write(line + "\n")
        return None

    def check(self) -> Sequence[str]:
        return ()

    def close(self) -> None:
        pass


def regression(name: str, cause: str) -> Regression:
    return Regression(
        run_id="run-1",
        at=datetime.now(UTC),
        series_key=name,
        metric="latency_ms",
        before=10.0,
        after=15.0,
        severity="major",
        id=name,
        cause_id=cause,
    )


def main(database: str, log: str, *lives: str) -> None:
    for deliveries in lives:
        if (child := os.fork()) == 0:
            live(database, log, int(deliveries))
            return
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def live(database: str, log: str, deliveries: int) -> None:
    store = DuckDbStore.open(database, tables=(*OutboxPlugin().store_tables(), TABLES))
    rules = {"rules": [{"to": ["log"], "escalate": {"after": "0s", "to": ["log"]}}]}
    notifier = Mortal(structure(rules, NotifySettings, where="victim"), Renderer())
    notifier.left = deliveries
    routes = {
        "notify": Route(notifier, frozenset(notifier.kinds)),
        "log": Route(Log(Path(log)), frozenset()),
    }
    notifier.meet("notify", {"log": routes["log"].connector})
    dispatcher = Dispatcher(store, routes)
    # Known from an earlier process or not: the outbox takes each once.
    dispatcher.put([regression(*item) for item in CAUSES.items()])
    dispatcher.start()
    dispatcher.settle(60)
    dispatcher.close()
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
