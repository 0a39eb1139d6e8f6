# SPDX-License-Identifier: Apache-2.0
"""What the machine wants done. The runner carries it out and reports back as events."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from ..errors import ErrorInfo
from ..types import Target


@attrs.frozen
class StartWorker:
    """Start a worker; answer with WorkerReady or WorkerFailed."""

    worker_id: str
    epoch: int
    target: Target


@attrs.frozen
class StopWorker:
    """Stop a worker; answer with WorkerStopped."""

    worker_id: str
    epoch: int


@attrs.frozen
class LoadModel:
    """Load a model on a worker; answer with ModelLoaded or LoadFailed."""

    worker_id: str
    epoch: int
    model: str


@attrs.frozen
class Dispatch:
    """Run one attempt on one worker; answer with AttemptFinished or AttemptFailed."""

    job_id: str
    attempt: int
    worker_id: str
    epoch: int
    model: str


@attrs.frozen
class CancelAttempt:
    """Stop working on an attempt; nobody waits for its answer."""

    job_id: str
    attempt: int
    worker_id: str
    epoch: int


@attrs.frozen
class Complete:
    """Give the job's caller the result of this attempt."""

    job_id: str
    attempt: int
    worker_id: str
    epoch: int


@attrs.frozen
class Fail:
    """Give the job's caller an error."""

    job_id: str
    error: ErrorInfo
    attempts: int


@attrs.frozen
class WakeAt:
    """Send a Timer event at this moment."""

    at_ns: int


Instruction: TypeAlias = (
    StartWorker | StopWorker | LoadModel | Dispatch | CancelAttempt | Complete | Fail | WakeAt
)
