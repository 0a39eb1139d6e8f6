# SPDX-License-Identifier: Apache-2.0
"""Issues for what goes wrong: made once, told what is new, moved when it is fixed or back."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import TYPE_CHECKING

import attrs

from accelerate_core.addresses import is_link
from accelerate_core.errors import ConnectorError
from accelerate_core.events import Attachment, Event, Regression, RunFailed, RunFinished
from accelerate_core.memory_store import MemoryStore
from accelerate_core.protocols import Receipt, Store

from .fitting import summary
from .items import Item, items_of
from .known import Known, Memory, ProcessMemory, StoredMemory
from .moving import Goal, chosen
from .plugin import JiraSettings
from .values import Issue, Refusal

if TYPE_CHECKING:
    from .api import Site

#: How often the search is asked for an issue that may be there.
_LOOK_S = 5.0


class JiraConnector:
    """Keep one issue for each regression and each series that fails."""

    #: The end of a run says which series are well again.
    kinds = (Regression.kind, RunFailed.kind, RunFinished.kind)

    def __init__(self, settings: JiraSettings) -> None:
        self._settings = settings
        self._site: Site | None = None
        self._memory: Memory = ProcessMemory()
        self._is_closed = False
        self._lock = threading.Lock()

    def attach(self, store: Store) -> None:
        """Remember in the store which issues are there."""
        if not isinstance(store, MemoryStore):
            self._memory = StoredMemory(store, self._settings.url, self._settings.project)

    def deliver(self, event: Event) -> Receipt | None:
        """Make or update the issues an event is about; each step is done once, however often."""
        with self._lock:
            items = self._due(event)
            if not items:
                return None
            site = self._connected()
            try:
                issues = self._tell_all(site, items, event)
            finally:
                if self._is_closed:
                    site.close()
        if not issues:
            return None
        return Receipt(id=" ".join(one.key for one in issues), url=site.address(issues[0].key))

    def check(self) -> Sequence[str]:
        """Return what is wrong with address, account, rights and settings."""
        from .checking import problems

        try:
            return problems(self._connected(), self._settings)
        except ConnectorError as error:
            return [str(error)]

    def close(self) -> None:
        """Close the connections, or have what is being told close them when it is."""
        self._is_closed = True
        if self._lock.acquire(blocking=False):
            try:
                if self._site is not None:
                    self._site.close()
            finally:
                self._lock.release()

    def _connected(self) -> Site:
        if self._is_closed:
            raise ConnectorError("the connector is closed", where="jira", retryable=True)
        if self._site is None:
            # In the connector's thread: the client takes most of a second to import.
            from .api import Site

            self._site = Site(self._settings)
        return self._site

    def _due(self, event: Event) -> list[Item]:
        items = items_of(event)
        if not any(one.is_routine for one in items):
            return items
        unfixed = self._memory.unfixed(event.key)
        return [one for one in items if not one.is_routine or one.message.subject in unfixed]

    def _tell_all(self, site: Site, items: Sequence[Item], event: Event) -> list[Issue]:
        """Return the issues that were told; what cannot be done to one leaves out no other."""
        told: list[Issue] = []
        refusal: ConnectorError | None = None
        for item in items:
            try:
                issue = self._tell(site, item, event)
            except ConnectorError as error:
                if error.info.retryable:
                    raise
                refusal = refusal or error
            else:
                told += [issue] if issue is not None else []
        if refusal is not None:
            raise refusal
        return told

    def _tell(self, site: Site, item: Item, event: Event) -> Issue | None:
        message = item.message
        issue = self._find(site, item)
        if issue is None and item.is_over:
            return None  # nobody was told that it was bad
        if issue is None:
            issue = self._create(site, item)
        elif not site.was_told(issue, message):
            site.comment(issue, message)
        # Before it is moved: a move that cannot be is said once, and not by every run from now on.
        self._note(message.subject, event.key if item.is_over else None)
        if item.is_over and issue.category != "done":
            self._move(site, issue, self._settings.when_fixed)
        elif not item.is_over and issue.category == "done":
            self._move(site, issue, self._settings.when_back)
        if is_link(message.link):
            site.link(issue, item.label, message.link, summary(message))
        for file in message.attachments:
            if file.data and (name := _name(file, event.run_id)) not in issue.files:
                site.attach(issue, name, file)
        return issue

    def _note(self, subject: str, fixed_by: str | None) -> None:
        known = self._memory.get(subject)
        if known is not None and known.fixed_by != fixed_by:
            self._memory.put(subject, attrs.evolve(known, fixed_by=fixed_by))

    def _find(self, site: Site, item: Item) -> Issue | None:
        """Return the issue about a subject; ConnectorError while there may be one.

        JIRA's search shows what was made after seconds to minutes ("Search after write"), so it
        is asked only for what nobody here made, or made without hearing the end of it.
        """
        subject = item.message.subject
        known = self._memory.get(subject)
        if known is not None and known.issue is not None:
            if (issue := site.issue(known.issue)) is not None:
                return issue
            self._memory.forget(subject)  # deleted, or moved out of sight
            known = None
        for identity in site.search(item.label):
            if (issue := site.issue(identity)) is not None:
                self._memory.put(subject, Known(asked_at=_now(), issue=issue.id))
                return issue
        if known is not None:
            lag = timedelta(seconds=self._settings.search_lag_s)
            if (left_s := (known.asked_at + lag - _now()).total_seconds()) > 0:
                raise ConnectorError(
                    "an answer got lost: the issue may be there, and the search does not show it"
                    " yet",
                    where="jira",
                    retryable=True,
                    retry_after=min(left_s, _LOOK_S),
                )
        return None

    def _create(self, site: Site, item: Item) -> Issue:
        message, asked_at = item.message, _now()
        self._memory.put(message.subject, Known(asked_at=asked_at))
        try:
            identity = site.create(summary(message), item.label, message)
        except ConnectorError as error:
            if isinstance(error.__cause__, Refusal):
                self._memory.forget(message.subject)
            raise
        self._memory.put(message.subject, Known(asked_at=asked_at, issue=identity))
        issue = site.issue(identity)
        if issue is None:
            raise ConnectorError(
                f"the account may not see the issue that it made ({identity})",
                where="jira",
                hint="Give it Browse Projects, and a security level that it sees.",
                retryable=False,
            )
        return issue

    def _move(self, site: Site, issue: Issue, goal: Goal) -> None:
        moves = site.moves(issue.id)
        move = chosen(moves, goal)
        if move is None:
            raise ConnectorError(
                f"no transition of {issue.key} leads to {goal.where}",
                where="jira",
                accepted=sorted(one.status for one in moves),
                hint=f"Name one of these in `{goal.name}_status`, or give the account Transition"
                " Issues.",
                retryable=False,
            )
        site.move(issue, move, move.filled(goal))


def _name(file: Attachment, run_id: str) -> str:
    """Return a name that no other run's picture has."""
    path = PurePath(file.name)
    return f"{path.stem}-{run_id}{path.suffix}"


def _now() -> datetime:
    return datetime.now(UTC)
