# SPDX-License-Identifier: Apache-2.0
"""What judges, shows and tells: analyses, reports, connectors. Synchronous, called in threads."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import attrs

from ..types import (
    Measurement,
    RunSummary,
)

if TYPE_CHECKING:
    from ..events import Event, Regression
    from .keeping import Store


class Analysis(Protocol):
    """Judge a run against what the store remembers. Called in a thread, the run's rows stored.

    What it raises is shown as a problem: the results of the run do not depend on it. A third method
    may be there: `still_worse(summary, news, store)` returns a line about each thing that earlier
    runs told to be worse and that is so still, for who reads of this run's end; `news` is what
    `conclude` returned.
    """

    def suspects(self, summary: RunSummary, store: Store) -> Collection[str]:
        """Return the ids of measurements that look worse than their history.

        Their cells are measured again, on fresh workers, before `conclude`.
        """
        ...

    def conclude(
        self, summary: RunSummary, again: Sequence[Measurement], store: Store
    ) -> Sequence[Regression]:
        """Store what is confirmed, and return what people are to be told of, worst first.

        `again` are the second measurements, as they were stored.
        """
        ...


class Report(Protocol):
    """Write what a run found."""

    def write(self, summary: RunSummary) -> Path | None:
        """Write the report and return its path, or None when it went to the terminal.

        A file is replaced as a whole or not at all.
        """
        ...


@attrs.frozen(kw_only=True)
class Receipt:
    """Say what became of an event: the item at the service, and what to tell next."""

    id: str = ""  #: of the item, as the service calls it
    url: str | None = None
    #: Put into the outbox together with the news that this one was delivered.
    events: tuple[Event, ...] = ()


class Connector(Protocol):
    """Tell people and systems outside.

    Three attributes may be there: `kinds`, the events it is told of where the file has no `on`
    (`delivering.FOR_PEOPLE` without it); `is_live`: it shows what is, so that it is told at once
    and nothing is kept for it; and `tells`, the ids of others that it makes notifications for.
    Three methods may be there, each called once: `meet(name, others)` when all are made, with its
    id and the others by theirs (ConfigError for a setting that names none of them); `unkept()`
    where the file has no `[store]`: it returns what is lost with the process then, in words; and
    `attach(store)` before the first event, of a run or of a test.
    """

    def deliver(self, event: Event) -> Receipt | None:
        """Deliver one event; ConnectorError when it could not be.

        It may be told one twice: when the process died before the answer was stored. `event.key`
        is then the same, and an item that has it is not made again; `event.subject` names what the
        event is about, by which an item of an earlier event is found and brought up to date.
        """
        ...

    def check(self) -> Sequence[str]:
        """Return what is wrong with settings, reachability and rights; empty when all is well."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...
