# SPDX-License-Identifier: Apache-2.0
"""Which run of a baseline's database can be compared with what is measured here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from accelerate_core.assembly import make_store
from accelerate_core.config import parse
from accelerate_core.host import Host
from accelerate_core.measuring import provenance
from accelerate_core.types import RunInfo

#: A machine is another one where these differ: `accel compare` refuses to compare them.
_ALIKE = ("system", "processor", "cores")
#: Runs that are looked through.
_RUNS = 1000


def latest_like_this(path: Path, branch: str) -> tuple[str | None, str]:
    """Return the id of a branch's latest run on a machine like this one, and a sentence."""
    config = parse({"store": {"use": "duckdb", "path": str(path)}}, where=str(path))
    store = make_store(config, Host())
    try:
        runs = store.runs(_RUNS)
    finally:
        store.close()
    run = choose(runs, branch, provenance.machine())
    if run is None:
        said = f"None of the {len(runs)} runs in {path} is of {branch} and a machine like this."
        return None, said
    return run.id, f"Compared with the run of {run.started_at:%Y-%m-%d %H:%M} UTC on {branch}."


def choose(runs: Iterable[RunInfo], branch: str, machine: Mapping[str, Any]) -> RunInfo | None:
    """Return the first run, of the newest first, that ended here and is of the branch; pure."""
    for run in runs:
        is_alike = all(run.host.get(name) == machine.get(name) for name in _ALIKE)
        is_whole = run.finished_at is not None and not run.is_interrupted
        # A cache may hold runs of the pull request itself.
        is_of_branch = run.ci.get("branch", branch) == branch and not run.ci.get("pull_request")
        if is_alike and is_whole and is_of_branch:
            return run
    return None
