# SPDX-License-Identifier: Apache-2.0
"""What the machine wants done. The runner carries it out and reports back as events."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from ..errors import ErrorInfo
from ..types import Target
from .policy import Action, Mend


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
    kill: bool = False  #: it does not answer: waste no time on asking


@attrs.frozen
class MendWorker:
    """Mend a worker, which is of another epoch then; answer with WorkerReady or WorkerLost."""

    worker_id: str
    epoch: int  #: the new one
    how: Mend


@attrs.frozen
class LoadModel:
    """Load a model on a worker; answer with ModelLoaded or LoadFailed."""

    worker_id: str
    epoch: int
    model: str


@attrs.frozen
class UnloadModel:
    """Drop a model of a worker; needs no answer."""

    worker_id: str
    epoch: int
    model: str


@attrs.frozen
class Persist:
    """Write a durable job down; answer with Persisted."""

    job_id: str


@attrs.frozen
class Compare:
    """Compare the answers of a job's attempts; answer with Compared."""

    job_id: str
    attempts: tuple[int, ...]


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
    """Stop working on an attempt; nobody waits for its answer.

    Its place stays taken until it has ended: answer with AttemptCancelled, or what it came to.
    """

    job_id: str
    attempt: int
    worker_id: str
    epoch: int


@attrs.frozen
class Chapter:
    """One thing that happened to a job."""

    at_ns: int
    what: str  #: "submitted", "placed", "failed", ...
    detail: str = ""


@attrs.frozen
class Complete:
    """Give the job's caller the result of this attempt."""

    job_id: str
    attempt: int
    worker_id: str
    epoch: int
    story: tuple[Chapter, ...] = attrs.field(default=(), eq=False, repr=False)


@attrs.frozen
class Fail:
    """Give the job's caller an error."""

    job_id: str
    error: ErrorInfo
    attempts: int
    #: What the strategy said of a member of a group: the group does it.
    action: Action | None = None
    story: tuple[Chapter, ...] = attrs.field(default=(), eq=False, repr=False)


@attrs.frozen
class WakeAt:
    """Send a Timer event at this moment."""

    at_ns: int


Instruction: TypeAlias = (
    StartWorker
    | StopWorker
    | MendWorker
    | LoadModel
    | UnloadModel
    | Persist
    | Compare
    | Dispatch
    | CancelAttempt
    | Complete
    | Fail
    | WakeAt
)
