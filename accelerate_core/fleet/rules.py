# SPDX-License-Identifier: Apache-2.0
"""What the machine does not let policies do."""

from __future__ import annotations

from ..errors import PluginError
from .policy import Placement
from .state import Fleet, JobState


def misplaced(placement: Placement, job: JobState, fleet: Fleet) -> str | None:
    """Return what is wrong with a scheduler's placement, or None."""
    if len(placement.workers) != 1:
        return f"placed on {len(placement.workers)} workers, and only one is possible yet"
    worker = fleet.workers.get(placement.workers[0])
    if worker is None:
        return f"placed on {placement.workers[0]!r}, which does not exist"
    if not worker.has_room:
        return f"placed on {worker.id!r}, which has no room"
    if not job.targets[0].covers(worker.target):
        return f"placed on {worker.id!r}, which is not {job.targets[0]}"
    return None


def policy_error(word: str, raised: Exception) -> PluginError:
    """Return the error of a job whose policy broke its contract."""
    return PluginError(
        f"the {word} failed: {type(raised).__name__}: {raised}",
        hint="The job was given up; the rest of the fleet goes on.",
    )
