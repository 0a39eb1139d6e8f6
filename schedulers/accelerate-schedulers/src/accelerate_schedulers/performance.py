# SPDX-License-Identifier: Apache-2.0
"""Go where the answer is predicted to come first, by measured latencies.

Of a worker it is predicted when a place is free there, how long the model takes to load where it is
not loaded, and how long the run takes: the median of the model on the worker's target, times the
worker's own pace lately.

- What is little known is taken for faster than it seems, by two runs' worth (an upper confidence
  bound, as for bandits: Auer et al., 2002): a target r times as slow as the best one is tried about
  2 / (r - 1) times before it is left alone.
- What was left alone may have become faster. A pace is forgotten by half after a while, and a part
  of the jobs (`explore`) tries another idle worker, the more rarely the slower that seems: all of
  this adds no more than that part to the mean latency of the best.
- A worker that is busy and fast is waited for while an idle one would answer later, and all that
  waits would be done sooner without it.
- While workers load, which keeps them from all else, another load of a model that is loaded, or
  about to be, must save what waits more time than it takes (rent or buy: Karlin et al., 1988).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import attrs
from attrs.validators import ge, gt, le

from accelerate_core.fleet.policy import Decision, FleetView, JobView, Placement, Wait, WorkerView
from accelerate_core.settings import Seconds
from accelerate_core.types import Target

_NOBODY = Wait("no worker for it is ready")
#: Workers of a target that are compared, and how many of them that have the model loaded.
_SEEN, _LOADED = 16, 4
#: An idle worker that is no slower than this many times its usual is as good as any like it.
_FINE = 1.25
#: Runs that a median of history or of other targets is worth.
_PRIOR = 2
#: A run that takes longer than predicted takes this part of its time so far longer.
_STILL = 0.3
#: Nobody is asked again sooner after this, if nothing happens.
_SOONEST_NS = 2_000_000
#: On a target that is this many times as slow no worker is looked at while a faster one is idle.
_FAR = 1.5
#: A load is taken for no more than so many.
_DEAREST = 8.0
#: Runs by which it is known what a model's part of the work is.
_REMEMBERED = 512
#: Digits of a hash: the name of a model in history. Keys of loaded models begin with it.
_HASH = 64


@attrs.frozen(kw_only=True)
class PerformanceSettings:
    """Configure `performance`."""

    #: Part of the jobs, 0 to 0.5, that may try another worker than the one predicted to be first.
    explore: float = attrs.field(default=0.03, validator=[ge(0), le(0.5)])
    #: After so long half of what is thought of a worker's pace is forgotten.
    forget: Seconds = attrs.field(default=Seconds(60.0), validator=gt(Seconds(0)))


class _Option(NamedTuple):
    """One worker, and what is predicted of it, in nanoseconds."""

    answer_ns: float
    number: int  #: of equal ones the first is taken: the least busy, then the longest waiting
    free_ns: float
    run_ns: float
    worker: WorkerView
    load_ns: float = 0.0  #: 0 where the model is loaded, or is being loaded, or nobody knows


class _Work:
    """Know which part of the work lately was whose model's; older work counts ever less."""

    def __init__(self) -> None:
        self._runs_ns: dict[str, float] = {}
        self._work_ns: dict[str, float] = {}
        self._total_ns = 0.0
        self._count = 0

    def add(self, model: str, run_ns: float | None = None) -> None:
        """Count a run, which takes as long as the last one if that is not said."""
        if run_ns is None:
            run_ns = self._runs_ns.get(model, 0.0)
        else:
            self._runs_ns[model] = run_ns
        self._work_ns[model] = self._work_ns.get(model, 0.0) + run_ns
        self._total_ns += run_ns
        self._count += 1
        if self._count == _REMEMBERED:
            self._count //= 2
            least_ns = self._total_ns / (100 * _REMEMBERED)
            self._work_ns = {
                name: work_ns / 2 for name, work_ns in self._work_ns.items() if work_ns > least_ns
            }
            self._runs_ns = {name: self._runs_ns.get(name, 0.0) for name in self._work_ns}
            self._total_ns = sum(self._work_ns.values())

    def share(self, model: str) -> float:
        """Return a model's part of the work; 1 where nothing is known."""
        return self._work_ns.get(model, 0.0) / self._total_ns if self._total_ns else 1.0


class PerformancePolicy:
    """Predict for each worker in question when it would answer, and take the first."""

    sees_fallbacks = True
    sees_paces = True
    reads_history = True

    def __init__(self, settings: PerformanceSettings | None = None) -> None:
        settings = settings or PerformanceSettings()
        self._explore = settings.explore
        self._forget_ns = settings.forget * 1e9
        #: Concrete target -> what loads take there, of models that were loaded.
        self._loads: dict[Target, float] = {}
        #: What the run of a job takes, of those that were placed lately.
        self._usual_ns = 0.0
        self._work = _Work()

    def pick(self, job: JobView, fleet: FleetView) -> Decision:
        """Return the worker that would answer first, or Wait for one that is busy."""
        targets = fleet.targets(job.targets)
        is_trial = fleet.rng.random() < self._explore
        runs = self._runs(job.model, fleet, targets) if len(targets) > 1 else {}
        if not is_trial and not job.is_load_only and (near := _nearest(targets, runs)):
            for worker in fleet.idle_with(job.model, near, _LOADED + len(job.tried)):
                if worker.pace <= _FINE and worker.id not in job.tried:
                    self._work.add(job.model)
                    return Placement((worker.id,))
        runs = runs or self._runs(job.model, fleet, targets)
        options = self._options(job, fleet, targets, runs)
        if not options:
            return _NOBODY
        idle = [one for one in options if one.worker.is_idle]
        if job.is_load_only:
            return self._for_load(idle, options)
        if not is_trial and not self._pays(idle, options, job, fleet):
            options = [one for one in options if not one.load_ns]
            idle = [one for one in idle if not one.load_ns]
        best = min(options)
        if is_trial and len(idle) > 1:
            other = idle[fleet.rng.randrange(len(idle))]
            if fleet.rng.random() * other.answer_ns < best.answer_ns:
                return self._place(job, other)
        if best.worker.is_idle:
            return self._place(job, best)
        if idle:
            second = min(idle)
            if second.answer_ns <= self._drained_ns(best, second, options, job, fleet):
                return self._place(job, second)
            until_ns = fleet.now_ns + max(int(best.free_ns), _SOONEST_NS)
            return Wait("a busy worker will answer sooner", until_ns)
        return Wait("every worker for it is busy")

    def _place(self, job: JobView, option: _Option) -> Placement:
        self._work.add(job.model, option.run_ns)
        self._usual_ns += (option.run_ns - self._usual_ns) / 16
        return Placement((option.worker.id,))

    @staticmethod
    def _for_load(idle: Sequence[_Option], options: Sequence[_Option]) -> Decision:
        """Go where the fewest sessions are: it may be for another one, which stays there."""
        if not idle:
            return Wait("every worker for it is busy")
        chosen = min(idle, key=lambda one: (one.worker.sessions, one.answer_ns))
        return Placement((chosen.worker.id,))

    def _drained_ns(
        self,
        best: _Option,
        second: _Option,
        options: Iterable[_Option],
        job: JobView,
        fleet: FleetView,
    ) -> float:
        """Return when the last of what waits would be answered by workers better than `second`."""
        others = fleet.waiting(job.targets) - 1
        better = sum(one.worker.info.slots for one in options if one < second)
        return best.answer_ns + others * max(best.run_ns, self._usual_ns) / max(better, 1)

    def _pays(
        self, idle: Iterable[_Option], options: Sequence[_Option], job: JobView, fleet: FleetView
    ) -> bool:
        """Whether loading the model once more saves what waits more time than it costs others."""
        load = min((one for one in idle if one.load_ns), default=None)
        if load is None:
            return True
        having = [one for one in options if not one.load_ns]
        if not having:
            return True
        first = min(having)
        slots = sum(one.worker.info.slots for one in having if one < load)
        step_ns = max(first.run_ns, self._usual_ns) / max(slots, 1)
        count = fleet.waiting(job.targets)
        # Each that waits is answered a step later than the one before it, or by the load.
        least_ns = first.answer_ns - load.answer_ns
        last_ns = least_ns + max(count - 1, 0) * step_ns
        if last_ns <= 0:
            return False
        if least_ns >= 0:
            saved_ns = (least_ns + last_ns) / 2 * max(count, 1)
        else:
            saved_ns = last_ns * last_ns / (2 * step_ns)
        loading = sum(
            any(model not in one.worker.models for model, _ in one.worker.attempts)
            for one in options
        )
        return saved_ns >= load.load_ns * loading

    # --- predictions --------------------------------------------------------------------------

    def _options(
        self,
        job: JobView,
        fleet: FleetView,
        targets: Sequence[Target],
        runs: Mapping[Target, float],
    ) -> list[_Option]:
        found: list[_Option] = []
        lacking: list[tuple[_Option, float]] = []
        enough = _SEEN + len(job.tried)
        for target in targets:
            run_ns = runs[target]
            workers = {one.id: one for one in fleet.least_loaded(enough, (target,))}
            if len(workers) == enough:
                loaded = fleet.idle_with(job.model, (target,), _LOADED + len(job.tried))
                workers |= {one.id: one for one in loaded}
            for worker in workers.values():
                if worker.id in job.tried:
                    continue
                pace = self._pace(worker, fleet.now_ns)
                free_ns = (
                    0.0 if worker.is_idle else self._free_ns(worker, pace, fleet, job.model, run_ns)
                )
                number = len(found) + len(lacking)
                answer_ns = free_ns + pace * run_ns
                option = _Option(answer_ns, number, free_ns, pace * run_ns, worker)
                if job.model in worker.models or any(
                    model == job.model for model, _ in worker.attempts
                ):
                    found.append(option)
                else:
                    lacking.append((option, pace * self._load_ns(job.model, worker, fleet)))
        # A load keeps its worker from others: the more workers have the model already, or load it,
        # of what its part of the work calls for, the more it costs.
        having, count = len(found), len(found) + len(lacking)
        dear = 1.0
        if having and lacking:
            due = self._work.share(job.model) * count
            dear = min(max((having + 1) / max(due, 1e-9), 1.0), _DEAREST)
        for option, load_ns in lacking:
            answer_ns = option.answer_ns + dear * load_ns
            found.append(option._replace(answer_ns=answer_ns, load_ns=load_ns))
        return found

    def _pace(self, worker: WorkerView, now_ns: int) -> float:
        if 1 / _FINE <= worker.pace <= _FINE:
            return worker.pace
        kept: float = 0.5 ** ((now_ns - worker.paced_ns) / self._forget_ns)
        return float(worker.pace**kept)

    def _free_ns(
        self, worker: WorkerView, pace: float, fleet: FleetView, known: str, known_ns: float
    ) -> float:
        """Return when a place is free on a busy worker: when the first of its attempts ends.

        A run of the model `known` takes `known_ns` on its target.
        """
        soonest = None
        for model, since_ns in worker.attempts:
            run_ns = known_ns
            if model != known:
                run_ns = self._runs(model, fleet, (worker.target,))[worker.target]
            takes_ns = pace * run_ns
            if model not in worker.models:
                takes_ns += pace * self._load_ns(model, worker, fleet)
            elapsed_ns = fleet.now_ns - since_ns
            left_ns = max(takes_ns - elapsed_ns, _STILL * elapsed_ns)
            if soonest is None or left_ns < soonest:
                soonest = left_ns
        return self._usual_ns if soonest is None else soonest

    def _runs(
        self, model: str, fleet: FleetView, targets: Sequence[Target]
    ) -> Mapping[Target, float]:
        """Return how long a run takes on each target, less where little is known of it."""
        past: Mapping[str, Any] = fleet.history.get(model[:_HASH], {})
        found: dict[Target, float] = {}
        unknown = []
        for target in targets:
            known = fleet.latency(model, target, 1)
            before = past.get(str(target)) if past else None
            if known is not None:
                median: float = known.p50_ns
                if before is not None and known.count < _PRIOR:
                    median = before["run_ns"]
                found[target] = median * known.count / (known.count + _PRIOR)
            elif before is not None:
                found[target] = before["run_ns"]
            else:
                unknown.append(target)
        hoped_ns = min(found.values(), default=self._usual_ns) / _PRIOR
        found.update(dict.fromkeys(unknown, hoped_ns))
        return found

    def _load_ns(self, model: str, worker: WorkerView, fleet: FleetView) -> float:
        """Return how long a load takes: this model's, or that of others there."""
        target = worker.target
        known = fleet.load_ns(model, target)
        if known is not None:
            usual = self._loads.get(target, known)
            self._loads[target] = usual + (known - usual) / 16
            return known
        before = fleet.history.get(model[:_HASH], {}).get(str(target), {}).get("load_ns")
        return self._loads.get(target, 0.0) if before is None else before


def _nearest(targets: Sequence[Target], runs: Mapping[Target, float]) -> Sequence[Target]:
    """Return the fastest target where the others are far slower; nothing where one is not."""
    if len(targets) <= 1:
        return targets
    best = min(targets, key=runs.__getitem__)
    far_ns = _FAR * runs[best]
    return () if any(runs[one] < far_ns for one in targets if one is not best) else (best,)
