# SPDX-License-Identifier: Apache-2.0
"""Databases as runs over several days would fill them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
from accelerate_duckdb.store import DuckDbStore

from accelerate_core.testing import samples
from accelerate_core.types import Cell, Target


def filled(path: Path, values: Sequence[float], **changes: Any) -> Path:
    """Make or extend a database with one run a day; `latency_ms` is as given, other things alike.

    `target` and the other fields of a cell name it, `commits` one commit for each run, `host` and
    `first` (a number of days) the runs; the rest are fields of the measurements.
    """
    target = Target.parse(changes.pop("target", "webgpu/ort:chromium"))
    asked = {name: changes.pop(name) for name in attrs.fields_dict(Cell) if name in changes}
    cell = Cell(**{"model": "minilm", **asked, "target": target})
    commits = changes.pop("commits", [None] * len(values))
    host, first = changes.pop("host", {"processor": "x"}), changes.pop("first", 0)
    name = changes.pop("name", f"{cell.model}-{target}-{cell.batch_size}-{first}")
    changes.setdefault("worker", samples.worker_info(str(target)))
    changes.setdefault("series_key", f"{cell.model}|{target}|{cell.batch_size}")
    store = DuckDbStore.open(path)
    with store.transaction():  # one commit: a hundred take seconds
        for day, (value, commit) in enumerate(zip(values, commits, strict=True), first):
            at = samples.START + timedelta(days=day)
            run = f"{name}-{day}"
            store.save_run(
                samples.run_info(
                    run, started_at=at, finished_at=at, host=host, project_commit=commit
                )
            )
            store.save_measurement(
                samples.measurement(
                    1,
                    run,
                    **{
                        "cell": cell,
                        "started_at": at,
                        "latency_ms": value,
                        "samples_ms": (value * 0.99, value, value * 1.01),
                        **changes,
                    },
                )
            )
    store.close()
    return path
