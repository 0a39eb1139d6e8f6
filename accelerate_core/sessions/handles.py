# SPDX-License-Identifier: Apache-2.0
"""Sessions as users call them: a model that goes on from where its last run left off.

async with accelerator.session(model, state={"h_in": "h_out"}) as session:
    for inputs in steps:
        outputs = await session(inputs)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from ..errors import ConfigError
from .checkpoint import first_state, state_pairs, unpack
from .live import LiveSession

if TYPE_CHECKING:
    from ..api import AsyncAccelerator
    from ..blocking import Accelerator
    from ..calls import AsyncModel
    from ..pool_config import PoolConfig
    from ..running.runner import Runner
    from ..running.work import Work


class AsyncSession:
    """Run a stateful model, each run on the state the one before left; use with `async with`.

    The state stays on a worker, and outlives it: a session whose worker is lost is restored on
    another, and every run is answered once.
    """

    def __init__(self, live: LiveSession) -> None:
        self._live = live

    async def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run once, and return the outputs that are no state; runs are done in the order asked.

        `inputs` are arrays by name, the state left out. A run that raises never was: ModelError
        for wrong inputs, JobTimeout, WorkerLost when one worker after another is lost.
        """
        return dict((await self._live.run(inputs)).result.outputs)

    async def checkpoint(self) -> bytes:
        """Return the state: `session(model, checkpoint=...)` goes on from it, on any backend."""
        return await self._live.checkpoint()

    async def close(self) -> None:
        """Drop the state; safe to call twice."""
        await self._live.close()

    @property
    def runs(self) -> int:
        """How many runs were answered."""
        return self._live.runs

    @property
    def moves(self) -> int:
        """How often the state was brought to another worker."""
        return self._live.moves

    async def __aenter__(self) -> AsyncSession:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Session:
    """Run a stateful model, blocking; see `AsyncSession`. Use with `with`."""

    def __init__(self, owner: Accelerator, session: AsyncSession) -> None:
        self._owner = owner
        self._session = session

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Run once; see `AsyncSession.__call__`."""
        return self._owner._wait(self._session(inputs))

    def checkpoint(self) -> bytes:
        """Return the state; see `AsyncSession.checkpoint`."""
        return self._owner._wait(self._session.checkpoint())

    def close(self) -> None:
        """Drop the state; safe to call twice."""
        self._owner._wait(self._session.close())

    @property
    def runs(self) -> int:
        """How many runs were answered."""
        return self._session.runs

    @property
    def moves(self) -> int:
        """How often the state was brought to another worker."""
        return self._session.moves

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_session(
    owner: AsyncAccelerator,
    runner: Runner,
    pool: PoolConfig,
    model: AsyncModel,
    pairs: Mapping[str, str] | None,
    checkpoint: bytes | None,
    interval_s: float | None,
    sync_runs: int | None,
) -> AsyncSession:
    """Check what a session is opened with; ConfigError or ModelError before anything runs."""
    if interval_s is not None and interval_s < 0:
        raise _wrong("state_sync_interval", interval_s, "seconds, 0 or more")
    if sync_runs is not None and sync_runs < 1:
        raise _wrong("state_sync_runs", sync_runs, "runs, 1 or more")
    spec = model.spec
    if pairs is not None:
        spec = attrs.evolve(spec, metadata={**spec.metadata, "state": dict(pairs)})
    state_pairs(spec)
    if checkpoint is not None:
        unpack(checkpoint, spec)

    def work_for(inputs: Mapping[str, Any]) -> Work:
        # Where sizes are fixed at load, those of the state are too.
        work = owner.work(model, {**inputs, **first_state(spec, inputs)})
        return attrs.evolve(work, spec=spec, degraded=())

    live = LiveSession(
        runner,
        work_for,
        state=checkpoint,
        sync_interval_s=pool.state_sync_interval if interval_s is None else interval_s,
        sync_runs=sync_runs,
        timeout_s=pool.job_timeout,
    )
    return AsyncSession(live)


def _wrong(name: str, value: float, accepted: str) -> ConfigError:
    return ConfigError(f"{value!r} is not allowed", where=name, accepted=(accepted,))
