# SPDX-License-Identifier: Apache-2.0
"""Whatever fails, dies and is retried: none is lost, doubled or told after all."""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import attrs
from accelerate_duckdb.store import DuckDbStore
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from accelerate_core.delivering import tending
from accelerate_core.delivering.dispatcher import Dispatcher, Route
from accelerate_core.delivering.outbox import OutboxPlugin
from accelerate_core.errors import ConnectorError, StoreError
from accelerate_core.events import Event, Regression
from accelerate_core.testing import samples

NAMES = ("slack", "jira")
SAMPLE = next(one for one in samples.every_event() if isinstance(one, Regression))
NEWS = st.integers(0, 3)
ANSWERS = st.lists(st.sampled_from(["yes", "not now", "never", "bug"]), max_size=6)


class Service:
    """A service that shows what it was told, also to who died before the answer came."""

    def __init__(self) -> None:
        self.answers: list[str] = []
        self.told: Counter[str] = Counter()

    def deliver(self, event: Event) -> None:
        answer = self.answers.pop(0) if self.answers else "yes"
        if answer == "bug":
            raise ZeroDivisionError("a bug of the connector")
        if answer != "yes":
            raise ConnectorError(answer, where="service", retryable=answer == "not now")
        self.told[event.key] += 1

    def check(self) -> Sequence[str]:
        return ()

    def close(self) -> None: ...


class Delivering(RuleBasedStateMachine):
    """Put, deliver, fail, die, retry and drop, in any order, over one file."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.path = Path(folder) / "r.duckdb"
        # Time passes at once.
        self.stack.enter_context(
            mock.patch("accelerate_core.delivering.relay.pause_s", lambda *_: 0.001)
        )
        self.services = {name: Service() for name in NAMES}
        self.put: set[str] = set()
        self.lost: Counter[tuple[str, str]] = Counter()
        self.dropped: dict[tuple[str, str], int] = {}
        self.begin()

    def begin(self) -> None:
        self.store = DuckDbStore.open(self.path, tables=OutboxPlugin().store_tables())
        kinds = frozenset((Regression.kind,))
        self.dispatcher = Dispatcher(
            self.store, {name: Route(service, kinds) for name, service in self.services.items()}
        )
        self.dispatcher.start()

    def end(self) -> None:
        self.dispatcher.close()
        self.store.close()

    @rule(number=NEWS)
    def tell(self, number: int) -> None:
        event = attrs.evolve(SAMPLE, id=f"r-{number}")
        self.put.add(event.key)
        self.dispatcher.tell(event)

    @rule(number=NEWS)
    def tell_of_what_is_not_stored(self, number: int) -> None:
        event = attrs.evolve(SAMPLE, id=f"never-{number}")
        with contextlib.suppress(ZeroDivisionError), self.store.transaction():
            self.dispatcher.put((event,))
            raise ZeroDivisionError

    @rule(name=st.sampled_from(NAMES), answers=ANSWERS)
    def fail(self, name: str, answers: list[str]) -> None:
        self.services[name].answers = answers

    @rule()
    def settle(self) -> None:
        self.dispatcher.settle(20, is_stubborn=True)

    @rule()
    def restart(self) -> None:
        self.end()
        self.begin()

    @rule(number=NEWS)
    def die_before_the_answer_is_noted(self, number: int) -> None:
        self.settle()

        def lose(entry: Any, *_: object) -> None:
            self.lost[entry.connector, entry.key] += 1
            self.dispatcher._relays[entry.connector].end()
            raise StoreError("killed")

        with mock.patch.object(self.dispatcher.outbox, "delivered", lose):
            self.tell(number)
            self.dispatcher.settle(20, is_stubborn=True)
            self.dispatcher.close()
        self.restart()

    @rule(name=st.sampled_from(NAMES))
    def retry(self, name: str) -> None:
        self.settle()
        found = tending.deliveries(self.store, connector=name)
        tending.retry(self.store, found, datetime.now(UTC))
        self.dispatcher.wake()

    @rule(number=st.integers(1, 8), name=st.sampled_from(NAMES))
    def drop(self, number: int, name: str) -> None:
        self.dispatcher.close()  # it works on what no run holds
        found = [one for one in tending.deliveries(self.store) if one.number == number]
        for one in tending.drop(self.store, found, datetime.now(UTC)):
            self.dropped[one.connector, one.key] = self.services[one.connector].told[one.key]
        self.restart()

    @invariant()
    def none_is_told_twice_without_a_lost_answer(self) -> None:
        for name, service in self.services.items():
            for key, count in list(service.told.items()):
                assert key in self.put
                assert count <= 1 + self.lost[name, key], (name, key, count)

    @invariant()
    def none_is_told_after_it_was_dropped(self) -> None:
        for (name, key), count in self.dropped.items():
            assert self.services[name].told[key] == count

    def teardown(self) -> None:
        for service in self.services.values():
            service.answers = []
        self.settle()
        for name in NAMES:
            self.retry(name)
        self.settle()
        for name, service in self.services.items():
            kept = {key for key in self.put if (name, key) not in self.dropped}
            assert kept <= set(service.told), "lost"
        self.none_is_told_twice_without_a_lost_answer()
        self.none_is_told_after_it_was_dropped()
        self.end()
        self.stack.close()


TestDelivering = Delivering.TestCase
TestDelivering.settings = settings(max_examples=6, stateful_step_count=12)
