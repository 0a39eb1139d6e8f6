# SPDX-License-Identifier: Apache-2.0
"""`progressive`: climb from a plain retry to what costs more, as far as it takes."""

from __future__ import annotations

import enum

import attrs

from accelerate_core.fleet.machine import MAX_ATTEMPTS
from accelerate_core.fleet.policy import (
    Action,
    FailedAttempt,
    FailureKind,
    FleetView,
    JobView,
    Mend,
    Retry,
)
from accelerate_core.settings import Seconds

from .common import BLAMELESS, NEEDED, RecoverySettings, Strategy, has_other, in_ns

#: Jobs whose rung is remembered; a job that is answered says no good-bye.
_JOBS = 1024
#: Backends that compute on a GPU device, which can be opened anew.
_WITH_DEVICE = frozenset({"webgpu", "wgpu"})


class Rung(enum.IntEnum):
    """What is done about a failure, in the order it is tried."""

    RETRY = 0
    PAGE = 1
    DEVICE = 2
    RESTART = 3
    TARGET = 4  #: another browser or backend: the job's next one, so that none is skipped
    PRECISION = 5


_MENDS = {Rung.PAGE: Mend.PAGE, Rung.DEVICE: Mend.DEVICE, Rung.RESTART: Mend.RESTART}
#: The lowest rung that can help.
_FIRST = {
    kind: next((rung for rung, mend in _MENDS.items() if mend is NEEDED.get(kind)), Rung.RETRY)
    for kind in FailureKind
}


@attrs.frozen(kw_only=True)
class ProgressiveSettings(RecoverySettings):
    """Configure `progressive`."""

    #: Attempts of one job that may fail, at most 10; the last failure is its error.
    max_attempts: int = attrs.field(
        default=8, validator=[attrs.validators.ge(1), attrs.validators.le(MAX_ATTEMPTS)]
    )
    #: A worker that fails again within this time gets the next rung, whichever job it failed.
    remember: Seconds = Seconds(10.0)


class ProgressivePolicy(Strategy):
    """Start at the rung that fits what failed, and climb when a job or its worker fails again.

    Rungs: retry, reload the page, new device, restart the browser, another browser, another
    backend, smaller precision. The last three only where the job lists such targets or models.
    """

    settings: ProgressiveSettings

    def __init__(self, settings: ProgressiveSettings | None = None) -> None:
        super().__init__(settings or ProgressiveSettings())
        self._jobs: dict[str, Rung] = {}
        #: Worker -> the rung it was last given, and when.
        self._workers: dict[str, tuple[Rung, int]] = {}

    def follow(self, failed: FailedAttempt, job: JobView, fleet: FleetView) -> Action:
        """Return Retry with what the next rung asks for."""
        is_there = failed.worker_id is not None and fleet.worker(failed.worker_id) is not None
        if failed.kind is FailureKind.LOST and is_there:
            return Retry()  # mended for another job's sake: no failure of this one
        rung = self._next(failed, job, fleet)
        self._remember(failed, rung, fleet.now_ns)
        if rung is Rung.RETRY:
            is_avoided = is_there and has_other(failed, job, fleet)
            return Retry(avoid=(str(failed.worker_id),) if is_avoided else ())
        if rung in _MENDS:
            return Retry(mend=_MENDS[rung])
        mend = NEEDED.get(failed.kind)
        if rung is Rung.PRECISION:
            return Retry(model=_smaller(job)[0], mend=mend)
        return Retry(target=job.further[0], mend=mend)

    def _next(self, failed: FailedAttempt, job: JobView, fleet: FleetView) -> Rung:
        possible = _possible(failed, job)
        lowest = max(
            _FIRST[failed.kind],
            _above(self._jobs.get(job.id)),
            _above(self._last_of(failed, fleet.now_ns)),
        )
        if failed.kind is FailureKind.OUT_OF_MEMORY and Rung.PRECISION in possible:
            # No page and no browser makes a model smaller.
            is_first = lowest == Rung.RETRY and has_other(failed, job, fleet)
            return Rung.RETRY if is_first else Rung.PRECISION
        # At the top there is nothing left but to start anew.
        return next((rung for rung in possible if rung >= lowest), Rung.RESTART)

    def _last_of(self, failed: FailedAttempt, now_ns: int) -> Rung | None:
        """Return how far the failed worker was taken lately."""
        if failed.worker_id is None or failed.kind in BLAMELESS:
            return None
        rung, at_ns = self._workers.get(failed.worker_id, (None, 0))
        return rung if now_ns - at_ns <= in_ns(self.settings.remember) else None

    def _remember(self, failed: FailedAttempt, rung: Rung, now_ns: int) -> None:
        self._jobs.pop(failed.job_id, None)
        self._jobs[failed.job_id] = rung
        if len(self._jobs) > _JOBS:
            del self._jobs[next(iter(self._jobs))]
        if failed.worker_id is not None and failed.kind not in BLAMELESS:
            self._workers[failed.worker_id] = (rung, now_ns)


def _above(last: Rung | None) -> int:
    """Return the lowest rung after `last`; there may be another target or precision."""
    if last is None:
        return Rung.RETRY
    return last + 1 if last <= Rung.RESTART else last


def _possible(failed: FailedAttempt, job: JobView) -> list[Rung]:
    here = job.targets[0]
    has_device = here.backend in _WITH_DEVICE or failed.kind is FailureKind.DEVICE_LOST
    possible = {
        Rung.RETRY: True,
        Rung.PAGE: here.browser is not None,
        Rung.DEVICE: has_device,
        Rung.RESTART: True,
        Rung.TARGET: bool(job.further),
        Rung.PRECISION: bool(_smaller(job)),
    }
    return [rung for rung, is_possible in possible.items() if is_possible]


def _smaller(job: JobView) -> tuple[str, ...]:
    """Return the job's models that are smaller than the one it runs now."""
    if job.model in job.degraded:
        return job.degraded[job.degraded.index(job.model) + 1 :]
    return job.degraded
