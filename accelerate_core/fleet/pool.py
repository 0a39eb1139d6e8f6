# SPDX-License-Identifier: Apache-2.0
"""Which workers there are: started, mended, stopped."""

from __future__ import annotations

from ..types import Target, WorkerInfo
from . import instructions as do
from .desk import Desk
from .memory import Memory
from .policy import Mend
from .settings import SECOND
from .state import JobState, WorkerState, WorkerStatus
from .usage import Usage

#: A worker that came up and is lost within this time, before it answered anything, does not work.
_PROVEN_NS = 10 * SECOND
#: Workers that take no job soon, and those that may be stopped once they are idle.
_NO_HELP = (WorkerStatus.STOPPING, WorkerStatus.QUARANTINED)
_UP = (WorkerStatus.READY, WorkerStatus.SUSPECT, WorkerStatus.QUARANTINED)


class Pool:
    """Start workers that jobs wait for, and stop those nobody needs."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._epochs: dict[str, int] = {}
        self.memory = Memory()
        #: Part of the machine's cores that was in use lately.
        self.busy = 0.0
        #: How workers were used, by the target they were started for.
        self.usages: dict[Target, Usage] = {}
        #: Targets whose number of workers may be wrong, in order of coming.
        self.unsettled: dict[Target, None] = {}
        #: Workers that came up, or loaded a model, and may have nothing to do.
        self.fresh: list[WorkerState] = []
        #: Workers that are being killed: they are replaced at once, not when they have ended.
        self._killed: set[str] = set()
        #: Workers that have answered something.
        self._proven: set[str] = set()

    def provide(self, job: JobState) -> bool:
        """See to it that a worker for a waiting job exists or comes; False when none can yet."""
        is_provided = self._provide_first(job)
        if is_provided and self._desk.sees_fallbacks:
            self._provide_further(job)
        return is_provided

    def _provide_first(self, job: JobState) -> bool:
        first = job.targets[0]
        if self.serves(job):
            if self._desk.settings.is_adaptive and not self.usage(first).is_watched:
                self.unsettled[first] = None
            return True
        if self.has_room():
            self.start(first)
            return True
        self._make_room()
        return False

    def _provide_further(self, job: JobState) -> None:
        """Start a worker for each fallback that has none, but where that failed before."""
        for target in job.targets[1:]:
            if not self.has_room():
                return
            is_there = any(True for _ in self._desk.fleet.covering((target,)))
            if not is_there and not self.usage(target).failures:
                self.start(target)

    def serves(self, job: JobState) -> bool:
        """Whether a worker for a waiting job is there, however busy, or on its way."""
        return any(
            worker.status not in _NO_HELP and not worker.is_retired and worker.id not in job.avoids
            for worker in self._desk.fleet.covering(job.targets[:1])
        )

    def has_room(self) -> bool:
        """Whether another worker may be started. The first one always may."""
        count, settings = len(self._desk.fleet.workers), self._desk.settings
        staying = count - len(self._killed)
        if staying == 0 or staying >= settings.max_workers:
            return staying == 0
        return self.memory.fits_another(settings.memory_limit_bytes, count)

    def start(self, target: Target) -> WorkerState:
        """Start a worker for a target."""
        fleet, usage = self._desk.fleet, self.usage(target)
        idle_ns = self._desk.settings.idle_ns
        if idle_ns is not None:
            usage.regret(fleet.now_ns, idle_ns)
        self.memory.started()
        # The lowest free number, or with many workers at once one that is likely to be free.
        number = fleet.count(target) + 1
        if f"{target}-{number}" in fleet.workers:
            number = 1
        while (worker_id := f"{target}-{number}") in fleet.workers:
            number += 1
        # A worker that failed a job and is started anew is another worker to it.
        self._forgive(worker_id)
        epoch = self._next_epoch(worker_id)
        worker = WorkerState(
            worker_id,
            epoch,
            target,
            started_ns=fleet.now_ns,
            is_paced=self._desk.sees_paces,
        )
        fleet.add(worker)
        self._desk.say(do.StartWorker(worker_id, epoch, target))
        return worker

    def stop(self, worker: WorkerState, *, kill: bool = False) -> None:
        """Stop a worker."""
        worker.status = WorkerStatus.STOPPING
        self._desk.fleet.touch(worker)
        self._desk.say(do.StopWorker(worker.id, worker.epoch, kill))
        if kill:
            self._desk.fleet.failed(worker)
            self._killed.add(worker.id)
            self.unsettled[worker.target] = None
            self._desk.fleet.has_rested = True  # who waits for room asks again

    def restart(self, worker: WorkerState) -> None:
        """End a worker as soon as nothing runs there; another is started where jobs wait."""
        if worker.jobs:
            worker.is_retired = True
        else:
            self.stop(worker, kill=True)

    def mend(self, worker: WorkerState, how: Mend) -> None:
        """Mend a worker that no job is left on; its models have to be loaded again."""
        if how is Mend.RESTART:
            self.stop(worker, kill=True)
            return
        worker.epoch = self._next_epoch(worker.id)
        worker.status = WorkerStatus.STARTING
        worker.ending.clear()
        worker.is_stuck = False
        self._desk.fleet.unload_all(worker)
        self._desk.fleet.touch(worker)
        self._forgive(worker.id)
        self._desk.say(do.MendWorker(worker.id, worker.epoch, how))

    def ready(self, worker: WorkerState, info: WorkerInfo) -> None:
        """Let a worker that has come up take jobs."""
        if worker.status is not WorkerStatus.STARTING:
            return
        worker.info = info
        worker.status = WorkerStatus.READY
        worker.ready_ns = self._desk.fleet.now_ns
        self.usage(worker.target).start_after_ns = 0
        self.fresh.append(worker)
        self._desk.fleet.touch(worker)
        if worker.is_retired or (self._desk.is_draining and not self._desk.jobs):
            self.stop(worker)

    def took(self, worker: WorkerState, model: str) -> None:
        """Learn that a worker got a job."""
        usage, settings = self.usage(worker.target), self._desk.settings
        is_first = not usage.is_used
        is_new, is_peak = usage.took(model)
        # What runs has its workers: more of it than ever calls for another spare at most.
        calls_for_spare = is_peak and settings.hot_spares
        warms = is_new and (settings.is_adaptive or settings.hot_spares)
        if is_first or calls_for_spare or warms:
            self.unsettled[worker.target] = None

    def left(self, worker: WorkerState) -> None:
        """Learn that a job left a worker; stop one that was only kept for it."""
        settings = self._desk.settings
        usage = self.usages[worker.target]
        usage.left(self._desk.fleet.now_ns)
        worker.jobs_done += 1
        may_shrink = settings.idle_ns is not None and not usage.is_planned
        if may_shrink and self._desk.fleet.count(worker.target) > settings.floor:
            self.unsettled[worker.target] = None
        if worker.jobs_done == settings.max_jobs_per_worker:
            self.unsettled[worker.target] = None
        self._stop_retired(worker)

    def ended(self, worker: WorkerState, job_id: str, attempt: int) -> None:
        """Learn that an attempt has ended: if it was cancelled before, its place is free now."""
        if (job_id, attempt) in worker.ending:
            worker.ending.remove((job_id, attempt))
            self._desk.fleet.touch(worker)

    def answered(self, worker: WorkerState) -> None:
        """Learn that a worker answered."""
        if worker.id not in self._proven:
            self._proven.add(worker.id)
            self.usage(worker.target).worked()

    def doubted(self, worker: WorkerState) -> None:
        """Learn that a worker fell silent."""
        self.unsettled[worker.target] = None

    def let_go(self, worker: WorkerState) -> None:
        """Stop a worker once it is idle."""
        worker.is_retired = True
        self._desk.fleet.touch(worker)
        if worker.group is not None:
            self._desk.fleet.freed.add(worker.group)
        self._stop_retired(worker)

    def _stop_retired(self, worker: WorkerState) -> None:
        if worker.is_retired and not worker.jobs and worker.status in _UP:
            self.stop(worker)

    def retire(self, target: Target) -> None:
        """Stop the workers for a target once they are idle."""
        for worker in list(self._desk.fleet.covering((target,))):
            if worker.status is WorkerStatus.STOPPING:
                continue
            self.usage(worker.target).retire()
            self.let_go(worker)

    def stop_idle(self) -> None:
        """Stop every worker that does nothing."""
        for worker in list(self._desk.fleet.workers.values()):
            if worker.status in _UP and not worker.jobs:
                self.stop(worker)

    def load(self, worker: WorkerState, model: str) -> None:
        """Load a model that no job waits for."""
        if model not in worker.models | worker.loading.keys() | worker.refused:
            worker.loading[model] = self._desk.fleet.now_ns
            self._desk.say(do.LoadModel(worker.id, worker.epoch, model))

    # --- what is learnt -----------------------------------------------------------------------

    def usage(self, target: Target) -> Usage:
        """Return how workers started for a target were used."""
        usage = self.usages.get(target)
        if usage is None:
            usage = self.usages[target] = Usage()
        return usage

    def loaded(self, worker: WorkerState) -> None:
        """Learn that a worker loaded a model."""
        self.fresh.append(worker)

    def load_refused(self, worker: WorkerState, model: str) -> None:
        """Learn that a worker cannot load a model."""
        worker.refused.add(model)
        self.fresh.append(worker)

    def start_failed(self, worker: WorkerState) -> None:
        """Learn that a worker could not be started."""
        self.usage(worker.target).failed(self._desk.fleet.now_ns)
        self.gone(worker)

    def lost(self, worker: WorkerState) -> None:
        """Learn that a worker is lost; one lost as soon as it came is no better than none."""
        now_ns = self._desk.fleet.now_ns
        is_old = worker.ready_ns > 0 and now_ns >= worker.ready_ns + _PROVEN_NS
        if not (worker.id in self._proven or is_old):
            self.usage(worker.target).failed(now_ns)
        self._forget(worker)

    def gone(self, worker: WorkerState) -> None:
        """Forget a worker."""
        self._desk.fleet.remove(worker)
        self._forget(worker)

    def weighed(self, worker: WorkerState, held_bytes: int) -> None:
        """Learn what a worker holds."""
        self.memory.weighed(worker.id, held_bytes)
        worker.held_bytes = held_bytes
        if worker.first_bytes is None and not worker.loading:
            worker.first_bytes = held_bytes
        if self._desk.settings.max_growth_bytes is not None:
            self.unsettled[worker.target] = None
        self._keep_to_memory()

    def capacity(self, free_bytes: int, busy: float) -> None:
        """Learn what workers may still take."""
        self.busy = busy
        self.memory.free_bytes = free_bytes
        self.memory.started_since = 0
        self.unsettled.update(dict.fromkeys(self.usages))
        self._desk.fleet.has_rested = True  # who waits for room asks again
        self._keep_to_memory()

    def known(self, worker_id: str, epoch: int) -> WorkerState | None:
        """Return a worker if it is of this epoch, else None."""
        worker = self._desk.fleet.workers.get(worker_id)
        return worker if worker is not None and worker.epoch == epoch else None

    def _keep_to_memory(self) -> None:
        if self.memory.is_over(self._desk.settings.memory_limit_bytes):
            self._make_room()

    def _make_room(self) -> None:
        """Stop one idle worker, unless another is on its way out."""
        workers = self._desk.fleet.workers.values()
        if any(worker.status is WorkerStatus.STOPPING or worker.is_retired for worker in workers):
            return
        idle = [
            worker for worker in workers if worker.status is WorkerStatus.READY and not worker.jobs
        ]
        if idle:
            worker = min(idle, key=lambda worker: worker.sessions)
            self.usage(worker.target).retire()  # it comes back when a job wants it
            self.stop(worker)

    def _forget(self, worker: WorkerState) -> None:
        self.memory.gone(worker.id)
        self._killed.discard(worker.id)
        self._proven.discard(worker.id)
        self.unsettled[worker.target] = None
        self.fresh.append(worker)

    def _next_epoch(self, worker_id: str) -> int:
        epoch = self._epochs[worker_id] = self._epochs.get(worker_id, 0) + 1
        return epoch

    def _forgive(self, worker_id: str) -> None:
        queue = self._desk.queue
        for job in queue.avoiding(worker_id):
            job.tried = tuple(one for one in job.tried if one != worker_id)
            if not queue.is_parked(job):
                queue.add(job)
