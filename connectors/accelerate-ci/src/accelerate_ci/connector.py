# SPDX-License-Identifier: Apache-2.0
"""The connector `ci`: results in the job, in its pull request and on its commit."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from accelerate_core.delivering.outbox import unpack
from accelerate_core.errors import ConnectorError, Unsupported
from accelerate_core.events import Event, Regression, RunFinished
from accelerate_core.protocols import Receipt, Store

from .detecting import Here
from .hosts import MARKER, Host
from .rendering import findings, fitted, shown
from .values import Line, Output, Shown
from .writing import write

_log = logging.getLogger("accelerate.ci")


class CiConnector:
    """Show runs where they run; outside of CI it does nothing, and says so."""

    kinds = ("regression", "run_failed", "run_finished")

    def __init__(self, here: Here | None) -> None:
        """Take the job; None outside of CI."""
        self._here = here
        self._store: Store | None = None
        self._host: Host | None = None
        self._regressions: dict[str, dict[str, Regression]] = {}
        #: What stands in the log: a second try must not repeat it.
        self._written: set[str] = set()
        self._is_closed = False
        if here is None:
            _log.info("this is no CI job: the connector ci shows nothing")

    def attach(self, store: Store) -> None:
        """Take the store, which knows what an earlier process was to tell."""
        self._store = store

    def deliver(self, event: Event) -> Receipt | None:
        """Show one event; ConnectorError where pull request or commit cannot be reached."""
        if self._is_closed:
            raise ConnectorError("the connector is closed", where="ci", retryable=True)
        if (here := self._here) is None or event.kind not in self.kinds:
            return None
        if isinstance(event, Regression):
            self._regressions.setdefault(event.run_id, {})[event.key] = event
        self._once(event.key, lambda: here.provider.annotate(findings(event), here.environ))
        if not isinstance(event, RunFinished):
            return None
        told = shown(event, self._of_run(event.run_id))
        self._once(
            f"{event.key}:show",
            lambda: [
                *here.provider.summarize(told.markdown, event.key, here.environ),
                *here.provider.report(told, here.environ),
            ],
        )
        return self._tell(here, told, event.link or here.job.job_url)

    def check(self) -> Sequence[str]:
        """Return which token or right is missing to comment and to set statuses."""
        if self._here is None or self._here.job.is_fork:
            return []
        try:
            host = self._reached(self._here)
            return host.check() if host is not None else []
        except ConnectorError as error:
            return [str(error)]

    def close(self) -> None:
        """Take no more events."""
        self._is_closed = True
        if self._host is not None:
            self._host.close()
            self._host = None

    def _once(self, key: str, make: Callable[[], Sequence[Output]]) -> None:
        if key in self._written:
            return
        try:
            write(make())
        except OSError as error:
            raise ConnectorError(
                f"{error.filename} cannot be written: {error.strerror}",
                where="ci",
                hint="Run in a folder that the job may write into.",
                retryable=False,
            ) from None
        self._written.add(key)

    def _of_run(self, run_id: str) -> list[Regression]:
        """Return a run's regressions: those told here, and those an earlier process stored."""
        known = dict(self._regressions.get(run_id, {}))
        if self._store is not None:
            try:
                table = self._store.query(
                    "SELECT kind, event FROM outbox_events"
                    " WHERE run_id = ? AND kind = ? ORDER BY put_at, key",
                    [run_id, Regression.kind],
                )
            except Unsupported:
                return list(known.values())  # it keeps nothing
            for kind, text in table.rows:
                event = unpack(kind, text, self._store)
                if isinstance(event, Regression):
                    known.setdefault(event.key, event)
        return list(known.values())

    def _reached(self, here: Here) -> Host | None:
        if self._host is None:
            self._host = here.provider.host(here.job, here.environ)
        return self._host

    def _tell(self, here: Here, told: Shown, link: str | None) -> Receipt | None:
        """Comment and set the status. What cannot be done does not keep the other from it."""
        errors: list[ConnectorError] = []
        url = None
        for act in (self._comment, self._status):
            try:
                url = act(here, told, link) or url
            except ConnectorError as error:
                errors.append(error)
        if not errors:
            return Receipt(url=url)
        # What may pass comes first: it is tried again, and the other with it.
        worst = next((one for one in errors if one.info.retryable), errors[0])
        if worst.info.retryable or not here.job.is_fork:
            raise worst
        self._once(f"{told.key}:fork", lambda: [Line(_of_fork(worst))])
        return None

    def _comment(self, here: Here, told: Shown, link: str | None) -> str | None:
        job = here.job
        if job.pull_request is None or (host := self._reached(here)) is None:
            return None
        text = fitted(told.markdown, host.most - MARKER, link)
        return host.comment(told.name, text)

    def _status(self, here: Here, told: Shown, link: str | None) -> None:
        if here.job.commit is None or (host := self._reached(here)) is None:
            return
        host.status(told, link)


def _of_fork(error: ConnectorError) -> str:
    return (
        "Neither a comment nor a status was made: this pull request comes from a fork, whose jobs "
        f"have no rights here ({error.info.where}: {error.info.message})."
    )
