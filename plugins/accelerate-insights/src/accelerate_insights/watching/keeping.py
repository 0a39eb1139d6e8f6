# SPDX-License-Identifier: Apache-2.0
"""The table `performance_regressions`: findings in, what is known of them out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from accelerate_core.protocols import Transaction

from ..reading import Results
from ..values import Finding, Series, Status
from .deciding import Known

#: What people decide, and what is only known when a finding is new.
_KEPT = ("id", "detected_at", "status", "note", "was_measured_again")


def utc(moment: datetime) -> datetime:
    """Return a moment as the database keeps it: UTC, without a zone."""
    return moment.astimezone(UTC).replace(tzinfo=None)


def now() -> datetime:
    """Return the time as the database keeps it."""
    return utc(datetime.now(UTC))


def known(results: Results, ids: Iterable[str]) -> dict[str, Known]:
    """Return what is stored of findings, by id."""
    wanted = sorted(set(ids))
    if not wanted:
        return {}
    marks = ", ".join("?" for _ in wanted)
    table = results.query(
        f"SELECT id, status, updated_at FROM performance_regressions WHERE id IN ({marks})", wanted
    )
    return {row[0]: Known(status=Status(row[1]), updated_at=row[2]) for row in table.rows}


def fixed_before(results: Results, series: Series) -> str | None:
    """Return the id of the regression of a series that was fixed last; None without one."""
    table = results.query(
        "SELECT id FROM performance_regressions WHERE series_key = ? AND machine = ? AND metric = ?"
        " AND is_worse AND status = ? ORDER BY changed_at DESC LIMIT 1",
        [series.key, series.machine, series.metric.name, str(Status.FIXED)],
    )
    return str(table.rows[0][0]) if table.rows else None


def save(transaction: Transaction, finding: Finding) -> None:
    """Insert a finding, or bring its numbers up to date; status and note of a known one stay."""
    values = row(finding)
    changes = ", ".join(
        f"{name} = excluded.{name}" for name in values if name not in (*_KEPT, "updated_at")
    )
    transaction.execute(
        f"INSERT INTO performance_regressions ({', '.join(values)})"
        f" VALUES ({', '.join('?' for _ in values)}) ON CONFLICT (id) DO UPDATE SET {changes}",
        list(values.values()),
    )


def set_status(transaction: Transaction, finding_id: str, status: Status, note: str | None) -> None:
    """Change what people think of a finding; without a note the old one stays."""
    transaction.execute(
        "UPDATE performance_regressions SET status = ?, updated_at = ?, note = coalesce(?, note)"
        " WHERE id = ?",
        [str(status), now(), note, finding_id],
    )


def set_told(transaction: Transaction, finding_ids: Iterable[str], status: Status) -> None:
    """Keep what people are told of findings now."""
    for one in finding_ids:
        transaction.execute(
            "UPDATE performance_regressions SET told = ? WHERE id = ?", [str(status), one]
        )


def row(finding: Finding) -> dict[str, Any]:
    """Return the row of a finding."""
    series, change, label = finding.series, finding.change, finding.series.label
    first_bad, last_good = series.points[change.index], series.points[change.index - 1]
    return {
        "id": finding.id,
        "detected_at": finding.detected_at,
        "updated_at": now(),
        "series_key": series.key,
        "machine": series.machine,
        "metric": series.metric.name,
        "model_name": label.model,
        "platform": label.backend,
        "engine": label.engine,
        "browser": label.browser,
        "precision": label.precision,
        "batch_size": label.batch_size,
        "changed_at": first_bad.at,
        "before": change.before,
        "after": change.after,
        "change": change.relative,
        "change_low": change.low,
        "change_high": change.high,
        "confidence": change.confidence,
        "is_worse": finding.is_worse,
        "severity": str(finding.severity),
        "status": str(finding.status),
        "last_good_run": last_good.run_id,
        "first_bad_run": first_bad.run_id,
        "last_good_commit": last_good.commit,
        "first_bad_commit": first_bad.commit,
        "cause_kind": finding.cause_kind,
        "cause": finding.cause,
        "cause_id": finding.cause_id,
        "was_measured_again": finding.was_measured_again,
        "note": finding.note,
        "evidence": json.dumps(dict(change.evidence), default=str),
    }
