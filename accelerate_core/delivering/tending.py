# SPDX-License-Identifier: Apache-2.0
"""What people do with an outbox: look, try again, drop."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs

from ..errors import ConfigError, ErrorInfo
from ..serial import from_plain

if TYPE_CHECKING:
    from ..protocols import Records, Store

STATES = ("waiting", "dead", "delivered", "dropped")
#: What did not arrive and still may.
_UNDONE = ("waiting", "dead")


@attrs.frozen(kw_only=True)
class Delivery:
    """Say what became of one event for one connector."""

    number: int  #: what people call it; the order in which they are told
    key: str
    kind: str
    connector: str
    state: str
    put_at: datetime  #: UTC
    due_at: datetime
    attempts: int
    url: str | None
    error: ErrorInfo | None


_SELECT = """
SELECT number, d.key, kind, connector, state, d.put_at, due_at, attempts, url, error
FROM outbox_deliveries AS d JOIN outbox_events AS e ON e.key = d.key"""


def deliveries(
    store: Records, states: Sequence[str] = STATES, connector: str | None = None
) -> list[Delivery]:
    """Return what is kept in these states, oldest first."""
    terms = [f"state IN ({', '.join('?' for _ in states)})"]
    values: list[Any] = list(states)
    if connector is not None:
        terms.append("connector = ?")
        values.append(connector)
    table = store.query(f"{_SELECT} WHERE {' AND '.join(terms)} ORDER BY number", values)
    return [
        Delivery(
            number=number,
            key=key,
            kind=kind,
            connector=name,
            state=state,
            put_at=put_at.replace(tzinfo=UTC),
            due_at=due_at.replace(tzinfo=UTC),
            attempts=attempts,
            url=url,
            error=from_plain(json.loads(error), ErrorInfo) if error else None,
        )
        for number, key, kind, name, state, put_at, due_at, attempts, url, error in table.rows
    ]


def chosen(store: Records, words: Sequence[str]) -> list[Delivery]:
    """Return deliveries by number, or by how their key begins; ConfigError for an unknown word."""
    known = deliveries(store)
    found: dict[int, Delivery] = {}
    for word in words:
        alike = [
            one
            for one in known
            if (word.isdigit() and one.number == int(word)) or one.key.startswith(word)
        ]
        if not alike:
            raise ConfigError(
                f"nothing in the outbox is called {word!r}",
                accepted=[str(one.number) for one in known[-10:]],
                hint="List it: accel outbox list --all",
            )
        found.update((one.number, one) for one in alike)
    return [found[number] for number in sorted(found)]


def retry(store: Store, wanted: Sequence[Delivery], now: datetime) -> list[Delivery]:
    """Make what is not delivered due now, as if it were new; return what was not."""
    again = [one for one in wanted if one.state in _UNDONE]
    moment = now.astimezone(UTC).replace(tzinfo=None)
    with store.transaction() as transaction:
        for one in again:
            transaction.execute(
                "UPDATE outbox_deliveries SET state = 'waiting', put_at = ?, due_at = ?,"
                " ended_at = NULL WHERE key = ? AND connector = ?",
                [moment, moment, one.key, one.connector],
            )
    return again


def drop(store: Store, wanted: Sequence[Delivery], now: datetime) -> list[Delivery]:
    """Never deliver what was not delivered yet; return what was not."""
    dropped = [one for one in wanted if one.state in _UNDONE]
    with store.transaction() as transaction:
        for one in dropped:
            transaction.execute(
                "UPDATE outbox_deliveries SET state = 'dropped', ended_at = ?"
                " WHERE key = ? AND connector = ?",
                [now.astimezone(UTC).replace(tzinfo=None), one.key, one.connector],
            )
    return dropped
