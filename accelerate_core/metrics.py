# SPDX-License-Identifier: Apache-2.0
"""What a fleet did, added up from its points and answers; read as typed values at any time."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from .fleet.metric import ERROR, MEND, TARGET, Point
from .fleet.report import ByName

if TYPE_CHECKING:
    from .running.work import Answer

#: Percentiles are of the last so many values.
WINDOW = 1024


@attrs.frozen(kw_only=True)
class Percentiles:
    """Hold percentiles of the last `WINDOW` values, in milliseconds; the count is of all."""

    count: int
    p50_ms: float
    p90_ms: float
    p99_ms: float


@attrs.frozen(kw_only=True)
class JobMetrics:
    """Count jobs by how they ended, and what it took."""

    submitted: int = 0
    answered: int = 0
    failed: Mapping[str, int] = attrs.field(factory=dict)  #: by the error's name
    cancelled: int = 0
    pending: int = 0  #: not dispatched yet
    attempts: int = 0  #: that ended
    failed_attempts: Mapping[str, int] = attrs.field(factory=dict)  #: by kind of failure
    retries: int = 0
    hedges: int = 0
    failovers: int = 0  #: retries on another target
    degradations: int = 0  #: attempts with a smaller precision than was asked for
    duration: Percentiles | None = None  #: submission to answer, of those that were answered
    wait: Percentiles | None = None  #: submission to first dispatch


@attrs.frozen(kw_only=True)
class WorkerMetrics:
    """Count workers: how they came, and how they went."""

    live: int = 0
    starts: Mapping[str, int] = attrs.field(factory=dict)  #: by target
    failed_starts: Mapping[str, int] = attrs.field(factory=dict)  #: by the error's name
    losses: Mapping[str, int] = attrs.field(factory=dict)  #: by kind of failure
    mends: Mapping[str, int] = attrs.field(factory=dict)  #: "device" or "page"
    start: Percentiles | None = None
    busy_s: float = 0.0  #: time that attempts took, of all workers
    utilisation: float | None = None  #: part of the slots taken now


@attrs.frozen(kw_only=True)
class ModelMetrics(ByName):
    """Count the requests of one model, or of all. Times in milliseconds."""

    requests: int = 0  #: answered
    failures: int = 0
    items: int = 0
    avg_inference_time: float | None = None
    avg_latency: float | None = None
    avg_throughput: float | None = None  #: items a second, one request at a time
    targets: Mapping[str, int] = attrs.field(factory=dict)  #: which answered, how often
    precisions: Mapping[str, int] = attrs.field(factory=dict)  #: which answered, how often


@attrs.frozen(kw_only=True)
class Metrics(ModelMetrics):
    """Hold everything that is counted: over all models, by model, and of the fleet."""

    models: Mapping[str, ModelMetrics] = attrs.field(factory=dict)
    jobs: JobMetrics = JobMetrics()
    workers: WorkerMetrics = WorkerMetrics()


class _Histogram:
    def __init__(self) -> None:
        self.count = 0
        self._recent: deque[float] = deque(maxlen=WINDOW)

    def add(self, value: float) -> None:
        self.count += 1
        self._recent.append(value)

    def percentiles(self) -> Percentiles:
        ordered = sorted(self._recent)
        p50, p90, p99 = (
            round(1e3 * ordered[min(len(ordered) - 1, len(ordered) * part // 100)], 3)
            for part in (50, 90, 99)
        )
        return Percentiles(count=self.count, p50_ms=p50, p90_ms=p90, p99_ms=p99)


class Totals:
    """Add up the points of a fleet; may be read from any thread."""

    def __init__(self) -> None:
        self.lost_ns: int | None = None  #: when the last worker was lost
        self._lock = threading.Lock()
        #: How much of each metric, by what went wrong and by target.
        self._sums: Counter[tuple[str, str | None, str | None]] = Counter()
        self._mends: Counter[str] = Counter()
        #: By metric, of what went well.
        self._histograms: dict[str, _Histogram] = {}

    def add(self, points: Iterable[Point], at_ns: int) -> None:
        """Learn what just happened."""
        with self._lock:
            for point in points:
                error, target = point.attributes.get(ERROR), point.attributes.get(TARGET)
                is_histogram = point.instrument == "histogram"
                self._sums[point.name, error, target] += 1 if is_histogram else point.value  # type: ignore[assignment]
                if is_histogram and error is None:
                    self._histograms.setdefault(point.name, _Histogram()).add(point.value)
                if point.name == "accelerate.worker.mends":
                    self._mends[point.attributes[MEND]] += 1
                if point.name == "accelerate.worker.losses":
                    self.lost_ns = at_ns

    def pending(self) -> int:
        """Return how many jobs are not dispatched yet."""
        with self._lock:
            return self._sum("accelerate.job.pending")

    def lost(self) -> int:
        """Return how many workers were lost."""
        with self._lock:
            return self._sum("accelerate.worker.losses")

    def jobs(self) -> JobMetrics:
        """Return what became of the jobs."""
        with self._lock:
            failed = self._by_error("accelerate.job.duration")
            cancelled = failed.pop("cancelled", 0)
            answered = self._count("accelerate.job.duration")
            failed_attempts = self._by_error("accelerate.attempt.duration")
            return JobMetrics(
                submitted=self._sum("accelerate.job.submissions"),
                answered=answered,
                failed=failed,
                cancelled=cancelled,
                pending=self._sum("accelerate.job.pending"),
                attempts=self._sum("accelerate.attempt.duration"),
                failed_attempts=failed_attempts,
                retries=self._sum("accelerate.job.retries"),
                hedges=self._sum("accelerate.job.hedges"),
                failovers=self._sum("accelerate.job.failovers"),
                degradations=self._sum("accelerate.job.degradations"),
                duration=self._percentiles("accelerate.job.duration"),
                wait=self._percentiles("accelerate.job.wait_time"),
            )

    def workers(self, utilisation: float | None) -> WorkerMetrics:
        """Return what became of the workers; `utilisation` is what it is now."""
        with self._lock:
            starts: Counter[str] = Counter()
            for (name, error, target), count in self._sums.items():
                if name == "accelerate.worker.start.duration" and error is None:
                    starts[str(target)] += count
            return WorkerMetrics(
                live=self._sum("accelerate.worker.count"),
                starts=dict(starts),
                failed_starts=self._by_error("accelerate.worker.start.duration"),
                losses=self._by_error("accelerate.worker.losses"),
                mends=dict(self._mends),
                start=self._percentiles("accelerate.worker.start.duration"),
                busy_s=round(sum(self._of("accelerate.worker.busy_time").values()), 6),
                utilisation=utilisation,
            )

    def _of(self, name: str) -> dict[str | None, float]:
        found: Counter[str | None] = Counter()
        for (metric, error, _), value in self._sums.items():
            if metric == name:
                found[error] += value
        return dict(found)

    def _sum(self, name: str) -> int:
        return int(sum(self._of(name).values()))

    def _by_error(self, name: str) -> dict[str, int]:
        return {error: int(count) for error, count in self._of(name).items() if error is not None}

    def _count(self, name: str) -> int:
        return self._histograms[name].count if name in self._histograms else 0

    def _percentiles(self, name: str) -> Percentiles | None:
        return self._histograms[name].percentiles() if name in self._histograms else None


@attrs.define
class _Requests:
    requests: int = 0
    failures: int = 0
    items: int = 0
    inference_ms: float = 0.0
    latency_ms: float = 0.0
    targets: Counter[str] = attrs.field(factory=Counter)
    precisions: Counter[str] = attrs.field(factory=Counter)

    def add(self, other: _Requests) -> None:
        self.requests += other.requests
        self.failures += other.failures
        self.items += other.items
        self.inference_ms += other.inference_ms
        self.latency_ms += other.latency_ms
        self.targets += other.targets
        self.precisions += other.precisions

    def fields(self) -> dict[str, Any]:
        def per_request(total: float) -> float | None:
            return total / self.requests if self.requests else None

        return {
            "requests": self.requests,
            "failures": self.failures,
            "items": self.items,
            "avg_inference_time": per_request(self.inference_ms),
            "avg_latency": per_request(self.latency_ms),
            "avg_throughput": 1e3 * self.items / self.latency_ms if self.latency_ms else None,
            "targets": dict(self.targets),
            "precisions": dict(self.precisions),
        }


class Requests:
    """Add up answers and failures by model; may be read from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._models: dict[str, _Requests] = {}

    def answered(self, model: str, answer: Answer, items: int) -> None:
        """Count an answered request of so many items."""
        in_page = answer.result.phases.in_page_ms
        one = _Requests(
            requests=1,
            items=items,
            inference_ms=in_page if in_page is not None else answer.latency_ms,
            latency_ms=answer.latency_ms,
            targets=Counter([str(answer.connection.info.target)]),
            precisions=Counter([answer.handle.spec.precision]),
        )
        with self._lock:
            self._models.setdefault(model, _Requests()).add(one)

    def failed(self, model: str) -> None:
        """Count a request that failed for good."""
        with self._lock:
            self._models.setdefault(model, _Requests()).failures += 1

    def metrics(self, jobs: JobMetrics, workers: WorkerMetrics) -> Metrics:
        """Return the sums over all models, each model's, and those of the fleet."""
        with self._lock:
            total = _Requests()
            for one in self._models.values():
                total.add(one)
            models = {name: ModelMetrics(**one.fields()) for name, one in self._models.items()}
        return Metrics(**total.fields(), models=models, jobs=jobs, workers=workers)
