# SPDX-License-Identifier: Apache-2.0
"""The outbox: what connectors are to be told, in the store beside what it tells of."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from ..errors import ErrorInfo, StoreError
from ..events import EVENT_TYPES, Event, RunFailed, RunFinished
from ..markers import hookimpl
from ..protocols import Migration, TableSet
from ..serial import from_plain, to_plain

if TYPE_CHECKING:
    from ..protocols import Receipt, Store

#: What was delivered is shown so long; what was not is kept until somebody drops it.
KEPT_DAYS = 30
#: What failed so often lets others pass: it may be the message that the service cannot take.
YIELDING_TRIES = 5

_TABLES = """
CREATE TABLE outbox_events (
    key VARCHAR PRIMARY KEY,
    kind VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    put_at TIMESTAMP NOT NULL,
    event VARCHAR NOT NULL
);
CREATE SEQUENCE outbox_numbers;
CREATE TABLE outbox_deliveries (
    number BIGINT NOT NULL DEFAULT nextval('outbox_numbers'),
    key VARCHAR NOT NULL,
    connector VARCHAR NOT NULL,
    state VARCHAR NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead', 'dropped')),
    put_at TIMESTAMP NOT NULL,
    due_at TIMESTAMP NOT NULL,
    attempts INTEGER NOT NULL,
    ended_at TIMESTAMP,
    item VARCHAR,
    url VARCHAR,
    error VARCHAR,
    PRIMARY KEY (key, connector)
);
"""

_MEANINGS = {
    "outbox_events": "One row for each event that connectors are told of.",
    "outbox_events.key": "What this event has and no other",
    "outbox_events.kind": "Kind of event",
    "outbox_events.run_id": "Run it is of",
    "outbox_events.put_at": "When it was written, with what it tells of",
    "outbox_events.event": "The event as JSON; summaries of runs are not repeated in it",
    "outbox_deliveries": "One row for each event and connector.",
    "outbox_deliveries.number": "Order in which they are told; what people call it",
    "outbox_deliveries.key": "Event",
    "outbox_deliveries.connector": "Id of the connector",
    "outbox_deliveries.state": "waiting, delivered, dropped, or dead: until somebody retries it",
    "outbox_deliveries.put_at": "When the event was written",
    "outbox_deliveries.due_at": "Not tried before",
    "outbox_deliveries.attempts": "How often it was tried",
    "outbox_deliveries.ended_at": "When it was delivered, dropped or given up",
    "outbox_deliveries.item": "What the service calls the item",
    "outbox_deliveries.url": "Where the item is seen",
    "outbox_deliveries.error": "What the last try that failed said, as JSON",
}


class OutboxPlugin:
    """Contribute the outbox to whichever store is used."""

    name = "outbox"

    @hookimpl
    def store_tables(self) -> Sequence[TableSet]:
        """Return events and their deliveries."""
        migrations = (Migration(version=1, sql=_TABLES),)
        return (TableSet(namespace="outbox", migrations=migrations, meanings=_MEANINGS),)


@attrs.frozen(kw_only=True)
class Entry:
    """Hold one event for one connector."""

    key: str
    connector: str
    kind: str
    attempts: int  #: so far
    due_at: datetime  #: not tried before
    error: ErrorInfo | None = None  #: what the last try of this process said
    is_doubted: bool = False  #: whether this or anything else for the connector failed before
    #: Returns the event. It may not be there any more (StoreError), or be of a kind that only
    #: another version knows.
    read: Callable[[], Event] = attrs.field(eq=False, repr=False)


class Outbox(Protocol):
    """Keep what is to be delivered. Thread-safe; times are UTC."""

    def put(self, event: Event, connectors: Sequence[str], now: datetime) -> None:
        """Add an event for each connector; one that is there is left as it is."""
        ...

    def next(self, connector: str, now: datetime) -> Entry | None:
        """Return what to tell next, due or not; None when nothing waits.

        Of what is due the oldest, and last what failed `YIELDING_TRIES` times.
        """
        ...

    def delivered(self, entry: Entry, receipt: Receipt | None, now: datetime) -> None:
        """Mark one as delivered."""
        ...

    def failed(self, entry: Entry, now: datetime, *, is_over: bool = False) -> None:
        """Keep how often one was tried and what went wrong; it waits on unless that is over."""
        ...

    def forget(self, now: datetime) -> None:
        """Remove what arrived or was dropped `KEPT_DAYS` ago."""
        ...

    def atomically(self) -> contextlib.AbstractContextManager[Any]:
        """Make several calls one: all are stored, or none."""
        ...


class StoredOutbox:
    """An outbox in the tables of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def put(self, event: Event, connectors: Sequence[str], now: datetime) -> None:
        """Add an event for each connector; one that is there is left as it is."""
        at = _plain(now)
        with self._store.transaction() as transaction:
            # DuckDB takes twice as long for ON CONFLICT as for asking first.
            found = transaction.execute(
                "SELECT connector FROM outbox_deliveries WHERE key = ?"
                " UNION ALL SELECT NULL FROM outbox_events WHERE key = ?",
                [event.key, event.key],
            )
            known = {connector for (connector,) in found.rows}
            if not known:
                transaction.execute(
                    "INSERT INTO outbox_events VALUES (?, ?, ?, ?, ?)",
                    [event.key, event.kind, event.run_id, at, pack(event)],
                )
            if new := [connector for connector in connectors if connector not in known]:
                transaction.execute(
                    "INSERT INTO outbox_deliveries (key, connector, state, put_at, due_at,"
                    " attempts) SELECT ?, unnest(?), 'waiting', ?, ?, 0",
                    [event.key, new, at, _plain(due_at(event, now))],
                )

    def next(self, connector: str, now: datetime) -> Entry | None:
        """Return what to tell next, due or not; None when nothing waits.

        Of what is due the oldest, and last what failed `YIELDING_TRIES` times.
        """
        found = self._store.query(
            "SELECT key, kind, event, attempts, due_at, max(attempts) OVER () > 0"
            " FROM outbox_deliveries AS d JOIN outbox_events AS e USING (key)"
            " WHERE connector = ? AND state = 'waiting'"
            " ORDER BY greatest(due_at, ?), attempts >= ?, number LIMIT 1",
            [connector, _plain(now), YIELDING_TRIES],
        )
        if not found.rows:
            return None
        key, kind, event, attempts, due, is_doubted = found.rows[0]
        return Entry(
            key=key,
            connector=connector,
            kind=kind,
            attempts=attempts,
            due_at=due.replace(tzinfo=UTC),
            is_doubted=is_doubted,
            read=functools.cache(functools.partial(unpack, kind, event, self._store)),
        )

    def delivered(self, entry: Entry, receipt: Receipt | None, now: datetime) -> None:
        """Mark one as delivered."""
        with self._store.transaction() as transaction:
            transaction.execute(
                "UPDATE outbox_deliveries SET state = 'delivered', attempts = ?, ended_at = ?,"
                " item = ?, url = ? WHERE key = ? AND connector = ?",
                [
                    entry.attempts,
                    _plain(now),
                    (receipt.id or None) if receipt else None,
                    receipt.url if receipt else None,
                    entry.key,
                    entry.connector,
                ],
            )

    def failed(self, entry: Entry, now: datetime, *, is_over: bool = False) -> None:
        """Keep how often one was tried and what went wrong; it waits on unless that is over."""
        with self._store.transaction() as transaction:
            transaction.execute(
                "UPDATE outbox_deliveries SET state = ?, ended_at = ?, attempts = ?, error = ?"
                " WHERE key = ? AND connector = ? AND state = 'waiting'",
                [
                    "dead" if is_over else "waiting",
                    _plain(now) if is_over else None,
                    entry.attempts,
                    json.dumps(to_plain(entry.error)),
                    entry.key,
                    entry.connector,
                ],
            )

    def forget(self, now: datetime) -> None:
        """Remove what arrived or was dropped `KEPT_DAYS` ago."""
        before = _plain(now - timedelta(days=KEPT_DAYS))
        with self._store.transaction() as transaction:
            transaction.execute(
                "DELETE FROM outbox_deliveries"
                " WHERE state IN ('delivered', 'dropped') AND ended_at < ?",
                [before],
            )
            transaction.execute(
                "DELETE FROM outbox_events WHERE put_at < ?"
                " AND key NOT IN (SELECT key FROM outbox_deliveries)",
                [before],
            )

    def atomically(self) -> contextlib.AbstractContextManager[Any]:
        """Make several calls one: all are stored, or none."""
        return self._store.transaction()


def pack(event: Event) -> str:
    """Return an event as JSON; the summary of a run is in the store already."""
    data = to_plain(attrs.evolve(event, attachments=()))
    data.pop("attachments")
    if isinstance(event, RunFinished | RunFailed):
        data["summary"] = None
    return json.dumps(data)


def unpack(kind: str, text: str, store: Store) -> Event:
    """Return the event again; StoreError when the run it tells of is not there any more."""
    data = json.loads(text)
    if kind not in EVENT_TYPES:
        raise StoreError(f"events of the kind {kind!r} are unknown to this version")
    if kind not in (RunFinished.kind, RunFailed.kind):
        return from_plain(data, EVENT_TYPES[kind])
    summary = store.summary(data["run_id"])
    data["summary"] = to_plain(attrs.evolve(summary, measurements=()))
    event = from_plain(data, EVENT_TYPES[kind])
    assert isinstance(event, RunFinished | RunFailed)
    return attrs.evolve(event, summary=summary)


def stored(store: Store, keys: Sequence[str]) -> list[Event]:
    """Return events by their keys, in this order, without those that are gone."""
    found = store.query(
        "SELECT key, kind, event FROM outbox_events WHERE key IN (SELECT unnest(?))", [list(keys)]
    )
    events: dict[str, Event] = {}
    for key, kind, text in found.rows:
        with contextlib.suppress(StoreError):
            events[key] = unpack(kind, text, store)
    return [events[key] for key in keys if key in events]


def due_at(event: Event, put_at: datetime) -> datetime:
    """Return when an event is to be told first: some wait."""
    return max(put_at, getattr(event, "not_before", None) or put_at)


def _plain(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)
