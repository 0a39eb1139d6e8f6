# SPDX-License-Identifier: Apache-2.0
"""A fleet of real browsers under one runner, watched from outside: who runs what, who is alive."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import attrs
from accelerate_browser import processes
from accelerate_browser.hub import Hub
from accelerate_browser.worker import BrowserWorker

from accelerate_core import events
from accelerate_core.fleet.settings import FleetSettings
from accelerate_core.host import Host
from accelerate_core.protocols import Backend, Context, Worker
from accelerate_core.running.runner import Runner
from accelerate_core.types import Result, Target

from .checker import Checker
from .records import Run
from .relay import Relay
from .victim import Victim


class Fleet:
    """The runner, its live workers, and a record of every attempt."""

    def __init__(self, checker: Checker | None = None) -> None:
        self.checker = checker or Checker()
        self.relay = Relay()
        #: Every attempt that has ended.
        self.runs: list[Run] = []
        self.runner: Runner
        #: Workers that went without having been asked to.
        self.lost = 0
        #: Workers that got a new device or page.
        self.mended = 0
        #: Attempts under way, by the name of their worker.
        self.running: dict[str, set[int]] = {}
        self._requests: dict[int, int] = {}  # id of a request's inputs -> its number
        self._workers: dict[int, tuple[int, Worker]] = {}  # by id of its info: number of its life
        self._lives = itertools.count()
        self._launches: dict[str, tuple[int, Path]] = {}  # tag -> pid, state folder

    def number(self, inputs: Mapping[str, Any], request: int) -> None:
        """Remember which request these very inputs belong to."""
        self._requests[id(inputs)] = request

    def forget(self, inputs: Mapping[str, Any]) -> None:
        """Forget inputs whose request has ended."""
        self._requests.pop(id(inputs), None)

    def victims(self) -> dict[str, Victim]:
        """Return the browsers that live now, by worker."""
        found: dict[str, Victim] = {}
        for worker_id, info in self.runner.live().items():
            _, worker = self._workers.get(id(info), (0, None))
            if isinstance(worker, BrowserWorker) and not worker.connection.lost.done():
                found[worker_id] = Victim(worker, self.relay)
        return found

    def is_busy(self, life: str) -> bool:
        """Whether a worker runs something now."""
        return bool(self.running.get(life))

    def launches(self) -> dict[str, int]:
        """Return the root of every browser that was started, by the tag of its launch."""
        return {tag: pid for tag, (pid, _) in self._launches.items()}

    def left(self) -> tuple[int, int]:
        """Count the processes and folders of this fleet's launches that are still there."""
        running = len(processes.members_of(self.launches()))
        folders = sum(
            folder.exists()
            for tag, (_, state) in self._launches.items()
            for folder in (state / "launches" / tag, Path("/tmp") / f"accelerate-{tag}")
        )
        return running, folders

    # --- watching -----------------------------------------------------------------------------

    def observe(self, event: events.Event) -> None:
        """Tell the checker what the fleet says of itself."""
        match event:
            case events.WorkerStarted():
                self.checker.came(event.worker_id, event.connection.id)
            case events.WorkerGone() if event.connection is not None:
                self.checker.went(event.worker_id, event.connection.id)
                self.lost += event.error is not None
                self._workers.pop(id(event.connection.info), None)
            case events.MetricsRecorded():
                mends = (one for one in event.points if one.name == "accelerate.worker.mends")
                self.mended += sum(int(one.value) for one in mends)
            case events.JobFinished() if event.error is None and event.worker_id is not None:
                self.checker.accepted(event.job_id, event.worker_id)

    def watch(self, backend: Backend) -> Backend:
        """Have every worker of a backend watched."""
        start = backend.start

        async def watched(target: Target, ctx: Context) -> Worker:
            worker = await start(target, ctx)
            self._watch_worker(worker, ctx)
            return worker

        backend.start = watched  # type: ignore[method-assign]
        return backend

    def _watch_worker(self, worker: Worker, ctx: Context) -> None:
        self._workers[id(worker.info)] = next(self._lives), worker
        if isinstance(worker, BrowserWorker):
            launched = worker.launched
            self._launches[launched.tag] = (launched.pid, ctx.state_dir)
        run = worker.run

        async def watched(model: Any, inputs: Any, **options: Any) -> Result:
            request = self._requests.get(id(inputs))
            if request is None:
                return await run(model, inputs, **options)
            name = self._name(worker)
            began_ns = time.perf_counter_ns()
            self.running.setdefault(name, set()).add(request)
            result, losses = None, _losses(worker)
            try:
                result = await run(model, inputs, **options)
                return result
            finally:
                self.running[name].discard(request)
                self.runs.append(
                    Run(
                        request=request,
                        worker=name,
                        began_ns=began_ns,
                        ended_ns=time.perf_counter_ns(),
                        is_ok=result is not None,
                        again_ns=_in_page_ns(result) if _losses(worker) > losses else None,
                    )
                )

        worker.run = watched  # type: ignore[method-assign]

    def _name(self, worker: Worker) -> str:
        live = self.runner.live()
        found = next((one for one, info in live.items() if info is worker.info), None)
        return self.life(found) if found else "?"

    def life(self, worker_id: str) -> str:
        """Return the name of a live worker's life, as in `runs`: a restarted one lives again."""
        number, _ = self._workers[id(self.runner.live()[worker_id])]
        return f"{worker_id}@{number}"


def _losses(worker: Worker) -> int:
    return worker.connection.device_losses if isinstance(worker, BrowserWorker) else 0


def _in_page_ns(result: Result | None) -> int | None:
    in_page_ms = result.phases.in_page_ms if result is not None else None
    return None if in_page_ms is None else int(in_page_ms * 1e6)


@attrs.frozen(kw_only=True)
class FleetPlan:
    """Say what a fleet is made of."""

    targets: tuple[Target, ...]
    strategy: str | None = "immediate"
    scheduler: str | None = "affinity"
    settings: FleetSettings = FleetSettings(max_workers=4, min_workers=2, hot_spares=1)
    #: Settings of each backend.
    backends: Mapping[str, Any] = attrs.field(factory=dict)


@contextlib.asynccontextmanager
async def opened(
    host: Host, plan: FleetPlan, checker: Checker | None = None
) -> AsyncIterator[Fleet]:
    """Yield a fleet; every worker is gone afterwards."""
    fleet = Fleet(checker)
    ctx = host.context
    recovery = host.create("recovery", plan.strategy) if plan.strategy else None
    scheduler = host.create("schedulers", plan.scheduler) if plan.scheduler else None
    names = sorted({target.backend for target in plan.targets})
    backends = {name: fleet.watch(host.create("backends", name, plan.backends)) for name in names}
    hub = Hub.join(ctx)
    hub.relay = fleet.relay.insert
    fleet.runner = Runner(
        backends,
        ctx,
        scheduler=scheduler,
        recovery=recovery,
        settings=plan.settings,
        run_id="chaos",
        observer=fleet.observe,
    )
    try:
        yield fleet
    finally:
        # A cancelled caller leaves nothing behind, either, however often it is cancelled.
        closing = asyncio.create_task(_close(fleet, hub))
        while not closing.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(closing)
        closing.result()


async def _close(fleet: Fleet, hub: Hub) -> None:
    try:
        await fleet.runner.close()
    finally:
        await fleet.relay.close()
        await hub.leave()
