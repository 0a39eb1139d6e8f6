# SPDX-License-Identifier: Apache-2.0
"""What decides: schedulers, recovery strategies, and where models come from. Synchronous."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ..types import (
    ModelSpec,
    ProcessorSpec,
)

if TYPE_CHECKING:
    from ..fleet.policy import Action, Decision, FailedAttempt, FleetView, JobView
    from ..types import Array


class Scheduler(Protocol):
    """Choose workers. Pure: no clock, no I/O; `fleet.now_ns` and `fleet.rng` are given.

    One with `sees_fallbacks = True` is shown all targets a job still allows, not the best one only,
    and may choose any of them; a worker is started for each, as far as there is room. One with
    `sees_paces = True` is told of each worker its `pace` and `attempts`, which costs every job.
    """

    def pick(self, job: JobView, fleet: FleetView) -> Decision:
        """Return a Placement, Wait or Reject for one job."""
        ...


class Recovery(Protocol):
    """Decide what follows a failed attempt. Pure, like a Scheduler.

    A strategy that hedges also has `hedge_after(job, fleet) -> int | None`, asked at every
    dispatch: after how many nanoseconds a second attempt is wanted.
    """

    def decide(self, failed: FailedAttempt, job: JobView, fleet: FleetView) -> Action:
        """Return Retry or GiveUp."""
        ...


class Processor(Protocol):
    """Turn raw inputs into tensors and outputs into answers, in numpy, on the host."""

    def encode(self, raw: Any, **options: Any) -> Mapping[str, Array]:
        """Return the model's input tensors. ModelError for raw inputs it cannot take."""
        ...

    def decode(self, outputs: Mapping[str, Array], encoded: Mapping[str, Array]) -> Any:
        """Return the answer for `outputs`; `encoded` is what encode returned."""
        ...

    def sample(self, batch_size: int, sequence_length: int | None) -> Any:
        """Return raw inputs for a benchmark: deterministic, realistic, of the asked size.

        Without a `sequence_length` it is a usual one of the model's, the same for any batch.
        """
        ...


class ModelSource(Protocol):
    """Find models for one or more reference schemes (`file:`, `dir:`, ...)."""

    def resolve(self, reference: str, *, name: str, precision: str = "fp32") -> ModelSpec:
        """Return the model, its assets present in the asset store.

        `reference` includes its scheme. ModelError when it is not usable; nothing is left behind.
        """
        ...

    def processor(self, spec: ProcessorSpec) -> Processor:
        """Build the processor a spec of this source asks for."""
        ...
