# SPDX-License-Identifier: Apache-2.0
"""What models took before, for schedulers: `FleetView.history`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from accelerate_core.types import Target

from .reading import Results

#: What is older says little of today's browsers and drivers.
DAYS = 30

_MEDIANS = f"""
    SELECT
        p.model_sha256, p.platform, p.engine, p.browser, p.browser_version, p.engine_version,
        p.batch_size, coalesce(p.sequence_length, 0), median(p.latency_ms),
        median(p.fetch_ms + p.compile_ms), count(*)
    FROM webnn_webgpu_performance AS p JOIN machines ON machines.run_id = p.run_id
    WHERE machines.machine = (SELECT machine FROM machines WHERE run_id = $run_id)
        AND p.timestamp >= (SELECT started_at FROM runs WHERE id = $run_id) - INTERVAL {DAYS} DAY
        AND p.status = 'ok' AND NOT coalesce(p.simulation_mode, false)
        AND p.latency_ms IS NOT NULL AND p.model_sha256 IS NOT NULL
    GROUP BY ALL
    ORDER BY max(p.timestamp), p.browser_version, p.engine_version, p.engine
"""


def read_history(results: Results, run_id: str) -> Mapping[str, Mapping[str, Any]]:
    """Return medians of the last `DAYS` days on the machine of a run that is stored.

    SHA-256 of a model -> target -> `run_ns`, `load_ns` (None where unknown), `count` and versions.
    Of each target the newest browser and engine count; a target is named with its engine, and
    without, as it is asked for. All numbers of a model are of one size, so that targets can be
    compared: that which most targets were measured in, the smallest of equals. StoreError as the
    query's.
    """
    rows = results.query(_MEDIANS.replace("$run_id", "?"), [run_id, run_id]).rows
    measured: dict[str, dict[tuple[int, int], set[tuple[str, ...]]]] = {}
    for row in rows:
        measured.setdefault(row[0], {}).setdefault(row[6:8], set()).add(row[1:4])
    shared = {
        sha: min(sizes, key=lambda size: (-len(sizes[size]), size))
        for sha, sizes in measured.items()
    }
    found: dict[str, dict[str, Any]] = {}
    for row in rows:  # oldest first: what comes later replaces it
        if row[6:8] != shared[row[0]]:
            continue
        target = Target(row[1], row[2], row[3])
        known = {
            "run_ns": round(row[8] * 1e6),
            "load_ns": None if row[9] is None else round(row[9] * 1e6),
            "count": row[10],
            "browser_version": row[4],
            "engine_version": row[5],
        }
        by_target = found.setdefault(row[0], {})
        by_target[str(target)] = by_target[str(attrs.evolve(target, engine=None))] = known
    return found
