# SPDX-License-Identifier: Apache-2.0
"""What a job runs, and what comes of it."""

from __future__ import annotations

import functools

import attrs

from ..types import Connection, LoadOptions, ModelHandle, ModelSpec, Result, Target


@attrs.frozen(kw_only=True)
class Work:
    """Say what a job runs: a model, how it is loaded, and on which targets, best first."""

    spec: ModelSpec
    targets: tuple[Target, ...]
    options: LoadOptions = LoadOptions()
    task: str | None = None
    #: The same with smaller weights, best first: used only where degrading is allowed.
    degraded: tuple[Work, ...] = ()

    @functools.cached_property
    def key(self) -> str:
        """Identify the loaded model: with other sizes or options it is another one."""
        sizes = ",".join(f"{name}={size}" for name, size in sorted(self.options.dimensions.items()))
        marks = "!" * self.options.precompile + "~" * self.options.profile
        return f"{self.spec.sha256}[{sizes}]{marks}"


@attrs.frozen(kw_only=True)
class Answer:
    """Hold a job's result and how it came about. Times in milliseconds."""

    result: Result
    handle: ModelHandle  #: its spec is of what answered: a degraded one has another precision
    worker_id: str
    connection: Connection
    attempts: int
    queue_ms: float  #: from submission to dispatch
    latency_ms: float  #: from submission to result
