# SPDX-License-Identifier: Apache-2.0
"""What was measured of each way to run a model: one aggregation in the database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from ..reading import Results

#: With fewer runs there is no interval of a median at 95% (1 - 2 / 2^5 = 94%).
FEWEST_RUNS = 6


@attrs.frozen(kw_only=True)
class Estimate:
    """A value and its interval at 95%; `low` and `high` are None where too little was measured."""

    value: float
    low: float | None = None
    high: float | None = None

    def overlaps(self, other: Estimate) -> bool:
        """Whether the two cannot be told apart."""
        if self.low is None or self.high is None or other.low is None or other.high is None:
            return True
        return self.low <= other.high and other.low <= self.high


@attrs.frozen(kw_only=True)
class Question:
    """Say what candidates are compared for: what is alike in all of them."""

    machine: str
    is_software: bool | None  #: what runs on a software adapter is compared with its like only
    model: str
    task: str | None
    sequence_length: int | None
    scenario: str  #: how requests arrived


@attrs.frozen(kw_only=True)
class Candidate:
    """One way to run a model, and what was measured of it with the versions that are here now."""

    question: Question
    backend: str
    engine: str | None
    browser: str | None
    precision: str
    batch_size: int
    estimates: Mapping[str, Estimate]  #: medians over runs, by metric
    runs: int
    measurements: int
    old: int  #: measurements of earlier versions of browser, engine or model: not counted
    wrong: int  #: measurements whose outputs were out of tolerance
    tries: int  #: whatever the version and outcome
    successes: int
    relative_l2: float | None  #: the largest; None where nothing was compared
    tolerance: float | None
    browser_version: str | None
    engine_version: str | None
    device_type: str | None
    adapter: str | None
    threads: tuple[int, ...]
    first: datetime | None  #: UTC, without a zone
    last: datetime | None

    @property
    def where(self) -> str:
        """Backend, engine and browser as a target is written."""
        engine = f"/{self.engine}" if self.engine else ""
        return f"{self.backend}{engine}" + (f":{self.browser}" if self.browser else "")

    def __str__(self) -> str:
        return f"{self.where} {self.precision} batch {self.batch_size}"


# Rows that differ in nothing but when they ran and what was measured are one group: a million rows
# are thousands, which cost nothing to join and to judge. Values stay as lists.
# What ran in another version than the latest one seen of that target on that machine is old, and
# so is what ran another file of the model, and what ran before its level was found to change.
_JUDGED = """
WITH known_runs AS (
    SELECT run_id, machine, (row_number() OVER ())::INTEGER AS run FROM machines
), changed AS (
    SELECT machine, series_key, max(changed_at) AS changed_at
    FROM performance_regressions WHERE metric IN ({names}) GROUP BY ALL
), asked AS MATERIALIZED (
    SELECT
        machine, cell_id, status, model_name AS model, model_type AS task,
        platform, engine, browser, precision, batch_size, sequence_length, scenario,
        is_software, browser_version, engine_version, model_sha256, device_type, adapter_info,
        threads, tolerance, fell_back_from IS NULL AS is_as_asked,
        status IN ('ok', 'mismatch') AS has_run,
        status = 'mismatch' OR (status = 'ok' AND coalesce(relative_l2 > tolerance, false))
            AS is_wrong,
        coalesce(timestamp < changed_at, false) AS is_before_change,
        count(*) AS rows, min(timestamp) AS first, max(timestamp) AS last,
        max(relative_l2) AS relative_l2,
        {lists}
    FROM webnn_webgpu_performance JOIN known_runs USING (run_id)
    LEFT JOIN changed USING (machine, series_key)
    WHERE NOT coalesce(simulation_mode, false) AND status <> 'skipped' AND {condition}
    GROUP BY ALL
), installed AS (
    SELECT machine, platform, engine, browser,
        arg_max({{'browser': browser_version, 'engine': engine_version}}, last) AS now
    FROM ({seen}) GROUP BY ALL
), files AS (
    SELECT model, precision, arg_max(model_sha256, last) AS sha256
    FROM asked WHERE has_run GROUP BY ALL
), judged AS MATERIALIZED (
    SELECT
        asked.*,
        installed.now.browser IS NOT DISTINCT FROM browser_version
            AND installed.now.engine IS NOT DISTINCT FROM engine_version
            AND files.sha256 IS NOT DISTINCT FROM model_sha256
            AND NOT is_before_change AS is_current
    FROM asked
    LEFT JOIN files USING (model, precision)
    LEFT JOIN installed
        ON installed.machine = asked.machine AND installed.platform = asked.platform
        AND installed.engine IS NOT DISTINCT FROM asked.engine
        AND installed.browser IS NOT DISTINCT FROM asked.browser
    WHERE has_run
)
"""

#: What ran of all models, for a condition that asks for some: a newer version may have run another.
_SEEN = """
        SELECT machine, platform, engine, browser, browser_version, engine_version,
            max(timestamp) AS last
        FROM webnn_webgpu_performance JOIN known_runs USING (run_id)
        WHERE status IN ('ok', 'mismatch') AND NOT coalesce(simulation_mode, false)
        GROUP BY ALL
    """

# A try belongs to whoever was asked: its cell. A cell is of the candidate that it ran on when it
# ran where it was asked to; one that never did is of nobody, and counts for nobody. What was never
# asked and only ran as a fallback is judged by that.
_SQL = """, tries AS (
    SELECT
        machine, cell_id, sum(rows) AS tries,
        sum(rows) FILTER (status = 'ok' AND is_as_asked AND NOT is_wrong) AS successes,
        arg_max({{'engine': engine, 'is_software': is_software}}, last)
            FILTER (has_run AND is_as_asked) AS ran
    FROM asked GROUP BY ALL
), reliability AS (
    SELECT
        machine, ran.is_software AS is_software, model, sequence_length, scenario,
        backend AS platform,
        ran.engine AS engine, browser, precision, batch_size,
        sum(tries)::BIGINT AS tries, coalesce(sum(successes), 0)::BIGINT AS successes
    FROM tries JOIN cells ON cells.id = cell_id
    WHERE ran IS NOT NULL GROUP BY ALL
), measured AS (
    SELECT
        machine, is_software, model, sequence_length, scenario, platform, engine, browser,
        precision, batch_size,
        arg_max(task, last) AS task,
        coalesce(len(list_distinct(flatten(list(runs) FILTER (is_current AND NOT is_wrong)))), 0)
            AS runs,
        coalesce(sum(rows) FILTER (is_current AND NOT is_wrong), 0)::BIGINT AS measurements,
        sum(rows)::BIGINT AS ran,
        coalesce(sum(rows) FILTER (NOT is_wrong), 0)::BIGINT AS ran_well,
        coalesce(sum(rows) FILTER (NOT is_current), 0)::BIGINT AS old,
        coalesce(sum(rows) FILTER (is_current AND is_wrong), 0)::BIGINT AS wrong,
        max(relative_l2) FILTER (is_current) AS relative_l2,
        arg_max(tolerance, last) AS tolerance,
        arg_max(browser_version, last) AS browser_version,
        arg_max(engine_version, last) AS engine_version,
        arg_max(device_type, last) AS device_type,
        arg_max(adapter_info, last) AS adapter_info,
        -- As an aggregate of its own, DISTINCT made DuckDB go through every group and list twice.
        list_distinct(list(threads) FILTER (is_current AND threads IS NOT NULL)) AS threads,
        min(first) FILTER (is_current) AS first,
        max(last) FILTER (is_current) AS last,
        {sorted}
    FROM judged GROUP BY ALL
), ranked AS (
    -- Order statistics number `k` from either end are an interval of the median at 95% or more:
    -- the binomial's quantile, exact or one too careful. It is one of runs: several measurements
    -- of one run tell little more than one.
    -- What is left has no lists, which a join would copy.
    SELECT * EXCLUDE (k{values}), {estimates}
    FROM (SELECT *, floor((runs + 1) / 2 - 0.98 * sqrt(runs))::BIGINT AS k FROM measured)
)
SELECT
    ranked.machine, ranked.is_software, ranked.model, task, ranked.sequence_length,
    ranked.scenario,
    ranked.platform, ranked.engine, ranked.browser, ranked.precision, ranked.batch_size,
    runs, measurements, old, wrong, coalesce(tries, ran), coalesce(successes, ran_well),
    relative_l2, tolerance, browser_version, engine_version, device_type, adapter_info,
    threads, first, last, {numbers}
FROM ranked LEFT JOIN reliability
    ON reliability.machine = ranked.machine AND reliability.model = ranked.model
    AND reliability.platform = ranked.platform AND reliability.precision = ranked.precision
    AND reliability.batch_size = ranked.batch_size AND reliability.scenario = ranked.scenario
    AND reliability.is_software IS NOT DISTINCT FROM ranked.is_software
    AND reliability.sequence_length IS NOT DISTINCT FROM ranked.sequence_length
    AND reliability.engine IS NOT DISTINCT FROM ranked.engine
    AND reliability.browser IS NOT DISTINCT FROM ranked.browser
ORDER BY ALL
"""

_SORTED = """
    list_sort(flatten(list({0}) FILTER (is_current AND NOT is_wrong))) AS {0}_sorted"""

#: Position in the sorted values of measurements that the k-th of as many runs has.
_ESTIMATE = """
    {0}_sorted[(len({0}_sorted) + 1) // 2] / 2 + {0}_sorted[len({0}_sorted) // 2 + 1] / 2
        AS {0}_median,
    CASE WHEN k >= 1 THEN {0}_sorted[greatest(1, k * len({0}_sorted) // runs)] END AS {0}_low,
    CASE WHEN k >= 1 THEN
        {0}_sorted[len({0}_sorted) + 1 - greatest(1, k * len({0}_sorted) // runs)] END
        AS {0}_high"""


def judged(
    metrics: Sequence[str], lists: Mapping[str, str], condition: str, *, has_latest: bool = False
) -> str:
    """Return the beginning of a query: groups of rows that ran, as `judged`.

    They have `is_current` and `is_wrong`, and a list of each of `lists`, expressions by name.
    `has_latest` says that the condition leaves out no row that ran later than one it has, which
    spares a second reading of the table.
    """
    return _JUDGED.format(
        names=", ".join(f"'{name}'" for name in metrics),
        lists=", ".join(f"list({value}) AS {name}" for name, value in lists.items()),
        condition=condition,
        seen="FROM asked WHERE has_run" if has_latest else _SEEN,
    )


def candidates(
    results: Results,
    metrics: Sequence[str],
    *,
    model: str | None = None,
    task: str | None = None,
    since: datetime,
) -> list[Candidate]:
    """Return every way in which models were run since then, with medians of these metrics.

    `metrics` are columns of `webnn_webgpu_performance`, and none of a user's words.
    """
    asked = {"model_name": model, "model_type": task}
    terms = [f"{column} = ?" for column, name in asked.items() if name is not None]
    lists = {"runs": "run"} | {name: f"{name}) FILTER (isfinite({name})" for name in metrics}
    condition = " AND ".join(["timestamp >= ?", *terms])
    sql = judged(metrics, lists, condition, has_latest=not terms) + _SQL.format(
        sorted=",".join(_SORTED.format(name) for name in metrics),
        values="".join(f", {name}_sorted" for name in metrics),
        estimates=",".join(_ESTIMATE.format(name) for name in metrics),
        numbers=", ".join(f"{name}_{end}" for name in metrics for end in ("median", "low", "high")),
    )
    table = results.query(sql, [since, *(name for name in asked.values() if name is not None)])
    return [_candidate(row, metrics) for row in table.rows]


def _candidate(row: tuple[Any, ...], metrics: Sequence[str]) -> Candidate:
    (machine, is_software, model, task, length, scenario, *rest) = row
    backend, engine, browser, precision, batch, runs, measurements, old, wrong, *rest = rest
    tries, successes, relative_l2, tolerance, browser_version, engine_version, *rest = rest
    device_type, adapter, threads, first, last, *numbers = rest
    thirds = zip(*[iter(numbers)] * 3, strict=True)
    return Candidate(
        question=Question(
            machine=machine,
            is_software=is_software,
            model=model,
            task=task,
            sequence_length=length,
            scenario=scenario,
        ),
        backend=backend,
        engine=engine,
        browser=browser,
        precision=precision,
        batch_size=batch,
        estimates={
            name: Estimate(value=value, low=low, high=high)
            for name, (value, low, high) in zip(metrics, thirds, strict=True)
            if value is not None
        },
        runs=runs,
        measurements=measurements,
        old=old,
        wrong=wrong,
        tries=tries,
        successes=successes,
        relative_l2=relative_l2,
        tolerance=tolerance,
        browser_version=browser_version,
        engine_version=engine_version,
        device_type=device_type,
        adapter=_adapter(adapter),
        threads=tuple(sorted(threads or ())),
        first=first,
        last=last,
    )


def _adapter(text: str | None) -> str | None:
    known = json.loads(text) if text else {}
    return " ".join(known[key] for key in ("vendor", "architecture") if known.get(key)) or None
