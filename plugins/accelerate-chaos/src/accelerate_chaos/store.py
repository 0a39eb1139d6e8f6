# SPDX-License-Identifier: Apache-2.0
"""The tables of this distribution, and how rows get into them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from accelerate_core.protocols import Migration, Store, TableSet

from .checker import Rule

if TYPE_CHECKING:
    from .records import Row

_V1 = """
CREATE SEQUENCE chaos_row_ids;
CREATE TABLE chaos_rows (
    id BIGINT PRIMARY KEY DEFAULT nextval('chaos_row_ids'),
    run_id VARCHAR NOT NULL,
    stored_at TIMESTAMP NOT NULL,
    scenario VARCHAR NOT NULL,
    strategy VARCHAR NOT NULL,
    targets VARCHAR[] NOT NULL,
    verdict VARCHAR NOT NULL,
    reason VARCHAR,
    is_interrupted BOOLEAN NOT NULL,
    seed BIGINT NOT NULL,
    rate DOUBLE,
    deadline_s DOUBLE,
    requests BIGINT,
    answered BIGINT,
    errors VARCHAR[],
    lost BIGINT,
    wrong BIGINT,
    doubled BIGINT,
    stale BIGINT,
    untyped BIGINT,
    latencies_ms DOUBLE[],
    workers_lost BIGINT,
    processes_left BIGINT,
    folders_left BIGINT
);
CREATE TABLE chaos_faults (
    row_id BIGINT NOT NULL,
    fault VARCHAR NOT NULL,
    worker VARCHAR,
    at_s DOUBLE NOT NULL,
    seen VARCHAR,
    reason VARCHAR,
    recovery_ms DOUBLE[],
    unrecovered BIGINT NOT NULL
);
"""

TABLES = TableSet(namespace="chaos", migrations=(Migration(version=1, sql=_V1),))

_ROW = """
INSERT INTO chaos_rows (
    run_id, stored_at, scenario, strategy, targets, verdict, reason, is_interrupted, seed, rate,
    deadline_s, requests, answered, errors, lost, wrong, doubled, stale, untyped, latencies_ms,
    workers_lost, processes_left, folders_left
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id
"""
_FAULT = "INSERT INTO chaos_faults VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


def save(store: Store, run_id: str, row: Row) -> int:
    """Store a row with its faults, as one; return its id. What was not measured is NULL."""
    is_measured = row.reason is None
    measured = (
        row.rate,
        row.deadline_s,
        len(row.requests),
        row.answered,
        [one.error for one in row.requests if one.error is not None],
        *(row.count(rule) for rule in Rule),
        row.latencies_ms,
        row.workers_lost,
        row.processes_left,
        row.folders_left,
    )
    about = (
        run_id,
        datetime.now(UTC).replace(tzinfo=None),
        row.scenario,
        row.strategy,
        list(row.targets),
        row.verdict,
        row.reason,
        row.is_interrupted,
        row.seed,
    )
    values = [*about, *(measured if is_measured else [None] * len(measured))]
    with store.transaction() as transaction:
        row_id = int(transaction.execute(_ROW, values).rows[0][0])
        for one in row.struck:
            at_s = (one.at_ns - row.began_ns) / 1e9
            transaction.execute(
                _FAULT,
                [
                    row_id,
                    one.fault,
                    one.worker,
                    at_s,
                    one.seen,
                    one.reason,
                    list(one.recovery_ms),
                    one.unrecovered,
                ],
            )
    return row_id
