# SPDX-License-Identifier: Apache-2.0
"""Delivering: tried again when that may help, given up when not, and never in the way."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from accelerate_duckdb.store import DuckDbStore
from hypothesis import given
from hypothesis import strategies as st

from accelerate_core.delivering import relay as relaying
from accelerate_core.delivering import tending
from accelerate_core.delivering.backoff import FIRST_S, LONGEST_S, pause_s, refused, retry_after_s
from accelerate_core.delivering.dispatcher import FOR_PEOPLE, Dispatcher, Route
from accelerate_core.delivering.memory_outbox import MemoryOutbox
from accelerate_core.delivering.message import message_of
from accelerate_core.delivering.outbox import YIELDING_TRIES, OutboxPlugin, StoredOutbox
from accelerate_core.delivering.relay import GIVE_UP, Relay, settle
from accelerate_core.errors import ConnectorError, StoreError
from accelerate_core.events import Attachment, Event, Notification
from accelerate_core.memory_store import MemoryStore
from accelerate_core.protocols import Receipt
from accelerate_core.secrets import Secret
from accelerate_core.testing import samples

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
EVENTS = {event.kind: event for event in samples.every_event()}
NOT_NOW = ConnectorError("nobody answers", where="pager", retryable=True)


class Pager:
    """A connector that answers as it is told to."""

    def __init__(self, *answers: Exception | Receipt | None) -> None:
        self.answers = list(answers)
        self.told: list[Event] = []
        self.is_closed = False

    def deliver(self, event: Event) -> Receipt | None:
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        self.told.append(event)
        return answer

    def check(self) -> Sequence[str]:
        return ()

    def close(self) -> None:
        self.is_closed = True


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def relayed(pager: Pager, *events: Event, clock: Callable[[], datetime] = lambda: NOW) -> Relay:
    outbox = MemoryOutbox()
    for number, event in enumerate(events):
        outbox.put(event, ("pager",), NOW - timedelta(seconds=len(events) - number))

    def put(chosen: Sequence[Event]) -> None:
        for one in chosen:
            outbox.put(one, ("pager",), NOW)

    relay = Relay("pager", pager, outbox, put=put, now=clock, luck=lambda: 1.0)
    relay.start()
    return relay


@pytest.mark.parametrize("failures", [1, 2, 5, 100])
@pytest.mark.parametrize("luck", [0.0, 1.0])
def test_pauses_double_up_to_the_longest(failures: int, luck: float) -> None:
    longest = min(LONGEST_S, FIRST_S * 2 ** (failures - 1))
    assert pause_s(failures, luck) == longest * (0.5 + luck / 2)
    assert pause_s(failures, luck, retry_after=1000.0) == 1000.0


@pytest.mark.parametrize(
    ("status", "is_retryable"),
    [(one, False) for one in (400, 401, 403, 404, 413, 422)]
    + [(one, True) for one in (408, 409, 429, 500, 503, 507)],
)
def test_a_status_says_whether_to_try_again(status: int, is_retryable: bool) -> None:
    error = refused(status, "text", where="slack", headers={"retry-after": "7"}, hint="Do.")
    assert error.info.retryable is is_retryable
    assert error.info.retry_after == 7.0
    assert str(status) in error.info.message and "text" in error.info.message


@given(st.text())
def test_any_retry_after_is_a_number_or_nothing(text: str) -> None:
    found = retry_after_s(text, NOW)
    assert found is None or found >= 0 or found != found


def test_retry_after_may_be_a_date() -> None:
    assert retry_after_s("Sun, 22 Nov 2026 10:01:30 GMT", NOW) == 90.0
    assert retry_after_s("Sun, 22 Nov 2026 09:00:00 GMT", NOW) == 0.0


def test_all_is_delivered_in_order() -> None:
    pager = Pager()
    relay = relayed(pager, EVENTS["run_finished"], EVENTS["regression"])
    assert settle([relay], 10)
    relay.close(10)
    assert [one.kind for one in pager.told] == ["run_finished", "regression"]


def test_a_service_that_is_down_is_left_alone_until_its_pause_is_over() -> None:
    pager, clock = Pager(NOT_NOW, NOT_NOW), Clock()
    relay = relayed(pager, EVENTS["run_finished"], EVENTS["regression"], clock=clock)
    assert settle([relay], 10)  # it does not answer: nobody waits for that
    assert len(pager.answers) == 1 and relay.failure is not None
    relay.wake()  # a new message is no reason to ask earlier
    assert len(pager.answers) == 1
    relay.close(10)


def test_after_the_pause_it_goes_on() -> None:
    told, began = threading.Event(), time.monotonic()

    class Telling(Pager):
        def deliver(self, event: Event) -> Receipt | None:
            receipt = super().deliver(event)
            told.set()
            return receipt

    relay = relayed(
        Telling(NOT_NOW),
        EVENTS["run_finished"],
        clock=lambda: NOW + timedelta(seconds=time.monotonic() - began),
    )
    assert told.wait(10) and time.monotonic() - began >= FIRST_S
    assert settle([relay], 10) and relay.failure is None
    relay.close(10)


@pytest.mark.parametrize(
    "error",
    [ConnectorError("no right", retryable=False), ZeroDivisionError("a bug of the connector")],
)
def test_what_cannot_succeed_is_given_up_and_the_next_is_tried(error: Exception) -> None:
    pager = Pager(error)
    relay = relayed(pager, EVENTS["run_finished"], EVENTS["regression"])
    assert settle([relay], 10)
    relay.close(10)
    assert [one.kind for one in pager.told] == ["regression"] and len(relay.given_up) == 1


def test_what_is_given_up_at_a_later_try_is_told_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelerate_core.delivering.relay.pause_s", lambda *_: 0.01)
    pager = Pager(NOT_NOW, ConnectorError("no right", retryable=False))
    made = dispatcher(MemoryStore(), slack=pager)
    made.tell(EVENTS["regression"])
    made.settle(10, is_stubborn=True)
    made.tell(EVENTS["run_finished"])
    made.settle(10, is_stubborn=True)
    made.close()
    assert [one.kind for one in pager.told] == ["run_finished"]


def test_what_is_to_wait_is_not_told_before() -> None:
    digest = EVENTS["notification"]
    assert isinstance(digest, Notification)
    pager = Pager()
    relay = relayed(pager, attrs.evolve(digest, not_before=NOW + timedelta(seconds=60)))
    assert settle([relay], 10)
    relay.close(10)
    assert pager.told == []


def test_what_failed_for_days_is_given_up() -> None:
    pager = Pager(NOT_NOW)
    relay = relayed(pager, EVENTS["regression"], clock=lambda: NOW + GIVE_UP * 2)
    assert settle([relay], 10)
    relay.close(10)
    assert len(relay.given_up) == 1


def test_no_secret_is_in_what_is_kept_of_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret("xoxb-canary-1")
    error = ConnectorError(f"https://x/?token={secret.reveal()} is down", retryable=True)
    relay = relayed(Pager(error), EVENTS["regression"])
    with caplog.at_level("DEBUG"):
        assert settle([relay], 10)
        relay.close(10)
    assert relay.failure is not None and relay.failure.message == "https://x/?token=*** is down"
    assert "canary" not in caplog.text


def test_what_a_receipt_asks_for_is_told_next() -> None:
    following = EVENTS["notification"]
    pager = Pager(Receipt(id="1", events=(following,)))
    relay = relayed(pager, EVENTS["regression"])
    assert settle([relay], 10)
    relay.close(10)
    assert [one.kind for one in pager.told] == ["regression", "notification"]


def opened(folder: Path) -> DuckDbStore:
    return DuckDbStore.open(folder / "r.duckdb", tables=OutboxPlugin().store_tables())


def dispatcher(store: Any, **pagers: Pager) -> Dispatcher:
    routes = {name: Route(pager, frozenset(FOR_PEOPLE)) for name, pager in pagers.items()}
    picture = Attachment(name="a.png", media_type="image/png", data=b"\x89")
    made = Dispatcher(store, routes, illustrate=lambda event: (picture,))
    made.start()
    return made


def test_a_notification_goes_to_whom_it_is_for_and_events_to_whom_wants_them() -> None:
    slack, jira = Pager(), Pager()
    dispatcher_ = dispatcher(MemoryStore(), slack=slack, jira=jira)
    for kind in ("notification", "regression", "cell_started"):
        dispatcher_.tell(EVENTS[kind])
    dispatcher_.settle()
    dispatcher_.close()
    assert [one.kind for one in slack.told] == ["notification", "regression"]
    assert [one.kind for one in jira.told] == ["regression"]
    assert len(slack.told[1].attachments) == 1
    assert slack.told[1].attachments[0] is jira.told[0].attachments[0]  # made once


def test_a_notification_shows_the_pictures_of_what_it_is_about(tmp_path: Path) -> None:
    store, drawn = opened(tmp_path), []

    def draw(event: Event) -> Sequence[Attachment]:
        drawn.append(event.key)
        picture = Attachment(name="series.png", media_type="image/png", data=b"\x89")
        return () if isinstance(event, Notification) else (picture,)

    about = [attrs.evolve(EVENTS["regression"], id=str(number)) for number in range(6)]  # type: ignore[call-arg]
    notification = attrs.evolve(EVENTS["notification"], of=("gone", *(one.key for one in about)))  # type: ignore[call-arg]
    slack = Pager()
    made = Dispatcher(store, {"slack": Route(slack, frozenset(FOR_PEOPLE))}, draw)
    made.start()
    for event in (*about, notification):
        made.tell(event)
    made.settle()
    made.close()
    shown = [one.name for one in slack.told[-1].attachments]
    assert shown == ["series.png", "series-2.png", "series-3.png"]
    assert len(slack.told[0].attachments) == 1
    assert drawn == [notification.key, *(one.key for one in about[:3])], "each is drawn once"
    store.close()


@pytest.mark.parametrize("order", [("slack", "rules"), ("rules", "slack")])
def test_who_is_told_because_of_a_receipt_is_woken_and_waited_for(order: tuple[str, ...]) -> None:
    class Slow(Pager):
        def deliver(self, event: Event) -> Receipt | None:
            time.sleep(0.05)
            return super().deliver(event)

    following = EVENTS["notification"]  # to "slack"
    pagers = {"slack": Slow(), "rules": Slow(Receipt(events=(following,)))}
    routes = {
        name: Route(pagers[name], frozenset(("regression",) if name == "rules" else ()))
        for name in order
    }
    made = Dispatcher(MemoryStore(), routes)
    made.start()
    made.tell(EVENTS["regression"])
    made.settle()
    assert [one.kind for one in pagers["slack"].told] == ["notification"]
    made.close()


def test_what_had_to_wait_for_days_is_not_given_up_at_its_first_failure() -> None:
    digest = EVENTS["notification"]
    assert isinstance(digest, Notification)
    waited = attrs.evolve(digest, not_before=NOW + GIVE_UP * 2)
    relay = relayed(Pager(NOT_NOW), waited, clock=lambda: NOW + GIVE_UP * 2)
    assert settle([relay], 10)
    relay.close(10)
    assert not relay.given_up and relay.failure is not None


def test_what_one_process_could_not_deliver_the_next_one_does(tmp_path: Path) -> None:
    store = opened(tmp_path)
    first = dispatcher(store, slack=Pager(NOT_NOW))
    summary = EVENTS["run_finished"]
    first.storing(lambda: (store.save_run(samples.run_info()), (summary,))[1])  # type: ignore[func-returns-value]
    first.settle()
    assert first.problems() == ["slack: not delivered yet: nobody answers (accel outbox list)"]
    first.close()
    store.close()

    store, slack = opened(tmp_path), Pager()
    second = dispatcher(store, slack=slack)
    second.settle()
    second.close()
    store.close()
    (told,) = slack.told
    assert told.key == summary.key and second.problems() == []


class Watched:
    """A store that counts what is asked and written."""

    def __init__(self, store: DuckDbStore) -> None:
        self.store = store
        self.asked: list[str] = []

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        self.asked.append("query")
        return self.store.query(sql, parameters)

    def summary(self, run_id: str) -> Any:
        self.asked.append("summary")
        return self.store.summary(run_id)

    def transaction(self) -> Any:
        self.asked.append("transaction")
        return self.store.transaction()


def test_a_service_that_stays_down_costs_one_look_and_one_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accelerate_core.delivering.relay.pause_s", lambda *_: 0.01)
    store = opened(tmp_path)
    store.save_run(samples.run_info())
    StoredOutbox(store).put(EVENTS["run_finished"], ("slack",), datetime.now(UTC))
    slack, watched = Pager(*[NOT_NOW] * 3, *[NOT_NOW] * 100_000), Watched(store)
    made = dispatcher(watched, slack=slack)
    while len(slack.answers) > 100_000:
        time.sleep(0.01)
    for _ in range(2):  # `accel outbox send` wants to read what was tried, before all is closed
        made.close()
    # One transaction is within the other.
    assert watched.asked == ["query", "summary", "transaction", "transaction"]
    ((attempts, error),) = store.query("SELECT attempts, error FROM outbox_deliveries").rows
    assert attempts == 100_003 - len(slack.answers) and "nobody answers" in error
    store.close()


def test_what_was_told_long_ago_is_forgotten_at_the_end(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for number in range(2):
        made = dispatcher(store, slack=Pager())
        made.tell(attrs.evolve(EVENTS["regression"], id=f"r-{number}"))  # type: ignore[call-arg]
        made.settle()
        made.close()
        assert len(tending.deliveries(store)) == 1
        with store.transaction() as transaction:
            transaction.execute("UPDATE outbox_deliveries SET ended_at = '2020-01-01'")
    store.close()


def test_what_was_tried_is_written_at_once_where_the_pause_is_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accelerate_core.delivering.relay.pause_s", lambda *_: 60.0)
    store = opened(tmp_path)
    made = dispatcher(store, slack=Pager(NOT_NOW))
    made.tell(EVENTS["regression"])
    made.settle()
    (left,) = tending.deliveries(store, ("waiting",))
    assert left.attempts == 1 and left.error is not None
    made.close()
    store.close()


class Choking(Pager):
    """A connector whose service fails over one message, and takes all others."""

    def deliver(self, event: Event) -> Receipt | None:
        if event.key == EVENTS["regression"].key:
            raise NOT_NOW
        return super().deliver(event)


def test_a_message_that_always_fails_holds_others_only_for_some_runs(tmp_path: Path) -> None:
    told: list[int] = []
    for number in range(YIELDING_TRIES + 1):
        store, slack = opened(tmp_path), Choking()
        if number == 0:
            StoredOutbox(store).put(EVENTS["regression"], ("slack",), datetime.now(UTC))
        StoredOutbox(store).put(
            attrs.evolve(EVENTS["regression"], id=f"r-{number}"),  # type: ignore[call-arg]
            ("slack",),
            datetime.now(UTC),
        )
        made = dispatcher(store, slack=slack)
        made.settle(60)  # each message is a commit
        made.close(60)
        told.append(len(slack.told))
        store.close()
    assert told == [0] * YIELDING_TRIES + [YIELDING_TRIES + 1]


def test_a_message_that_always_fails_holds_others_of_its_run_only_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relaying, "_LONG", timedelta(seconds=0.01))
    monkeypatch.setattr(relaying, "pause_s", lambda *_: 0.01)
    store, slack = opened(tmp_path), Choking()
    made = dispatcher(store, slack=slack)
    made.tell(EVENTS["regression"])
    other = attrs.evolve(EVENTS["regression"], id="r-2")  # type: ignore[call-arg]
    made.tell(other)
    end = time.monotonic() + 10
    while not slack.told and time.monotonic() < end:
        time.sleep(0.01)
    made.close()
    store.close()
    assert [one.key for one in slack.told] == [other.key]


class Hanging(Pager):
    """A connector whose service never answers."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()

    def deliver(self, event: Event) -> Receipt | None:
        self.released.wait(30)
        return None


def test_a_service_that_never_answers_is_waited_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accelerate_core.delivering.relay.SILENT_S", 1.0)
    ways = []
    for number in range(YIELDING_TRIES + 2):
        store, slack = opened(tmp_path), Hanging()
        made, began = dispatcher(store, slack=slack), time.monotonic()
        made.tell(attrs.evolve(EVENTS["regression"], id=f"r-{number}"))  # type: ignore[call-arg]
        made.settle()
        (problem,) = made.problems()
        assert problem.startswith("slack: not delivered yet: no answer in ")
        made.close()
        ways.append(time.monotonic() - began)
        rows = store.query("SELECT attempts FROM outbox_deliveries ORDER BY number").rows
        store.close()
        slack.released.set()
    assert ways[0] >= 1.0 > max(ways[1:])
    assert [tries for (tries,) in rows][:3] == [YIELDING_TRIES, 2, 0]


class HangingOnce(Pager):
    """A connector whose service never answers about one message, and takes all others."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs, self.released = threading.Event(), threading.Event()

    def deliver(self, event: Event) -> Receipt | None:
        if event.key == EVENTS["regression"].key:
            self.hangs.set()
            self.released.wait(60)
        return super().deliver(event)


def test_a_message_that_was_tried_in_vain_is_not_waited_for_though_others_arrive(
    tmp_path: Path,
) -> None:
    store, slack = opened(tmp_path), HangingOnce()
    StoredOutbox(store).put(EVENTS["regression"], ("slack",), datetime.now(UTC))
    with store.transaction() as transaction:
        transaction.execute("UPDATE outbox_deliveries SET attempts = ?", [YIELDING_TRIES])
    StoredOutbox(store).put(EVENTS["run_started"], ("slack",), datetime.now(UTC))
    made = dispatcher(store, slack=slack)
    assert slack.hangs.wait(30) and [one.kind for one in slack.told] == ["run_started"]
    (relay,) = made._relays.values()
    with relay.changed:
        assert relay.busy_s() == 0.0
    slack.released.set()
    made.close()
    store.close()


def test_news_does_not_end_a_pause_and_nobody_waits_for_its_end() -> None:
    pager, clock = Pager(NOT_NOW), Clock()
    relay = relayed(pager, EVENTS["run_finished"], clock=clock)
    assert settle([relay], 10)
    relay.wake()
    began = time.monotonic()
    assert settle([relay], 10) and time.monotonic() - began < 5
    assert relay.failure is not None
    relay.close(10)


def test_who_is_stubborn_waits_through_a_pause_that_ends_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("accelerate_core.delivering.relay.pause_s", lambda *_: 0.1)
    pager = Pager(NOT_NOW, NOT_NOW)
    made = dispatcher(MemoryStore(), slack=pager)
    made.tell(EVENTS["regression"])
    made.settle(10, is_stubborn=True)
    assert len(pager.told) == 1 and made.problems() == []
    monkeypatch.setattr("accelerate_core.delivering.relay.pause_s", lambda *_: 1000.0)
    pager.answers = [NOT_NOW]
    made.tell(EVENTS["run_finished"])
    began = time.monotonic()
    made.settle(10, is_stubborn=True)
    assert time.monotonic() - began < 5 and made.problems() != []
    made.close()


def test_what_arrived_and_could_not_be_noted_is_not_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, slack = opened(tmp_path), Pager()
    made = dispatcher(store, slack=slack)
    note, refusals = made.outbox.delivered, [StoreError("the disk is full")] * 3
    asked_at: list[float] = []

    def refuse(*given: Any) -> None:
        asked_at.append(time.monotonic())
        if len(asked_at) == 1:
            made.wake()  # news: a reason to ask once more, and no more often
        if refusals:
            raise refusals.pop()
        note(*given)

    monkeypatch.setattr(made.outbox, "delivered", refuse)
    monkeypatch.setattr("accelerate_core.delivering.relay._STORE_PAUSE", timedelta(seconds=0.2))
    made.tell(EVENTS["regression"])
    while len(asked_at) < 4:
        time.sleep(0.01)
    made.settle()
    made.close()
    assert len(slack.told) == 1 and asked_at[2] - asked_at[1] >= 0.2
    assert store.query("SELECT state FROM outbox_deliveries").rows == (("delivered",),)
    store.close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE outbox_events SET event = '{'", "JSONDecodeError"),
        ("UPDATE outbox_events SET kind = 'of_tomorrow'", "StoreError"),
        ("DELETE FROM runs", "StoreError"),  # as `accel db prune` does
    ],
)
def test_what_cannot_be_read_any_more_is_given_up(tmp_path: Path, change: str, said: str) -> None:
    store, slack = opened(tmp_path), Pager()
    StoredOutbox(store).put(EVENTS["run_finished"], ("slack",), datetime.now(UTC))
    with store.transaction() as transaction:
        transaction.execute(change)
    made = dispatcher(store, slack=slack)
    made.tell(EVENTS["regression"])
    made.settle()
    made.close()
    assert [one.kind for one in slack.told] == ["regression"]
    ((state, error), _) = store.query(
        "SELECT state, error FROM outbox_deliveries ORDER BY number"
    ).rows
    assert state == "dead" and said in error
    store.close()


def test_an_event_of_an_older_version_is_told(tmp_path: Path) -> None:
    store, slack = opened(tmp_path), Pager()
    StoredOutbox(store).put(EVENTS["regression"], ("slack",), datetime.now(UTC))
    ((text,),) = store.query("SELECT event FROM outbox_events").rows
    old = {key: value for key, value in json.loads(text).items() if key != "see"}
    with store.transaction() as transaction:
        transaction.execute("UPDATE outbox_events SET event = ?", [json.dumps(old | {"gone": 1})])
    made = dispatcher(store, slack=slack)
    made.settle()
    made.close()
    store.close()
    assert [attrs.evolve(one, attachments=()) for one in slack.told] == [
        attrs.evolve(EVENTS["regression"], see=None)  # type: ignore[call-arg]
    ]


def test_a_short_pause_that_a_service_asks_for_is_waited_for() -> None:
    class Slow(Pager):
        def deliver(self, event: Event) -> Receipt | None:
            receipt = super().deliver(event)
            time.sleep(0.3)
            return receipt

    slack = Slow(ConnectorError("too many", retryable=True, retry_after=0.1))
    made = dispatcher(MemoryStore(), slack=slack)
    made.tell(EVENTS["regression"])
    made.settle()
    made.close()
    assert len(slack.told) == 1 and made.problems() == []


def test_the_time_that_a_picture_takes_is_not_the_silence_of_a_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relaying, "SILENT_S", 0.1)
    drawing = threading.Event()

    def draw(event: Event) -> Sequence[Attachment]:
        drawing.wait(10)
        return (Attachment(name="a.png", media_type="image/png", data=b""),)

    class Shower(Pager):
        def deliver(self, event: Event) -> Receipt | None:
            assert len(event.attachments) == 1
            return super().deliver(event)

    store, slack = opened(tmp_path), Shower()

    def told() -> Dispatcher:
        made = Dispatcher(store, {"slack": Route(slack, frozenset(FOR_PEOPLE))}, draw)
        made.start()
        made.tell(EVENTS["regression"])
        return made

    made = told()
    made.settle(0.3)
    late = ["slack: not delivered yet: its pictures take long (accel outbox list)"]
    assert made.problems() == late
    made.close()
    ((attempts,),) = store.query("SELECT attempts FROM outbox_deliveries").rows
    assert attempts == 0, "the next process waits for it as if it were new"
    made = told()
    threading.Timer(0.3, drawing.set).start()
    made.settle()
    made.close()
    assert len(slack.told) == 1, "whoever was closed meanwhile tells nothing any more"
    store.close()


@pytest.mark.parametrize("asked_s", [1e300, 4e9])
def test_an_endless_pause_that_a_service_asks_for_ends(asked_s: float) -> None:
    error = ConnectorError("come back", retryable=True, retry_after=asked_s)
    relay = relayed(Pager(error), EVENTS["regression"])
    assert settle([relay], 10) and relay.failure is not None
    relay.close(10)
    assert retry_after_s("inf", NOW) is None and retry_after_s("nan", NOW) is None


def test_what_was_given_up_is_said_though_the_next_arrived() -> None:
    made = dispatcher(MemoryStore(), slack=Pager(ConnectorError("no right", retryable=False)))
    made.tell(EVENTS["regression"])
    made.tell(EVENTS["run_finished"])
    made.settle()
    assert made.problems() == [
        "slack: a message was given up: no right (without [store] it is lost)"
    ]
    made.close()


def test_what_a_connector_wants_told_next_is_no_event_and_hurts_only_itself() -> None:
    wrong: Any = ("not an event",)
    pager = Pager(Receipt(events=wrong))
    relay = relayed(pager, EVENTS["regression"], EVENTS["run_finished"])
    assert settle([relay], 10)
    relay.close(10)
    assert [one.kind for one in pager.told] == ["regression", "run_finished"]
    assert [one.kind for one in relay.given_up] == ["AttributeError"]


def test_a_picture_that_fails_does_not_hold_its_message() -> None:
    slack = Pager()
    wrong: Any = lambda event: 1 / 0  # noqa: E731
    made = Dispatcher(MemoryStore(), {"slack": Route(slack, frozenset(FOR_PEOPLE))}, wrong)
    made.start()
    made.tell(EVENTS["regression"])
    made.settle()
    made.close()
    assert [list(one.attachments) for one in slack.told] == [[]]


def test_nothing_is_drawn_for_whom_does_not_look_and_once_for_all_who_do() -> None:
    drawn: list[str] = []
    picture = Attachment(name="a.png", media_type="image/png", data=b"\x89")

    def draw(event: Event) -> Sequence[Attachment]:
        drawn.append(event.key)
        return (picture,)

    class Looking(Pager):
        def deliver(self, event: Event) -> Receipt | None:
            assert list(message_of(event).attachments) == [picture]
            return super().deliver(event)

    for made_of, times in ((Pager, 0), (Looking, 1)):
        pagers = {name: made_of() for name in ("slack", "jira")}
        routes = {name: Route(pager, frozenset(FOR_PEOPLE)) for name, pager in pagers.items()}
        made = Dispatcher(MemoryStore(), routes, draw)
        made.start()
        made.tell(EVENTS["regression"])
        made.settle()
        made.close()
        assert all(len(pager.told) == 1 for pager in pagers.values()) and len(drawn) == times


def test_notifications_keep_who_they_are_for() -> None:
    notification = EVENTS["notification"]
    assert isinstance(notification, Notification)
    nobody = attrs.evolve(notification, to=("gone",))
    slack = Pager()
    made = dispatcher(MemoryStore(), slack=slack)
    made.tell(nobody)
    made.settle()
    made.close()
    assert slack.told == []
