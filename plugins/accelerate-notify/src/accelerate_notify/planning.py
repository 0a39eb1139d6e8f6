# SPDX-License-Identifier: Apache-2.0
"""What rules make of an alert: who is told, together with what, and when. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from .alerts import Alert, mismatch, rank
from .settings import Rule
from .times import next_of

#: What all alerts of a digest have in common.
DIGEST = "digest"


def matching(
    rules: Iterable[Rule], alert: Alert
) -> Iterator[tuple[Rule, str | None, tuple[str, ...]]]:
    """Yield each rule, why it is not about the alert, and whom no earlier one tells."""
    told: set[str] = set()
    for rule in rules:
        reason = mismatch(rule, alert)
        to = () if reason else tuple(one for one in rule.to if one not in told)
        told.update(to)
        yield rule, reason, to


def cause(rule: Rule, alert: Alert) -> str:
    """Return what alerts of one group have in common."""
    if rule.digest and not is_urgent(rule, alert):
        return DIGEST
    if rule.group == "cause":
        return f"cause:{alert.cause}"
    return f"run:{alert.run_id}" if rule.group == "run" else f"event:{alert.key}"


def is_urgent(rule: Rule, alert: Alert) -> bool:
    """Whether an alert waits for nothing."""
    return rule.urgent is not None and rank(alert.severity) >= rank(rule.urgent)


def due_at(
    rule: Rule, zone: ZoneInfo, alert: Alert, now: datetime, told_at: datetime | None
) -> datetime:
    """Return when to tell a group that begins with this alert; its last one was told then."""
    if is_urgent(rule, alert):
        return now
    if rule.digest:
        due = next_of(rule.digest, zone, now)
    else:
        due = now + timedelta(seconds=rule.wait)
        if told_at is not None:
            # A clock that was wrong then does not keep anybody from being told for longer.
            due = max(due, min(told_at, now) + timedelta(seconds=rule.throttle))
    return rule.quiet(zone).loud_from(due)


def may_wait(rule: Rule) -> bool:
    """Whether anything of a rule is told later than it happens."""
    return bool(
        rule.wait
        or rule.throttle
        or rule.digest
        or rule.quiet_hours
        or rule.quiet_days
        or rule.escalate
    )
