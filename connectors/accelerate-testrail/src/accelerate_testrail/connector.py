# SPDX-License-Identifier: Apache-2.0
"""Put runs into TestRail: each once, with a result for each measurement."""

from __future__ import annotations

from collections.abc import Sequence

from accelerate_core.errors import ConnectorError, StoreError
from accelerate_core.events import Event, Regression, RunFailed, RunFinished
from accelerate_core.protocols import Receipt, Store
from accelerate_core.types import CellStatus, RunSummary

from .api import TestRail
from .checking import problems
from .plugin import TestRailSettings
from .project import Entry, Project
from .rendering import mark, marks, regression_result, result


class TestRailConnector:
    """Deliver runs, and what became worse in them, to a project."""

    __test__ = False

    #: What is about cells and their results; TestRail has no place for messages.
    kinds = (RunFinished.kind, RunFailed.kind, Regression.kind)

    def __init__(self, settings: TestRailSettings) -> None:
        self._settings = settings
        self._rail = TestRail(settings.url, settings.user, settings.key.reveal().strip())
        self._project = Project(self._rail, settings)
        self._store: Store | None = None
        self._is_closed = False

    def attach(self, store: Store) -> None:
        """Read from this store which cell a regression is about."""
        self._store = store

    def deliver(self, event: Event) -> Receipt | None:
        """Put a run, or a regression into its run; other events have no place in TestRail."""
        if self._is_closed:
            raise ConnectorError("the connector is closed", where="testrail", retryable=True)
        with self._project.telling(event.key):
            if isinstance(event, RunFinished | RunFailed):
                return self._run_ended(event)
            if isinstance(event, Regression):
                return self._regression(event)
            return None

    def check(self) -> Sequence[str]:
        """Return what is wrong with the account, its rights, the project, its suite and field."""
        return problems(self._rail, self._settings)

    def close(self) -> None:
        """Close connections."""
        self._is_closed = True
        self._rail.close()

    def _run_ended(self, event: RunFinished | RunFailed) -> Receipt | None:
        if not event.summary.measurements:
            return None
        run = self._put(event.summary, event)
        if not run["is_completed"]:
            self._project.attach(run["id"], event.key, event.attachments)
            # What was interrupted or broke off may be resumed.
            is_whole = isinstance(event, RunFinished) and not event.summary.run.is_interrupted
            if is_whole and self._settings.close_run:
                self._project.close_run(run["id"], event.run_id)
        return _receipt(run)

    def _regression(self, event: Regression) -> Receipt:
        summary = self._stored(event.run_id)
        of = [one for one in summary.measurements if one.series_key == event.series_key]
        if not of:
            raise ConnectorError(
                f"the run {event.run_id} did not measure what became worse",
                where="testrail",
                hint="It can be read with `accel regressions`.",
                retryable=False,
            )
        one = of[-1]
        run = self._put(summary, event)
        if not marks(mark(event.key)) <= self._project.told(run["id"]):
            self._open(run)
            status = CellStatus.FAILED if event.status == "open" else one.status
            told = regression_result(
                event, self._settings.status(status), summary.run.project_commit
            )
            case = self._project.cases([one]).get(one.cell)
            if case is None:
                raise self._no_case(str(one.cell))
            self._project.select(run["id"], [case])
            self._project.add_results(run["id"], [{"case_id": case, **told}])
        self._project.attach(run["id"], event.key, () if run["is_completed"] else event.attachments)
        return _receipt(run)

    def _put(self, summary: RunSummary, event: Event) -> Entry:
        """Return the run, with a result for each measurement that has a case."""
        info, project = summary.run, self._project
        cases = project.cases(summary.measurements)
        if not cases:
            raise self._no_case(f"each of {len(summary.measurements)} cells")
        run = project.find_run(info)
        if run is None:
            caseless = [one.cell for one in summary.measurements if one.cell not in cases]
            run = project.add_run(info, [*cases.values()], caseless, event.link)
        told = project.told(run["id"])
        results = [
            {
                "case_id": cases[one.cell],
                **result(one, self._settings.status(one.status), info.project_commit, event.link),
            }
            for one in summary.measurements
            if one.cell in cases and not marks(mark(one.id)) <= told
        ]
        if results:
            self._open(run)
            project.select(run["id"], [one["case_id"] for one in results])
            project.add_results(run["id"], results)
        return run

    def _stored(self, run_id: str) -> RunSummary:
        try:
            if self._store is not None:
                return self._store.summary(run_id)
        except StoreError:
            pass
        raise ConnectorError(
            f"the run {run_id} is not in the store",
            where="testrail",
            hint="A regression is shown with its run: let both be told from the same store.",
            retryable=False,
        )

    def _open(self, run: Entry) -> None:
        if run["is_completed"]:
            raise ConnectorError(
                f"the run R{run['id']} is closed, and something is to be added",
                where="testrail",
                hint="Set `close_run = false` where runs are looked at again after their end.",
                retryable=False,
            )

    def _no_case(self, what: str) -> ConnectorError:
        return ConnectorError(
            f"there is no case for {what}",
            where="testrail",
            hint=f"Set `create_cases = true`, or fill `{self._settings.id_field}` of your cases.",
            retryable=False,
        )


def _receipt(run: Entry) -> Receipt:
    return Receipt(id=f"R{run['id']}", url=run.get("url"))
