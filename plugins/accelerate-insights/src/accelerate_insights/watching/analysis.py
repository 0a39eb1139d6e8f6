# SPDX-License-Identifier: Apache-2.0
"""Judge a run against its history: read, find, decide, store."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path

import attrs

from accelerate_core.events import Regression
from accelerate_core.protocols import Store
from accelerate_core.types import CellStatus, Measurement, RunSummary

from ..reading import Results, Where, read_series
from ..values import Finding, Series, Status
from . import keeping
from .deciding import is_at_least, is_news, lasting, rank
from .plugin import WatchSettings

#: The database that commands look at without `--db`.
_USUAL = "results.duckdb"


class Watch:
    """Say what one run changed. The run's rows are in the store when it is asked."""

    def __init__(self, settings: WatchSettings) -> None:
        self._settings = settings

    def suspects(self, summary: RunSummary, store: Store) -> Collection[str]:
        """Return the measurements whose series are at a worse level that is news."""
        found = self._find(summary, store)
        known = keeping.known(store, (one.id for one in found))
        return {_last(one.series) for one in found if is_news(one, known)}

    def conclude(
        self, summary: RunSummary, again: Sequence[Measurement], store: Store
    ) -> Sequence[Regression]:
        """Store what is confirmed and bring what is known up to date; return the news.

        A finding is confirmed when its cell was measured again and the series, that measurement
        in it, is still at the worse level.
        """
        measured = {one.again_of for one in again if one.status is CellStatus.OK}
        found = self._find(summary, store)
        known = keeping.known(store, (one.id for one in found))
        told: list[Finding] = []
        with store.transaction() as transaction:
            for one in found:
                if is_news(one, known):
                    if _last(one.series) not in measured:
                        continue
                    one = attrs.evolve(one, was_measured_again=True)
                    if one.id in known:
                        one = attrs.evolve(one, note=f"opened again: back in run {summary.run.id}")
                        keeping.set_status(transaction, one.id, Status.OPEN, one.note)
                    elif (before := keeping.fixed_before(store, one.series)) is not None:
                        one = attrs.evolve(one, note=f"is back: was fixed as {before[:8]}")
                    told.append(one)
                keeping.save(transaction, one)
        place = _place(store)
        worst = sorted(
            told, key=lambda one: (-rank(one.severity), one.cause_id or "", str(one.series.label))
        )
        return [self._event(one, summary, place) for one in worst]

    def _find(self, summary: RunSummary, store: Results) -> list[Finding]:
        """Return the level of each series of this run, where it is not the one it began with."""
        from ..detecting import Settings, find

        keys = tuple(sorted({one.series_key for one in summary.measurements if one.samples_ms}))
        if not keys:
            return []
        series = read_series(
            store, Where(series_keys=keys), self._settings.metrics, with_samples=True
        )
        ours = [one for one in series if one.points[-1].run_id == summary.run.id]
        return lasting(find(ours, Settings(min_effect=self._settings.min_effect)))

    def _event(self, one: Finding, summary: RunSummary, place: str) -> Regression:
        series, change, label = one.series, one.change, one.series.label
        first_bad, last_good = series.points[change.index], series.points[change.index - 1]
        return Regression(
            run_id=summary.run.id,
            at=datetime.now(UTC),
            series_key=series.key,
            metric=series.metric.name,
            before=change.before,
            after=change.after,
            severity=str(one.severity),
            id=one.id,
            label=f"{series.metric.label} of {label}",
            model=label.model,
            target=label.where,
            unit=series.metric.unit,
            change=change.relative,
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
            see=f"accel regressions show {one.id[:8]}{place}",
            fails_run=is_at_least(one.severity, self._settings.fail_on),
            evidence=dict(change.evidence),
        )


def _last(series: Series) -> str:
    return series.points[-1].measurement_id


def _place(store: Store) -> str:
    """Return how to tell a command which database this is; nothing where it would guess right."""
    table = store.query(
        "SELECT path FROM duckdb_databases() WHERE database_name = current_database()"
    )
    path = Path(table.rows[0][0])
    return "" if path == Path(_USUAL).resolve() else f" --db {path}"
