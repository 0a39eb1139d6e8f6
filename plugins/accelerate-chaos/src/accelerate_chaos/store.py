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

_MEANINGS = {
    "chaos_rows": "One row for each scenario and strategy of a run of accel chaos.",
    "chaos_rows.id": "Number of the row",
    "chaos_rows.run_id": "The run of accel chaos",
    "chaos_rows.stored_at": "When it was stored",
    "chaos_rows.scenario": "What was done to the workers",
    "chaos_rows.strategy": "How they were to recover",
    "chaos_rows.targets": "What the workers were",
    "chaos_rows.verdict": "What came of it",
    "chaos_rows.reason": "Why nothing was measured; NULL where something was",
    "chaos_rows.is_interrupted": "Whether it was stopped before its end",
    "chaos_rows.seed": "What its random choices began with",
    "chaos_rows.rate": "Requests in a second [1/s]",
    "chaos_rows.deadline_s": "Longest time a request may take [s]",
    "chaos_rows.requests": "Requests that were made",
    "chaos_rows.answered": "Of them, those that were answered",
    "chaos_rows.errors": "Kinds of the errors that requests ended with, one each",
    "chaos_rows.lost": "Requests without an answer or an error",
    "chaos_rows.wrong": "Answers with wrong numbers",
    "chaos_rows.doubled": "Requests that were answered twice",
    "chaos_rows.stale": "Answers of a worker that was given up",
    "chaos_rows.untyped": "Errors that are not typed",
    "chaos_rows.latencies_ms": "From the request to its answer, one each [ms]",
    "chaos_rows.workers_lost": "Workers that were lost",
    "chaos_rows.processes_left": "Processes that were left behind",
    "chaos_rows.folders_left": "Temporary folders that were left behind",
    "chaos_faults": "One row for each fault that was injected.",
    "chaos_faults.row_id": "The row of chaos_rows",
    "chaos_faults.fault": "Kind of the fault",
    "chaos_faults.worker": "Worker it was done to",
    "chaos_faults.at_s": "When, from the beginning of the row [s]",
    "chaos_faults.seen": "How the fleet noticed",
    "chaos_faults.reason": "Why the fault did not happen; NULL where it did",
    "chaos_faults.recovery_ms": "From the fault to the answer, for each request it held up [ms]",
    "chaos_faults.unrecovered": "Requests it held up that were never answered",
}

TABLES = TableSet(
    namespace="chaos",
    migrations=(Migration(version=1, sql=_V1),),
    meanings=_MEANINGS,
    references={"chaos_faults.row_id": "chaos_rows.id"},
)

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
