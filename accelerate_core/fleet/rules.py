# SPDX-License-Identifier: Apache-2.0
"""What the machine does not let policies do, and what it says of jobs it gives up."""

from __future__ import annotations

from ..errors import JobTimeout, NumericalError, Overloaded, PluginError, SessionLost
from ..types import Target
from .index import Fleet
from .policy import JobView, Pin, Placement
from .settings import SECOND
from .state import JobState

#: What one step of priority is worth: as if the job had waited for so much longer.
PRIORITY_NS = 10 * SECOND


def misplaced(
    placement: Placement, job: JobState, asked: JobView, fleet: Fleet, blocked: frozenset[Target]
) -> str | None:
    """Return what is wrong with a scheduler's placement of what it saw (`asked`), or None."""
    if len(placement.workers) != 1:
        return f"placed on {len(placement.workers)} workers; a job is placed on one at a time"
    worker = fleet.workers.get(placement.workers[0])
    if worker is None:
        return f"placed on {placement.workers[0]!r}, which does not exist"
    if not worker.has_room:
        return f"placed on {worker.id!r}, which has no room"
    if worker.id in job.live:
        return f"placed on {worker.id!r}, which works on it already"
    if not any(target.covers(worker.target) for target in asked.targets):
        return f"placed on {worker.id!r}, which is not {' or '.join(map(str, asked.targets))}"
    if worker.target in blocked:
        return f"placed on {worker.id!r}, whose circuit is open"
    return None


def rank(asked: JobView, came_ns: int) -> int:
    """Return a job's place among those that wait: the least comes first."""
    return came_ns - asked.priority * PRIORITY_NS


def policy_error(word: str, raised: Exception) -> PluginError:
    """Return the error of a job whose policy broke its contract."""
    return PluginError(
        f"the {word} failed: {type(raised).__name__}: {raised}",
        hint="The job was given up; the rest of the fleet goes on.",
    )


def timed_out(job: JobState, now_ns: int) -> JobTimeout:
    """Return the error of a job whose time is over: how long it took, and what it waited for."""
    seconds = (now_ns - job.asked.submitted_ns) / 1e9
    worker = next((attempt.worker for attempt in job.live.values()), None)
    doing = f", {worker.doing}" if worker and worker.doing else ""
    return JobTimeout(
        f"no answer after {seconds:.1f} s ({job.status}{doing})",
        where=worker.id if worker else str(job.asked.targets[0]),
        hint="Give it longer: [pool] job_timeout, or a smaller batch.",
    )


def not_recovered(job: JobState, now_ns: int) -> JobTimeout:
    """Return the error of a job that was recovered for as long as it may be."""
    assert job.recover_until_ns is not None and job.asked.recovery_ns is not None
    allowed = job.asked.recovery_ns / 1e9
    return JobTimeout(
        f"not recovered within {allowed:.2g} s of its first failure ({job.attempts} attempts)",
        where=", ".join(job.live) or str(job.asked.targets[0]),
        hint="accel why shows what failed. To give it longer: [pool] recovery_timeout.",
    )


def no_majority(job: JobState) -> NumericalError:
    """Return the error of a job whose copies disagree, with no further worker to decide."""
    count = len(job.answered)
    return NumericalError(
        f"{count} workers answered, and no majority of them agrees"
        + (", nor could another be asked" if count % 2 == 0 else ""),
        where=", ".join(attempt.worker.id for attempt in job.answered.values()),
        hint="At least one of them computes wrongly: accel why, then leave it out.",
    )


def overloaded(waiting: int, retry_after: float) -> Overloaded:
    """Return the error of a job that is not taken: the queue is full."""
    return Overloaded(
        f"{waiting} jobs wait already",
        where="the fleet",
        retry_after=retry_after,
        hint=f"Come back in {retry_after:.2g} s, or raise [pool] max_queue.",
    )


def unseated(pin: Pin) -> SessionLost:
    """Return the error of a job whose one worker is not there any more."""
    return SessionLost(
        "the worker that has what this job needs is gone",
        where=f"{pin.worker_id}, epoch {pin.epoch}",
        hint="Restore the session from its last checkpoint, or open another.",
    )
