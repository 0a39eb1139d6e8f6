# SPDX-License-Identifier: Apache-2.0
"""The connector that makes messages for other connectors of events, by rules.

An event that a rule is about joins a group. A notification to the connector itself, which the
outbox keeps until the group is due, is the group's timer: when it comes, the group is told as it is
then. Everything has the same id when it is done twice, so that a process that dies between doing
and acknowledging doubles nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import attrs

from accelerate_core.errors import AccelerateError, ConfigError, ConnectorError, did_you_mean
from accelerate_core.events import Event, Notification
from accelerate_core.memory_store import MemoryStore
from accelerate_core.protocols import Connector, Receipt, Store
from accelerate_core.types import RunInfo

from . import planning
from .alerts import Alert, about, latest
from .book import Book, Group, MemoryBook
from .rendering import Renderer
from .settings import KNOWN, Escalation, NotifySettings, Rule
from .stored import StoredBook

_ESCALATE = "escalate"


def _now() -> datetime:
    return datetime.now(UTC)


@attrs.frozen(kw_only=True)
class Preview:
    """Say what a rule would do with an event."""

    rule: str
    mismatch: str | None  #: why nothing
    to: tuple[str, ...] = ()
    due_at: datetime | None = None  #: by the clock of the rules
    message: Notification | None = None
    escalate: Escalation | None = None


def can_be_told(connector: Connector) -> bool:
    """Whether rules may name a connector: no other rules, and none that shows what is."""
    return not isinstance(connector, Notifier) and not getattr(connector, "is_live", False)


class Notifier:
    """Tell other connectors what rules say."""

    def __init__(
        self, settings: NotifySettings, renderer: Renderer, now: Callable[[], datetime] = _now
    ) -> None:
        self._rules = {rule.name: rule for rule in settings.named()}
        self._zone = settings.zone
        self._renderer = renderer
        self._now = now
        self._own = "notify"
        self._others: Mapping[str, Connector] | None = None
        self._store: Store | None = None
        self._book: Book = MemoryBook()
        self._latest: tuple[str, RunInfo | None] = ("", None)
        self._is_closed = False

    @property
    def rules(self) -> Sequence[Rule]:
        """Its rules in their order, each with its name."""
        return tuple(self._rules.values())

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of events that its rules are about."""
        return tuple(dict.fromkeys(kind for rule in self._rules.values() for kind in rule.on))

    @property
    def tells(self) -> frozenset[str]:
        """The ids of whom its rules tell."""
        return frozenset(other for rule in self._rules.values() for other in rule.told)

    def meet(self, name: str, others: Mapping[str, Connector]) -> None:
        """Check whom rules name; ConfigError for who cannot be told."""
        self._own = name
        self._others = {other: one for other, one in others.items() if can_be_told(one)}
        for rule in self._rules.values():
            for other in rule.told:
                if other not in self._others:
                    raise ConfigError(
                        f"{rule.name}: no connector that can be told has the id {other!r}",
                        accepted=tuple(self._others) or ("none is in the file",),
                        hint=did_you_mean(other, self._others)
                        or 'Add it: [[connectors]] use = "slack", on = ["notification"]',
                    )

    def attach(self, store: Store) -> None:
        """Keep in this store what waits; in one of memory it is kept until the process ends."""
        self._store = store
        if not isinstance(store, MemoryStore):
            self._book = StoredBook(store, self._own)
            self._book.forget(self._now())

    def unkept(self) -> Sequence[str]:
        """Return what is lost without a store, in words."""
        late = [rule for rule in self._rules.values() if planning.may_wait(rule)]
        return [f"what {rule.name!r} lets wait" for rule in late]

    def deliver(self, event: Event) -> Receipt | None:
        """Take an event into the groups of its rules, or tell a group that is due."""
        if self._is_closed:
            raise ConnectorError("it is closed", where=self._own, retryable=False)
        try:
            if isinstance(event, Notification):
                events = tuple(self._timer(event)) if event.to == (self._own,) else ()
            else:
                events = tuple(self._take(event)) if event.kind in KNOWN else ()
        except ConnectorError:
            raise
        except AccelerateError as error:
            raise ConnectorError(
                f"what waits cannot be kept: {error.info.message}",
                where=self._own,
                hint=error.info.hint,
                retryable=True,
            ) from error
        return Receipt(events=events)

    def check(self) -> Sequence[str]:
        """Return what is wrong with where it keeps what waits."""
        try:
            self._book.get("")
        except AccelerateError as error:
            return (f"what waits cannot be read from the store: {error.info.message}",)
        return ()

    def close(self) -> None:
        """Take nothing more."""
        self._is_closed = True

    def preview(self, event: Event, run: RunInfo | None = None) -> Iterator[Preview]:
        """Yield what each rule would do with an event if nothing else waited."""
        alert, now = about(event, lambda _: run), self._now()
        for rule, reason, to in planning.matching(self._rules.values(), alert):
            if reason or not to:
                yield Preview(rule=rule.name, mismatch=reason or "earlier rules tell all it names")
                continue
            group = self._opened(rule, to, alert, now, told_at=None)
            yield Preview(
                rule=rule.name,
                mismatch=None,
                to=to,
                due_at=group.due_at.astimezone(self._zone),
                escalate=rule.escalate,
                message=self._message(group, rule, (alert,), now),
            )

    def _take(self, event: Event) -> Iterator[Event]:
        """Join an event to the groups of the rules that are about it; yield their timers."""
        alert = about(event, self._run)
        for rule, reason, to in planning.matching(self._rules.values(), alert):
            if reason is None and to:
                yield self._alarm(self._joined(rule, to, alert))

    def _joined(self, rule: Rule, to: tuple[str, ...], alert: Alert) -> Group:
        if held := self._book.holding(rule.name, alert.key):
            return held[0]  # a process died before this was acknowledged
        now = self._now()
        newest, told_at = self._book.newest(rule.name, to, planning.cause(rule, alert))
        group = self._opened(rule, to, alert, now, told_at)
        if newest and newest.told_at is None and not self._book.is_over(self._alarm(newest).key):
            # What is urgent, or a rule that changed, brings forward what waits already.
            is_moved = group.due_at < newest.due_at
            group = attrs.evolve(newest, due_at=group.due_at) if is_moved else newest
            self._book.join(group, alert, is_moved=is_moved)
        else:
            self._book.open(group, alert)
        return group

    def _opened(
        self,
        rule: Rule,
        to: tuple[str, ...],
        alert: Alert,
        now: datetime,
        told_at: datetime | None,
    ) -> Group:
        """Return a new group for an alert, due when its rule says."""
        cause = planning.cause(rule, alert)
        named = "\n".join((self._own, rule.name, *to, cause, alert.key))
        return Group(
            id=hashlib.sha256(named.encode()).hexdigest()[:20],
            rule=rule.name,
            to=to,
            cause=cause,
            run_id=alert.run_id,
            opened_at=now,
            due_at=planning.due_at(rule, self._zone, alert, now, told_at),
        )

    def _timer(self, event: Notification) -> Iterator[Event]:
        """Tell the group whose timer this is; yield its message and what follows."""
        name, _, what = event.id.partition(".")
        group = self._book.get(name)
        if group is None:
            return  # forgotten: it was told long ago
        rule, alerts, now = self._rules.get(group.rule), self._book.alerts(name), self._now()
        if what == _ESCALATE:
            yield from self._escalation(group, rule, alerts, now)
            return
        if group.told_at is None:
            loud = now
            if rule and not any(planning.is_urgent(rule, alert) for alert in alerts):
                # No process was there when it was due, and now it is quiet.
                loud = rule.quiet(self._zone).loud_from(now)
            if loud > now:
                group = attrs.evolve(group, due_at=loud)
                self._book.change(group)
                yield self._alarm(group)
                return
            message = self._message(group, rule, alerts, now)
            group = attrs.evolve(group, told_at=now, title=message.title)
            self._book.change(group)
        else:
            message = self._message(group, rule, alerts, group.told_at)
        yield message
        if rule and rule.escalate and any(alert.regression for alert in alerts):
            assert group.told_at is not None
            yield self._alarm(
                attrs.evolve(group, due_at=group.told_at + timedelta(seconds=rule.escalate.after)),
                _ESCALATE,
            )

    def _escalation(
        self, group: Group, rule: Rule | None, alerts: Sequence[Alert], now: datetime
    ) -> Iterator[Event]:
        """Yield what is told because regressions stayed open."""
        regressions = [alert for alert in alerts if alert.regression]
        settled = self._book.settled(regressions)
        still = [alert for alert in latest(regressions) if alert.subject not in settled]
        if rule is None or rule.escalate is None or not still:
            return
        at = group.escalated_at or now
        self._book.change(attrs.evolve(group, escalated_at=at))
        yield self._renderer.notification(
            "escalation",
            still,
            rule=rule.name,
            base=Notification(
                id=f"{group.id}.escalated",
                run_id=group.run_id,
                at=at,
                to=self._reachable(group, rule.escalate.to),
                title="",
            ),
            zone=self._zone,
            after_s=rule.escalate.after,
        )

    def _message(
        self, group: Group, rule: Rule | None, alerts: Sequence[Alert], now: datetime
    ) -> Notification:
        shown = latest(alerts)
        template = "group" if len(shown) > 1 else "alert"
        to = self._reachable(group, group.to, rule.to if rule else ())
        return self._renderer.notification(
            "digest" if group.cause == planning.DIGEST else template,
            shown,
            rule=group.rule,
            base=Notification(id=group.id, run_id=group.run_id, at=now, to=to, title=""),
            zone=self._zone,
        )

    def _reachable(self, group: Group, *wanted: tuple[str, ...]) -> tuple[str, ...]:
        """Return who is in the file, of the first of these in which anybody is.

        The file may have changed since the group was opened.
        """
        for to in wanted:
            if found := tuple(one for one in to if self._others is None or one in self._others):
                return found
        raise ConnectorError(
            f"{group.rule}: nobody of {', '.join(group.to)} is in the file any more",
            where=self._own,
            hint="Add the connector again and: accel outbox retry",
            retryable=False,
        )

    def _alarm(self, group: Group, what: str = "") -> Notification:
        """Return the notification to oneself that comes when a group is due."""
        return Notification(
            id=f"{group.id}.{what or group.due_at.isoformat()}",
            run_id=group.run_id,
            at=group.opened_at,
            to=(self._own,),
            title=f"{group.rule}: {what or 'wait'}",
            not_before=group.due_at,
        )

    def _run(self, run_id: str) -> RunInfo | None:
        """Return a run that the store knows."""
        if self._store is None:
            return None
        if self._latest[0] != run_id:
            found = {run.id: run for run in self._store.runs()}.get(run_id)
            if found is None:  # none of the latest, or nobody stored it: its branch is unknown
                with contextlib.suppress(AccelerateError):
                    found = self._store.summary(run_id).run
            self._latest = (run_id, found)
        return self._latest[1]
