# SPDX-License-Identifier: Apache-2.0
"""Count what an Accelerator did, by model."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from .runner import Answer


@attrs.define
class _Counts:
    requests: int = 0
    failures: int = 0
    items: int = 0
    inference_ms: float = 0.0
    latency_ms: float = 0.0
    targets: dict[str, int] = attrs.field(factory=dict)

    def add(self, other: _Counts) -> None:
        self.requests += other.requests
        self.failures += other.failures
        self.items += other.items
        self.inference_ms += other.inference_ms
        self.latency_ms += other.latency_ms
        for target, count in other.targets.items():
            self.targets[target] = self.targets.get(target, 0) + count

    def summary(self) -> dict[str, Any]:
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
        }


class Metrics:
    """Add up answers and failures; safe to read from any thread. Times in milliseconds."""

    def __init__(self) -> None:
        self.workers_lost = 0
        self._lock = threading.Lock()
        self._models: dict[str, _Counts] = {}

    def answered(self, model: str, answer: Answer, items: int) -> None:
        """Count an answered request of so many items."""
        in_page = answer.result.phases.in_page_ms
        target = str(answer.connection.info.target)
        with self._lock:
            self._models.setdefault(model, _Counts()).add(
                _Counts(
                    requests=1,
                    items=items,
                    inference_ms=in_page if in_page is not None else answer.latency_ms,
                    latency_ms=answer.latency_ms,
                    targets={target: 1},
                )
            )

    def failed(self, model: str) -> None:
        """Count a request that failed for good."""
        with self._lock:
            self._models.setdefault(model, _Counts()).failures += 1

    def summary(self) -> dict[str, Any]:
        """Return the totals, and the same under "models" for each model."""
        with self._lock:
            total = _Counts()
            for counts in self._models.values():
                total.add(counts)
            models = {name: counts.summary() for name, counts in self._models.items()}
            return {**total.summary(), "models": models}
