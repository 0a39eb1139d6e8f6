# SPDX-License-Identifier: Apache-2.0
"""Judge a run against its history: read, find, decide, store."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from accelerate_core.events import Regression
from accelerate_core.protocols import Store
from accelerate_core.types import CellStatus, Measurement, RunSummary

from ..hookspecs.detector import Detector
from ..reading import Results, Where, read_series
from ..values import Finding, Series, Status
from . import alerts, keeping
from .deciding import Known, by_cause, is_at_least, is_news, is_overtaken, lasting
from .mending import Mended, mended
from .plugin import WatchSettings

_log = logging.getLogger("accelerate.insights")
#: The database that commands look at without `--db`.
_USUAL = "results.duckdb"


class Watch:
    """Say what one run changed. The run's rows are in the store when it is asked."""

    def __init__(self, settings: WatchSettings, detector: Detector) -> None:
        self._settings = settings
        self._detector = detector

    def suspects(self, summary: RunSummary, store: Store) -> Collection[str]:
        """Return the measurements whose series are at a worse level that is news."""
        series, run_id = self._series(summary, store), summary.run.id
        if number := sum(is_overtaken(one, run_id) for one in series):
            _log.warning(
                "%d series of this run have points of later times and are not judged: a clock went"
                " back, or another run ended first",
                number,
            )
        found = self._find(series, run_id)
        known = keeping.known(store, (one.id for one in found))
        return {_last(one.series) for one in found if self._is_news(one, known)}

    def conclude(
        self, summary: RunSummary, again: Sequence[Measurement], store: Store
    ) -> Sequence[Regression]:
        """Store what is confirmed and bring what is known up to date; return the news.

        A finding is confirmed when its cell was measured again and the series, that measurement
        in it, is still at the worse level. What people were told of and is over is news as well,
        with the status "fixed".
        """
        measured = {one.again_of for one in again if one.status is CellStatus.OK}
        run_id, series = summary.run.id, self._series(summary, store)
        found = self._find(series, run_id)
        known = keeping.known(store, (one.id for one in found))
        # Before the numbers that people were told of are brought up to date.
        over = mended(run_id, series, found, store, self._settings.min_effect)
        told: list[Finding] = []
        with store.transaction() as transaction:
            for one in found:
                if self._is_news(one, known):
                    if _last(one.series) not in measured:
                        continue
                    one = attrs.evolve(one, was_measured_again=True)
                    if one.id in known:
                        one = attrs.evolve(one, note=f"opened again: back in run {run_id}")
                        keeping.set_status(transaction, one.id, Status.OPEN, one.note)
                    elif (before := keeping.fixed_before(store, one.series)) is not None:
                        one = attrs.evolve(one, note=f"is back: was fixed as {before[:8]}")
                    told.append(one)
                keeping.save(transaction, one)
            for end in over:
                if end.stored.status is not Status.FIXED:
                    keeping.set_status(transaction, end.stored.id, Status.FIXED, end.note)
            keeping.set_told(transaction, (one.id for one in told), Status.OPEN)
            keeping.set_told(transaction, (end.stored.id for end in over), Status.FIXED)
        place = _place(store)
        return [
            *(self._event(one, run_id, place) for one in by_cause(told)),
            *(_end(one, run_id, place) for one in over),
        ]

    def still_worse(
        self, summary: RunSummary, news: Sequence[Regression], store: Store
    ) -> Sequence[str]:
        """Return a line about each open finding of this run's series that is no news, worst first.

        What somebody acknowledged is left out.
        """
        told, place = {one.id for one in news}, _place(store)
        return [
            f"{one.what}: {one.change:+.0%}, {one.why}; {_see(one.id, place)}"
            for one in alerts.open_in(store, summary)
            if one.id not in told
        ]

    def _is_news(self, one: Finding, known: Mapping[str, Known]) -> bool:
        return is_news(one, known, self._settings.min_effect)

    def _series(self, summary: RunSummary, store: Results) -> list[Series]:
        keys = tuple(sorted({one.series_key for one in summary.measurements if one.samples_ms}))
        if not keys:
            return []
        where = Where(series_keys=keys)
        return read_series(store, where, self._settings.metrics, with_samples=True)

    def _find(self, series: Sequence[Series], run_id: str) -> list[Finding]:
        """Return the level of each series of this run, where it is not the one it began with."""
        from ..detecting import find

        # Other machines' series are no news of this run, and witnesses of what caused its own.
        found = find(series, detector=self._detector)
        return lasting(one for one in found if one.series.points[-1].run_id == run_id)

    def _event(self, one: Finding, run_id: str, place: str) -> Regression:
        series, change = one.series, one.change
        first_bad, last_good = series.points[change.index], series.points[change.index - 1]
        return Regression(
            **_about(one.id, series, run_id, place),
            before=change.before,
            after=change.after,
            change=change.relative,
            severity=str(one.severity),
            change_low=change.low,
            change_high=change.high,
            cause_kind=one.cause_kind,
            cause=one.cause,
            cause_id=one.cause_id,
            last_good_run=last_good.run_id,
            first_bad_run=first_bad.run_id,
            last_good_commit=last_good.commit,
            first_bad_commit=first_bad.commit,
            note=one.note,
            fails_run=is_at_least(one.severity, self._settings.fail_on),
            evidence=dict(change.evidence),
        )


def _end(one: Mended, run_id: str, place: str) -> Regression:
    stored = one.stored
    return Regression(
        **_about(stored.id, one.series, run_id, place),
        before=stored.after,
        after=one.level,
        change=one.level / stored.after - 1,
        severity=stored.severity,
        status="fixed",
        last_good_run=stored.last_good_run,
        first_bad_run=stored.first_bad_run,
        last_good_commit=stored.last_good_commit,
        first_bad_commit=stored.first_bad_commit,
        note=one.note,
    )


def _about(identity: str, series: Series, run_id: str, place: str) -> dict[str, Any]:
    """Return what every event about a series says."""
    label = series.label
    return {
        "run_id": run_id,
        "at": datetime.now(UTC),
        "series_key": series.key,
        "metric": series.metric.name,
        "id": identity,
        "label": f"{series.metric.label} of {label}",
        "model": label.model,
        "target": label.where,
        "unit": series.metric.unit,
        "see": _see(identity, place),
    }


def _see(identity: str, place: str) -> str:
    return f"accel regressions show {identity[: alerts.SHORT]}{place}"


def _last(series: Series) -> str:
    return series.points[-1].measurement_id


def _place(store: Store) -> str:
    """Return how to tell a command which database this is; nothing where it would guess right."""
    table = store.query(
        "SELECT path FROM duckdb_databases() WHERE database_name = current_database()"
    )
    path = Path(table.rows[0][0])
    return "" if path == Path(_USUAL).resolve() else f" --db {path}"
