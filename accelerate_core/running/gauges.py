# SPDX-License-Identifier: Apache-2.0
"""Weigh workers and look at free memory and cores now and then, where settings make use of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from ..fleet import events as ev
from ..fleet.settings import FleetSettings
from .capacity import Cores, free_memory

if TYPE_CHECKING:
    from .workers import Workers

_log = logging.getLogger("accelerate.workers")

#: Weighing reads every mapping of every process of a browser: not something to do often.
WEIGH_S = 5.0
#: Jobs that call for another worker have waited for twice as long: what is seen is their load.
LOOK_S = 1.0


class Gauges:
    """Post WorkerMemory and Capacity from tasks of their own; they end when they are cancelled."""

    def __init__(
        self,
        workers: Workers,
        settings: FleetSettings,
        *,
        post: Callable[[ev.FleetEvent], None],
        spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._workers = workers
        self._post = post
        self._spawn = spawn
        self._is_begun = False
        has_ceiling = settings.memory_limit_bytes is not None
        self._weighs = has_ceiling or settings.max_growth_bytes is not None
        self._looks = has_ceiling or settings.is_adaptive

    def begin(self) -> None:
        """Start what the settings ask for, once."""
        if self._is_begun:
            return
        self._is_begun = True
        if self._weighs:
            self._spawn(self._weigh())
        if self._looks:
            self._spawn(self._look())

    async def _weigh(self) -> None:
        while True:
            await asyncio.sleep(WEIGH_S)
            for worker_id, live in list(self._workers.live.items()):
                try:
                    held_bytes = await live.worker.memory()
                except Exception as error:
                    _log.warning("no memory figure for %s: %s", worker_id, error)
                    continue
                if held_bytes is not None:
                    self._post(
                        ev.WorkerMemory(
                            at_ns=time.perf_counter_ns(),
                            worker_id=worker_id,
                            epoch=live.epoch,
                            held_bytes=held_bytes,
                        )
                    )

    async def _look(self) -> None:
        cores = Cores()
        while True:
            free_bytes, busy = await asyncio.to_thread(lambda: (free_memory(), cores.busy()))
            self._post(ev.Capacity(at_ns=time.perf_counter_ns(), free_bytes=free_bytes, busy=busy))
            await asyncio.sleep(LOOK_S)
