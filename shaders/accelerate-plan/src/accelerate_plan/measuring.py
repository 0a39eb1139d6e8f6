# SPDX-License-Identifier: Apache-2.0
"""Time variants on a worker, in turn: A B C, C B A, ..., so that a drift favours none."""

from __future__ import annotations

import asyncio
import math
import statistics
from collections.abc import Sequence
from typing import Literal

import attrs

from accelerate_core.protocols import Context, Worker
from accelerate_core.types import LoadOptions, ModelHandle

from .assemble import assemble
from .catalogue import Catalogue
from .choosing import Choice
from .devices import device_of
from .storing import store_plan
from .workload import Workload

#: A run lasts about so long: long against what it costs to submit and read back.
_RUN_MS = 40.0
_MOST_REPEATS = 200
#: So many dispatches show how long one is about, and are enough of one that takes so long.
_TRY = 5
_SLOW_MS = 500.0
#: What takes so much longer than the fastest, twice, is not measured again.
_HOPELESS = 3.0
ROUNDS = 5


@attrs.frozen(kw_only=True)
class Timing:
    """Say how long one dispatch of a variant takes."""

    choice: Choice
    best_ms: float  #: what else the machine does only ever adds to a time
    median_ms: float
    spread: float  #: interquartile range over median
    samples: int
    method: Literal["timestamps", "wall"]


@attrs.define
class _Entrant:
    """A variant that is loaded: once with its step alone, once with the step repeated."""

    choice: Choice
    one: ModelHandle
    many: ModelHandle
    repeats: int
    samples: list[float] = attrs.field(factory=list)
    method: Literal["timestamps", "wall"] = "wall"


async def measure(
    worker: Worker,
    catalogue: Catalogue,
    workload: Workload,
    choices: Sequence[Choice],
    ctx: Context,
    *,
    rounds: int = ROUNDS,
) -> list[Timing]:
    """Return how long a step takes with each choice, the fastest first.

    By timestamps of the device where it has them, else by what a repeated step takes longer than a
    single one, in which the cost of a run cancels. Errors of the worker are those of `run`.
    """
    bench = _Bench(worker, catalogue, workload, ctx)
    entrants = [await bench.enter(one) for one in choices]
    try:
        for number in range(rounds):
            best = min((min(one.samples) for one in entrants if one.samples), default=math.inf)
            for one in entrants if number % 2 == 0 else entrants[::-1]:
                if len(one.samples) < 2 or min(one.samples) <= _HOPELESS * best:
                    await bench.sample(one)
    finally:
        for one in entrants:
            await bench.leave(one)
    return sorted((_timing(one) for one in entrants), key=lambda one: one.best_ms)


class _Bench:
    """Load and run one workload on one worker."""

    def __init__(
        self, worker: Worker, catalogue: Catalogue, workload: Workload, ctx: Context
    ) -> None:
        self._worker = worker
        self._catalogue = catalogue
        self._kernel = catalogue.kernel(workload.operation)
        self._workload = workload
        self._ctx = ctx

    async def enter(self, choice: Choice) -> _Entrant:
        """Load a choice, and find out how often to repeat it."""
        one, some = await self._load(choice, 1), await self._load(choice, _TRY)
        await self._wall_ms(one)  # the first run may compile
        alone_ms = await self._wall_ms(one)
        if alone_ms >= _SLOW_MS:
            return _Entrant(choice, one, some, _TRY)
        await self._wall_ms(some)
        each_ms = max((await self._wall_ms(some) - alone_ms) / (_TRY - 1), 1e-3)
        repeats = min(max(math.ceil(_RUN_MS / each_ms), _TRY), _MOST_REPEATS)
        await self._worker.unload(some)
        return _Entrant(choice, one, await self._load(choice, repeats), repeats)

    async def sample(self, entrant: _Entrant) -> None:
        """Run a choice and note how long one dispatch took."""
        result = await self._worker.run(entrant.many, {})
        if result.profile:
            entrant.method = "timestamps"
            entrant.samples.append(sum(one.ms for one in result.profile) / len(result.profile))
            return
        whole_ms = _in_page(result.phases.in_page_ms)
        whole_ms -= await self._wall_ms(entrant.one)
        entrant.samples.append(max(whole_ms, 0.0) / (entrant.repeats - 1))

    async def leave(self, entrant: _Entrant) -> None:
        """Free what a choice holds."""
        for handle in (entrant.one, entrant.many):
            await self._worker.unload(handle)

    async def _load(self, choice: Choice, repeats: int) -> ModelHandle:
        program = self._workload.program(self._kernel, repeats)
        assembled = await asyncio.to_thread(
            assemble,
            program,
            self._catalogue,
            device_of(self._worker.info),
            lambda *_: (choice.variant, choice.constants),
        )
        spec = await asyncio.to_thread(
            store_plan, assembled, self._ctx.assets, source=f"kernel:{self._kernel.operation}"
        )
        return await self._worker.load(spec, LoadOptions(profile=repeats > 1))

    async def _wall_ms(self, handle: ModelHandle) -> float:
        return _in_page((await self._worker.run(handle, {})).phases.in_page_ms)


def _in_page(ms: float | None) -> float:
    assert ms is not None, "every worker that replays plans says how long a run took"
    return ms


def _timing(one: _Entrant) -> Timing:
    median = statistics.median(one.samples)
    spread = 0.0
    if len(one.samples) > 1 and median > 0:
        low, _, high = statistics.quantiles(one.samples, n=4, method="inclusive")
        spread = (high - low) / median
    return Timing(
        choice=one.choice,
        best_ms=min(one.samples),
        median_ms=median,
        spread=spread,
        samples=len(one.samples),
        method=one.method,
    )
