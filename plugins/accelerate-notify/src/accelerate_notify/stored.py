# SPDX-License-Identifier: Apache-2.0
"""What waits to be told and what was, in the tables of a store."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from accelerate_core.delivering.outbox import KEPT_DAYS
from accelerate_core.errors import StoreError
from accelerate_core.protocols import Migration, TableSet
from accelerate_core.serial import from_plain, to_plain

from .alerts import Alert
from .book import Group

if TYPE_CHECKING:
    from accelerate_core.protocols import Store, Transaction

#: The history goes back so far.
KEPT = timedelta(days=90)

_TABLES = """
CREATE TABLE notify_groups (
    id VARCHAR PRIMARY KEY,
    connector VARCHAR NOT NULL,
    rule VARCHAR NOT NULL,
    receivers VARCHAR NOT NULL,
    cause VARCHAR NOT NULL,
    run_id VARCHAR NOT NULL,
    opened_at TIMESTAMP NOT NULL,
    due_at TIMESTAMP NOT NULL,
    told_at TIMESTAMP,
    title VARCHAR,
    escalated_at TIMESTAMP
);
CREATE TABLE notify_alerts (
    group_id VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    subject VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    happened_at TIMESTAMP NOT NULL,
    alert VARCHAR NOT NULL,
    PRIMARY KEY (group_id, key)
);
"""

_MEANINGS = {
    "notify_groups": "One row for each message that rules made of events, told or waiting.",
    "notify_groups.id": "What the outbox calls the notification",
    "notify_groups.connector": "Id of the connector whose rules these are",
    "notify_groups.rule": "Name of the rule",
    "notify_groups.receivers": "Ids of the connectors that are told, as JSON",
    "notify_groups.cause": "What its alerts have in common",
    "notify_groups.run_id": "Run of its first alert",
    "notify_groups.opened_at": "When its first alert came",
    "notify_groups.due_at": "Not told before",
    "notify_groups.told_at": "When the message was made and given to the outbox",
    "notify_groups.title": "Title of the message",
    "notify_groups.escalated_at": "When it was told again, because regressions stayed open",
    "notify_alerts": "One row for each event of a group.",
    "notify_alerts.group_id": "Group",
    "notify_alerts.key": "Key of the event",
    "notify_alerts.subject": "What the event is about, as a regression",
    "notify_alerts.status": "open or fixed",
    "notify_alerts.happened_at": "When it happened",
    "notify_alerts.alert": "What rules and templates know of the event, as JSON",
}

TABLES = TableSet(
    namespace="notify", migrations=(Migration(version=1, sql=_TABLES),), meanings=_MEANINGS
)

_COLUMNS = "id, rule, receivers, cause, run_id, opened_at, due_at, told_at, title, escalated_at"


class StoredBook:
    """Keep them in the tables of a store, for one connector."""

    def __init__(self, store: Store, connector: str) -> None:
        self._store = store
        self._connector = connector

    def open(self, group: Group, alert: Alert) -> None:
        """Keep a new group with its first alert."""
        with self._store.transaction() as transaction:
            transaction.execute(
                f"INSERT INTO notify_groups ({_COLUMNS}, connector)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    group.id,
                    group.rule,
                    json.dumps(group.to),
                    group.cause,
                    group.run_id,
                    *map(_plain, (group.opened_at, group.due_at, group.told_at)),
                    group.title,
                    _plain(group.escalated_at),
                    self._connector,
                ],
            )
            _add(transaction, group, alert)

    def join(self, group: Group, alert: Alert, *, is_moved: bool) -> None:
        """Add an alert that no group of the rule holds; keep when the group is due, if moved."""
        with self._store.transaction() as transaction:
            _add(transaction, group, alert)
            if is_moved:
                transaction.execute(
                    "UPDATE notify_groups SET due_at = ? WHERE id = ?",
                    [_plain(group.due_at), group.id],
                )

    def change(self, group: Group) -> None:
        """Keep when a group is due, and what was told of it."""
        with self._store.transaction() as transaction:
            transaction.execute(
                "UPDATE notify_groups SET due_at = ?, told_at = ?, title = ?, escalated_at = ?"
                " WHERE id = ?",
                [
                    *map(_plain, (group.due_at, group.told_at)),
                    group.title,
                    _plain(group.escalated_at),
                    group.id,
                ],
            )

    def get(self, group_id: str) -> Group | None:
        """Return a group; None when it is not known, or forgotten."""
        found = self._groups("id = ?", [group_id])
        return found[0] if found else None

    def holding(self, rule: str, key: str) -> tuple[Group, ...]:
        """Return the groups of a rule that hold an event."""
        return self._groups(
            "rule = ? AND id IN (SELECT group_id FROM notify_alerts WHERE key = ?)", [rule, key]
        )

    def newest(
        self, rule: str, to: Sequence[str], cause: str
    ) -> tuple[Group | None, datetime | None]:
        """Return the newest such group, and when one was told last."""
        found = self._store.query(
            f"SELECT {_COLUMNS}, max(told_at) OVER () FROM notify_groups"
            " WHERE connector = ? AND rule = ? AND receivers = ? AND cause = ?"
            " ORDER BY told_at IS NOT NULL, opened_at DESC LIMIT 1",
            [self._connector, rule, json.dumps(tuple(to)), cause],
        )
        for *row, told in found.rows:
            return _group(row), told and told.replace(tzinfo=UTC)
        return None, None

    def is_over(self, timer: str) -> bool:
        """Whether somebody dropped a group's timer, by its key, or it was given up."""
        found = self._store.query(
            "SELECT state FROM outbox_deliveries WHERE key = ? AND connector = ?",
            [timer, self._connector],
        )
        return found.rows in ((("dropped",),), (("dead",),))

    def alerts(self, group_id: str) -> tuple[Alert, ...]:
        """Return a group's alerts, the first first."""
        found = self._store.query(
            "SELECT alert FROM notify_alerts WHERE group_id = ? ORDER BY happened_at, key",
            [group_id],
        )
        return tuple(from_plain(json.loads(alert), Alert) for (alert,) in found.rows)

    def settled(self, alerts: Iterable[Alert]) -> frozenset[str]:
        """Return the subjects of those regressions that are not open any more.

        People may have acknowledged or closed one by a command, of which there is no event.
        """
        by_id = {one.regression: one.subject for one in alerts}
        marks = ", ".join("?" for _ in by_id)
        found = self._store.query(
            "SELECT arg_max(subject, happened_at), arg_max(status, happened_at) FROM notify_alerts"
            f" WHERE subject IN ({marks}) GROUP BY subject",
            [*by_id.values()],
        ).rows
        with contextlib.suppress(StoreError):  # a store that knows no regressions
            known = self._store.query(
                f"SELECT id, status FROM performance_regressions WHERE id IN ({marks})", [*by_id]
            )
            found += tuple((by_id[one], status) for one, status in known.rows)
        return frozenset(subject for subject, status in found if status != "open")

    def forget(self, now: datetime) -> None:
        """Forget what was told `KEPT` ago, and what never will be: its timer was dropped."""
        with self._store.transaction() as transaction:
            transaction.execute(
                "DELETE FROM notify_groups WHERE told_at < ? OR (told_at IS NULL AND due_at < ?"
                " AND NOT EXISTS (SELECT 1 FROM outbox_deliveries WHERE state != 'dropped'"
                " AND starts_with(key, concat('notification:', run_id, ':', id, '.'))))",
                [_plain(now - KEPT), _plain(now - timedelta(days=KEPT_DAYS))],
            )
            transaction.execute(
                "DELETE FROM notify_alerts WHERE group_id NOT IN (SELECT id FROM notify_groups)"
            )

    def _groups(self, terms: str, values: Sequence[Any]) -> tuple[Group, ...]:
        found = self._store.query(
            f"SELECT {_COLUMNS} FROM notify_groups WHERE connector = ? AND {terms}"
            " ORDER BY opened_at DESC",
            [self._connector, *values],
        )
        return tuple(map(_group, found.rows))


def _add(transaction: Transaction, group: Group, alert: Alert) -> None:
    transaction.execute(
        "INSERT INTO notify_alerts VALUES (?, ?, ?, ?, ?, ?)",
        [
            group.id,
            alert.key,
            alert.subject,
            alert.status,
            _plain(alert.at),
            json.dumps(to_plain(alert)),
        ],
    )


def _group(row: Sequence[Any]) -> Group:
    identity, rule, to, cause, run_id, opened_at, due_at, told_at, title, escalated_at = row
    return Group(
        id=identity,
        rule=rule,
        to=tuple(json.loads(to)),
        cause=cause,
        run_id=run_id,
        opened_at=opened_at.replace(tzinfo=UTC),
        due_at=due_at.replace(tzinfo=UTC),
        told_at=told_at and told_at.replace(tzinfo=UTC),
        title=title,
        escalated_at=escalated_at and escalated_at.replace(tzinfo=UTC),
    )


def _plain(moment: datetime | None) -> datetime | None:
    return moment and moment.astimezone(UTC).replace(tzinfo=None)
