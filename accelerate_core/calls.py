# SPDX-License-Identifier: Apache-2.0
"""A model as users call it: how surely and how soon, and what they get back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from .errors import ConfigError, Unsupported, did_you_mean
from .measuring.numbers import bind_dimensions
from .protocols import Processor
from .running.work import Work
from .types import PRECISION_BITS, LoadOptions, ModelSpec, Target

if TYPE_CHECKING:
    from .api import AsyncAccelerator
    from .running.work import Answer


_log = logging.getLogger("accelerate.api")

#: What `fault_tolerance` of a model may say, and the argument of `AsyncModel` it is.
_TOLERANCE = {
    "recovery_timeout": "recovery_s",
    "state_persistence": "durable",
    "failover_strategy": None,
}


@attrs.frozen(kw_only=True)
class Terms:
    """Say how soon and how surely a request is done; what is None is as the pool says."""

    #: Of requests that wait, those of a higher priority go first.
    priority: int = 0
    #: Seconds from submission to answer.
    timeout: float | None = None
    #: Workers that do it side by side; the answer is that of most of them.
    copies: int | None = None
    #: Written down before it is dispatched, so that it outlives this process.
    durable: bool | None = None

    def checked(self, max_copies: int) -> Terms:
        """Return the same; ConfigError where a value cannot be."""
        for name, value, is_right, accepted in (
            ("priority", self.priority, isinstance(self.priority, int), "an integer"),
            (
                "timeout",
                self.timeout,
                self.timeout is None
                or (isinstance(self.timeout, int | float) and self.timeout > 0),
                "seconds, more than 0",
            ),
            (
                "copies",
                self.copies,
                self.copies is None
                or (isinstance(self.copies, int) and 1 <= self.copies <= max_copies),
                f"1 to {max_copies} (max_connections)",
            ),
        ):
            if not is_right:
                raise ConfigError(f"{value!r} is not allowed", where=name, accepted=(accepted,))
        return self


@attrs.frozen(kw_only=True)
class Response:
    """Hold an answer and how it came about. Times in milliseconds."""

    answer: Any  #: what calling the model returns
    job_id: str  #: for `accel why`
    worker_id: str
    target: Target  #: what answered
    precision: str  #: of the weights that answered
    fell_back_from: Target | None  #: the target asked for, where another one answered
    degraded_from: str | None  #: the precision asked for, where a smaller one answered
    attempts: int
    queue_ms: float
    latency_ms: float
    inference_ms: float | None
    is_software: bool | None  #: a CPU stood in for the accelerator
    is_simulated: bool


class AsyncModel:
    """Call a model with raw inputs or with a mapping of arrays.

    Raw inputs (sentences, for a text model) go through the model's processor and give its
    answer; a mapping of arrays bypasses it and gives the output arrays by name.
    """

    def __init__(
        self,
        owner: AsyncAccelerator,
        spec: ModelSpec,
        targets: tuple[Target, ...],
        task: str | None,
        processor: Processor | None,
        *,
        asked: Target,
        degraded: tuple[ModelSpec, ...] = (),
        recovery_s: float | None = None,
        durable: bool = False,
    ) -> None:
        self.spec = spec
        self.targets = targets
        self.task = task
        self.asked = asked  #: what was asked for; `targets` are what is there
        self.degraded = degraded  #: the same with smaller weights, best first
        self.recovery_s = recovery_s
        self.durable = durable
        self._owner = owner
        self._processor = processor
        self._said: set[tuple[Target, str]] = set()

    @property
    def name(self) -> str:
        """What the model was asked for as."""
        return self.spec.name

    async def __call__(
        self,
        inputs: Any,
        *,
        priority: int = 0,
        timeout: float | None = None,
        copies: int | None = None,
        durable: bool | None = None,
        **options: Any,
    ) -> Any:
        """Run once and return the answer; see `request` for the arguments and errors."""
        terms = Terms(priority=priority, timeout=timeout, copies=copies, durable=durable)
        return (await self.request(inputs, terms, **options)).answer

    async def request(self, inputs: Any, terms: Terms | None = None, **options: Any) -> Response:
        """Run once and return the answer with how it came about.

        `options` go to the processor's encode, e.g. `sequence_length=32`. ModelError for inputs
        the model cannot take; Overloaded, JobTimeout, WorkerLost as they come.
        """
        terms = (terms or Terms()).checked(self._owner.max_copies)
        if isinstance(inputs, Mapping):
            if options:
                raise ConfigError(
                    "options are for raw inputs",
                    where=self.name,
                    accepted=("arrays alone", "raw inputs with options"),
                )
            job_id, answer = await self._owner.submit(self, inputs, terms)
            return self._response(job_id, answer, dict(answer.result.outputs))
        if self._processor is None:
            raise Unsupported(
                "this model has no processor for raw inputs",
                where=self.name,
                accepted=[f"{one.name}: {one.dtype}{list(one.shape)}" for one in self.spec.inputs],
                hint="Call it with a mapping of input names to numpy arrays.",
            )
        encoded = await asyncio.to_thread(self._processor.encode, inputs, **options)
        job_id, answer = await self._owner.submit(self, encoded, terms)
        decoded = await asyncio.to_thread(
            self._processor.decode,
            answer.result.outputs,  # type: ignore[arg-type]
            encoded,
        )
        return self._response(job_id, answer, decoded)

    def _response(self, job_id: str, answer: Answer, given: Any) -> Response:
        info, precision = answer.connection.info, answer.handle.spec.precision
        is_asked = self.asked.covers(info.target) and precision == self.spec.precision
        if not is_asked and (info.target, precision) not in self._said:
            self._said.add((info.target, precision))
            asked = f"{self.asked} in {self.spec.precision}"
            _log.warning("%s: %s answers in %s, not %s", self.name, info.target, precision, asked)
        return Response(
            answer=given,
            job_id=job_id,
            worker_id=answer.worker_id,
            target=info.target,
            precision=precision,
            fell_back_from=None if self.asked.covers(info.target) else self.asked,
            degraded_from=None if precision == self.spec.precision else self.spec.precision,
            attempts=answer.attempts,
            queue_ms=answer.queue_ms,
            latency_ms=answer.latency_ms,
            inference_ms=answer.result.phases.in_page_ms,
            is_software=info.is_software,
            is_simulated=info.is_simulated,
        )


def work_of(model: AsyncModel, sizes: Mapping[str, Any] | None, *, precompile: bool) -> Work:
    """Return what a job of a model runs; with `sizes`, inputs, it is loaded for theirs alone."""
    dimensions = bind_dimensions(model.spec, sizes) if sizes is not None else {}
    options = LoadOptions(dimensions=dimensions, precompile=precompile)
    first, *smaller = (
        Work(spec=spec, targets=model.targets, options=options, task=model.task)
        for spec in (model.spec, *model.degraded)
    )
    return attrs.evolve(first, degraded=tuple(smaller))


def tolerance(asked: Mapping[str, Any], strategy: str | None) -> dict[str, Any]:
    """Return what a model's `fault_tolerance` says, as arguments of `AsyncModel`.

    `strategy` is the pool's. ConfigError for a key that is unknown, and for another strategy.
    """
    where = "get_model(fault_tolerance=...)"
    for name in asked:
        if name not in _TOLERANCE:
            raise ConfigError(
                f"unknown key {name!r}",
                where=where,
                accepted=_TOLERANCE,
                hint=did_you_mean(name, _TOLERANCE),
            )
    if asked.get("failover_strategy", strategy) != strategy:
        raise ConfigError(
            f"one strategy serves the whole pool: {strategy or 'the default'}",
            where=f"{where} key failover_strategy",
            hint=f"Accelerator(recovery={asked['failover_strategy']!r}) makes it this one.",
        )
    seconds = asked.get("recovery_timeout", 0)
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or seconds < 0:
        raise ConfigError(
            f"{seconds!r} is not allowed",
            where=f"{where} key recovery_timeout",
            accepted=("seconds, 0 or more",),
        )
    return {to: asked[key] for key, to in _TOLERANCE.items() if to is not None and key in asked}


def smaller_than(precision: str, allowed: Sequence[str]) -> tuple[str, ...]:
    """Return those of the allowed precisions that have fewer bits than the asked one."""
    bits = PRECISION_BITS.get(precision, 0)
    return tuple(one for one in allowed if PRECISION_BITS[one] < bits)


def items_in(inputs: Mapping[str, Any]) -> int:
    """Return how many items a call carries: the length of the first axis."""
    for array in inputs.values():
        shape = getattr(array, "shape", ())
        return int(shape[0]) if shape else 1
    return 1
