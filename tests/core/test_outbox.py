# SPDX-License-Identifier: Apache-2.0
"""The outbox: in a store and in memory it keeps the same promises."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest
from accelerate_duckdb.store import DuckDbStore

from accelerate_core.delivering import tending
from accelerate_core.delivering.memory_outbox import MemoryOutbox
from accelerate_core.delivering.outbox import (
    KEPT_DAYS,
    YIELDING_TRIES,
    Entry,
    Outbox,
    OutboxPlugin,
    StoredOutbox,
    pack,
    unpack,
)
from accelerate_core.errors import ErrorInfo
from accelerate_core.events import EVENT_TYPES, Attachment, Event, Notification
from accelerate_core.protocols import Receipt
from accelerate_core.testing import samples

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
ERROR = ErrorInfo(kind="ConnectorError", message="not now", retryable=True)
EVENTS = {event.kind: event for event in samples.every_event()}


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DuckDbStore]:
    opened = DuckDbStore.open(tmp_path / "r.duckdb", tables=OutboxPlugin().store_tables())
    opened.save_run(samples.run_info())
    yield opened
    opened.close()


@pytest.fixture(params=["stored", "memory"])
def outbox(request: pytest.FixtureRequest, store: DuckDbStore) -> Outbox:
    return StoredOutbox(store) if request.param == "stored" else MemoryOutbox()


def put(outbox: Outbox, *kinds: str, to: tuple[str, ...] = ("slack",)) -> list[Event]:
    chosen = [EVENTS[kind] for kind in kinds]
    for number, event in enumerate(chosen):
        outbox.put(event, to, later(number / 1000))
    return chosen


def is_due(outbox: Outbox, now: datetime, connector: str = "slack") -> bool:
    entry = outbox.next(connector, now)
    return entry is not None and entry.due_at <= now


def oldest(outbox: Outbox, connector: str = "slack") -> Entry:
    entry = outbox.next(connector, later(1))
    assert entry is not None and entry.due_at <= later(1)
    return entry


def tried(entry: Entry) -> Entry:
    return attrs.evolve(entry, attempts=entry.attempts + 1, error=ERROR)


def test_events_come_out_oldest_first_for_each_connector(outbox: Outbox) -> None:
    first, second = put(outbox, "regression", "cell_started", to=("slack", "jira"))
    entry = oldest(outbox)
    assert entry.read() == first and entry.attempts == 0
    outbox.delivered(entry, Receipt(id="42", url="https://x/42"), later(2))
    assert oldest(outbox).read() == second
    assert oldest(outbox, "jira").read() == first
    assert outbox.next("mail", later(3)) is None


def test_an_event_put_twice_is_there_once_for_each_connector(outbox: Outbox) -> None:
    put(outbox, "regression")
    outbox.delivered(oldest(outbox), None, later(1))
    put(outbox, "regression", to=("slack", "jira"))
    assert outbox.next("slack", later(5)) is None
    assert oldest(outbox, "jira").key == EVENTS["regression"].key


def test_an_event_is_put_for_others_where_nobody_is_to_be_told_of_it_any_more(
    store: DuckDbStore,
) -> None:
    outbox = StoredOutbox(store)
    put(outbox, "regression")
    with store.transaction() as transaction:
        transaction.execute("DELETE FROM outbox_deliveries")
    (event,) = put(outbox, "regression", to=("jira",))
    assert oldest(outbox, "jira").read() == event


def test_what_failed_waits_and_is_first_again(outbox: Outbox) -> None:
    first, _ = put(outbox, "regression", "cell_started")
    outbox.failed(tried(oldest(outbox)), later(2))
    assert oldest(outbox).key == first.key


def test_what_failed_often_lets_others_pass_and_they_are_doubted(outbox: Outbox) -> None:
    first, second = put(outbox, "regression", "cell_started")
    assert not oldest(outbox).is_doubted
    for _ in range(YIELDING_TRIES - 1):
        outbox.failed(tried(oldest(outbox)), later(2))
    assert oldest(outbox).key == first.key
    outbox.failed(tried(oldest(outbox)), later(2))
    assert oldest(outbox).key == second.key and oldest(outbox).is_doubted
    outbox.delivered(oldest(outbox), None, later(3))
    assert oldest(outbox).key == first.key and oldest(outbox).attempts == YIELDING_TRIES


def test_what_is_given_up_is_due_no_more(outbox: Outbox) -> None:
    put(outbox, "regression")
    outbox.failed(tried(oldest(outbox)), later(1), is_over=True)
    assert outbox.next("slack", later(1e6)) is None


def test_what_is_not_yet_to_be_told_waits_and_lets_others_pass(outbox: Outbox) -> None:
    notification = EVENTS["notification"]
    assert isinstance(notification, Notification)
    outbox.put(attrs.evolve(notification, not_before=later(3600)), ("slack",), NOW)
    waiting = outbox.next("slack", later(3599))
    assert waiting is not None and waiting.due_at == later(3600)
    put(outbox, "regression")
    passing = oldest(outbox)
    assert passing.kind == "regression"
    outbox.delivered(passing, None, later(1))
    assert not is_due(outbox, later(3599)) and is_due(outbox, later(3600))


@pytest.mark.parametrize("kind", sorted(EVENT_TYPES))
@pytest.mark.parametrize("text", samples.HOSTILE)
def test_every_event_comes_back_as_it_was(kind: str, text: str) -> None:
    class Remembering:
        def summary(self, run_id: str) -> object:
            assert run_id == "run-1"
            return event.summary  # type: ignore[attr-defined]

    event = next(one for one in samples.every_event(text) if one.kind == kind)
    picture = Attachment(name="a.png", media_type="image/png", data=b"\x89")
    packed = pack(attrs.evolve(event, attachments=(picture,), link="https://ci/1"))
    assert unpack(kind, packed, Remembering()) == attrs.evolve(event, link="https://ci/1")  # type: ignore[arg-type]


def test_the_end_of_a_run_is_small_whatever_it_measured() -> None:
    assert len(pack(EVENTS["run_finished"])) < 300


def test_an_event_is_there_only_with_what_it_tells_of(store: DuckDbStore) -> None:
    outbox = StoredOutbox(store)
    with pytest.raises(ZeroDivisionError), store.transaction():
        store.save_measurement(samples.measurement())
        put(outbox, "measurement_stored")
        raise ZeroDivisionError
    assert outbox.next("slack", later(1)) is None
    assert store.query("SELECT count(*) FROM webnn_webgpu_performance").rows == ((0,),)


def test_what_was_delivered_long_ago_is_forgotten_and_nothing_else(store: DuckDbStore) -> None:
    outbox = StoredOutbox(store)
    put(outbox, "regression", to=("slack", "jira", "mail"))
    put(outbox, "cell_started")
    for _ in range(2):
        outbox.delivered(oldest(outbox), None, later(1))
    outbox.failed(tried(oldest(outbox, "mail")), later(1), is_over=True)
    outbox.forget(later(1) + timedelta(days=KEPT_DAYS))
    assert len(tending.deliveries(store)) == 4
    outbox.forget(later(2) + timedelta(days=KEPT_DAYS))
    rows = store.query("SELECT connector, state FROM outbox_deliveries ORDER BY number").rows
    assert rows == (("jira", "waiting"), ("mail", "dead"))
    assert store.query("SELECT kind FROM outbox_events").rows == (("regression",),)


def test_tries_and_the_last_error_are_kept(store: DuckDbStore) -> None:
    outbox = StoredOutbox(store)
    put(outbox, "regression", "cell_started")
    outbox.failed(tried(tried(oldest(outbox))), later(2))
    first, second = tending.deliveries(store)
    assert (first.state, first.attempts, first.error) == ("waiting", 2, ERROR)
    assert (second.state, second.attempts, second.error) == ("waiting", 0, None)
    entry = tried(oldest(outbox))
    assert entry.attempts == 3
    outbox.delivered(entry, None, later(3))
    outbox.failed(entry, later(4))  # who waited for the answer no longer did not know of it
    assert tending.deliveries(store)[0].state == "delivered"
    assert tending.deliveries(store)[0].attempts == 3


def test_numbers_stay_what_they_were_and_the_order_too(store: DuckDbStore) -> None:
    outbox = StoredOutbox(store)
    put(outbox, "regression", "cell_started", "run_started")
    numbers = [one.number for one in tending.deliveries(store)]
    first, second, third = (tending.chosen(store, [str(number)])[0] for number in numbers)
    tending.drop(store, [second], later(1))
    for _ in range(2):
        outbox.failed(tried(oldest(outbox)), later(2), is_over=True)
    first, second, third = tending.deliveries(store)
    assert tending.retry(store, [third, first, second], later(3)) == [third, first]
    assert [one.number for one in tending.deliveries(store, ("waiting",))] == [
        first.number,
        third.number,
    ]
    again = outbox.next("slack", later(4))
    assert again is not None and again.key == first.key


def test_what_was_dropped_is_not_told_though_it_is_put_again(store: DuckDbStore) -> None:
    outbox = StoredOutbox(store)
    put(outbox, "regression")
    wanted = tending.deliveries(store)
    assert tending.drop(store, wanted, later(1)) == wanted
    assert tending.drop(store, tending.deliveries(store), later(1)) == []
    put(outbox, "regression")
    assert outbox.next("slack", later(2)) is None
    assert tending.deliveries(store, ("waiting", "dead")) == []
    outbox.forget(NOW + timedelta(days=KEPT_DAYS + 1))
    assert tending.deliveries(store) == []
