# SPDX-License-Identifier: Apache-2.0
"""The policies themselves: pure, and told everything they know.

A job's further targets are fallbacks. The fleet takes a target off the list when it cannot be
started, so only the first one left is considered: a busy backend is waited for, not replaced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from accelerate_core.fleet.policy import Decision, FleetView, JobView, Placement, Wait, WorkerView
from accelerate_core.types import BROWSERS, TASKS, Target

_BUSY = Wait("every worker for it is busy")
#: Idle workers that are compared, where several are.
_SEEN = 64


class RoundRobinPolicy:
    """Take turns: of the idle workers, the one whose last turn is longest ago.

    Turns are counted in calls. The fleet shows at most `seen` idle workers at a time.
    """

    def __init__(self, seen: int = _SEEN) -> None:
        self._seen = seen
        self._turns: dict[str, int] = {}
        self._count = 0

    def pick(self, job: JobView, fleet: FleetView) -> Decision:
        """Return the next worker in turn, or Wait."""
        # One more for each worker that is passed over.
        idle = _untried(job, fleet.idle(job.targets[:1], self._seen + len(job.tried)))
        if not idle:
            return _BUSY
        chosen = min(idle, key=lambda worker: self._turns.get(worker.id, -1))
        self._turns[chosen.id] = self._count
        self._count += 1
        return Placement((chosen.id,))


def _known(_: object, __: object, preferences: Mapping[str, str]) -> None:
    for task, browser in preferences.items():
        if task not in TASKS:
            raise ValueError(f"{task!r} is not a task; accepted: {', '.join(TASKS)}")
        if browser not in BROWSERS:
            raise ValueError(f"{browser!r} is not a browser; accepted: {', '.join(BROWSERS)}")


@attrs.frozen(kw_only=True)
class AffinitySettings:
    """Configure `affinity`."""

    #: Which browser a task prefers: `{ vision = "chrome" }`. Taken from `[pool]` when unset here.
    browser_preferences: Mapping[str, str] = attrs.field(factory=dict, validator=_known)


class AffinityPolicy:
    """Go where the model is loaded and the task's browser is.

    In this order: the preferred browser with the model loaded, the preferred browser, any worker
    with the model loaded, any worker. A model that is only loaded goes where the fewest sessions
    are: it may be for another one, which stays there.
    """

    def __init__(self, browser_preferences: Mapping[str, str]) -> None:
        self._preferences = dict(browser_preferences)

    def pick(self, job: JobView, fleet: FleetView) -> Decision:
        """Return the best idle worker, or Wait."""
        enough = 1 + len(job.tried)
        for targets in filter(None, (self._preferred(job), job.targets[:1])):
            if job.is_load_only:
                idle = _untried(job, fleet.idle(targets, _SEEN + enough))
                found = sorted(idle, key=lambda one: (one.sessions, job.model not in one.models))
            else:
                found = _untried(job, fleet.idle_with(job.model, targets, enough)) or _untried(
                    job, fleet.idle(targets, enough)
                )
            if found:
                return Placement((found[0].id,))
        return _BUSY

    def _preferred(self, job: JobView) -> Sequence[Target]:
        """Return the first target narrowed to the task's browser; empty where nothing is."""
        browser = self._preferences.get(job.task or "")
        return [
            attrs.evolve(target, browser=browser)
            for target in job.targets[:1]
            if browser and target.browser in (None, "*")
        ]


def _untried(job: JobView, workers: Sequence[WorkerView]) -> list[WorkerView]:
    return [worker for worker in workers if worker.id not in job.tried]
