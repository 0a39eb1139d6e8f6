# SPDX-License-Identifier: Apache-2.0
"""What waits to be told and what was: groups of alerts, here in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

import attrs

from .alerts import Alert


@attrs.frozen(kw_only=True)
class Group:
    """Hold alerts that are one message."""

    id: str
    rule: str
    to: tuple[str, ...]
    cause: str
    run_id: str  #: of its first alert
    opened_at: datetime
    due_at: datetime
    told_at: datetime | None = None
    title: str | None = None
    escalated_at: datetime | None = None


class Book(Protocol):
    """Keep groups and their alerts."""

    def open(self, group: Group, alert: Alert) -> None:
        """Keep a new group with its first alert."""
        ...

    def join(self, group: Group, alert: Alert, *, is_moved: bool) -> None:
        """Add an alert that no group of the rule holds; keep when the group is due, if moved."""
        ...

    def change(self, group: Group) -> None:
        """Keep when a group is due, and what was told of it."""
        ...

    def get(self, group_id: str) -> Group | None:
        """Return a group; None when it is not known, or forgotten."""
        ...

    def holding(self, rule: str, key: str) -> tuple[Group, ...]:
        """Return the groups of a rule that hold an event."""
        ...

    def newest(
        self, rule: str, to: Sequence[str], cause: str
    ) -> tuple[Group | None, datetime | None]:
        """Return the newest group with this rule, receivers and cause, and when one was told last.

        What waits is newer than what was told, whatever the clock said.
        """
        ...

    def is_over(self, timer: str) -> bool:
        """Whether somebody dropped a group's timer, by its key, or it was given up."""
        ...

    def alerts(self, group_id: str) -> tuple[Alert, ...]:
        """Return a group's alerts, the first first."""
        ...

    def settled(self, alerts: Iterable[Alert]) -> frozenset[str]:
        """Return the subjects of those regressions that are not open any more."""
        ...

    def forget(self, now: datetime) -> None:
        """Forget what was told long ago, and what never will be."""
        ...


class MemoryBook:
    """Keep them until the process ends."""

    def __init__(self) -> None:
        self._groups: dict[str, Group] = {}
        self._alerts: dict[str, dict[str, Alert]] = {}

    def open(self, group: Group, alert: Alert) -> None:
        """Keep a new group with its first alert."""
        self._groups[group.id], self._alerts[group.id] = group, {alert.key: alert}

    def join(self, group: Group, alert: Alert, *, is_moved: bool) -> None:
        """Add an alert that no group of the rule holds; keep when the group is due, if moved."""
        self._groups[group.id] = group
        self._alerts[group.id][alert.key] = alert

    def change(self, group: Group) -> None:
        """Keep when a group is due, and what was told of it."""
        self._groups[group.id] = group

    def get(self, group_id: str) -> Group | None:
        """Return a group; None when it is not known, or forgotten."""
        return self._groups.get(group_id)

    def holding(self, rule: str, key: str) -> tuple[Group, ...]:
        """Return the groups of a rule that hold an event."""
        return tuple(
            one for one in self._groups.values() if one.rule == rule and key in self._alerts[one.id]
        )

    def newest(
        self, rule: str, to: Sequence[str], cause: str
    ) -> tuple[Group | None, datetime | None]:
        """Return the newest such group, and when one was told last."""
        wanted = (rule, tuple(to), cause)
        found = [one for one in self._groups.values() if (one.rule, one.to, one.cause) == wanted]
        told = max((one.told_at for one in found if one.told_at), default=None)
        return max(found, key=lambda one: (not one.told_at, one.opened_at), default=None), told

    def is_over(self, timer: str) -> bool:
        """Return False: nobody drops what is in memory."""
        return False

    def alerts(self, group_id: str) -> tuple[Alert, ...]:
        """Return a group's alerts, the first first."""
        return tuple(sorted(self._alerts[group_id].values(), key=lambda one: (one.at, one.key)))

    def settled(self, alerts: Iterable[Alert]) -> frozenset[str]:
        """Return the subjects of those regressions that are not open any more."""
        known = sorted(
            (one for group in self._alerts.values() for one in group.values()),
            key=lambda one: one.at,
        )
        last = {one.subject: one.status for one in known}
        return frozenset(one.subject for one in alerts if last[one.subject] != "open")

    def forget(self, now: datetime) -> None:
        """Do nothing: it forgets with the process."""
