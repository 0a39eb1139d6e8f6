# SPDX-License-Identifier: Apache-2.0
"""One scenario under one strategy: requests at a rate, faults on schedule, a verdict at the end."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import Callable, Sequence
from typing import TypeAlias

import attrs
import numpy as np

from accelerate_core.errors import AccelerateError, BackendUnavailable
from accelerate_core.host import Host
from accelerate_core.running.runner import Work

from . import scenarios
from .checker import Checker
from .fleet import Fleet, FleetPlan, opened
from .hookspecs import FAULTS
from .hookspecs.fault import Fault
from .records import Request, Row, Struck, recoveries
from .scenarios import Strike
from .victim import Victim, until
from .workload import Workload

#: Told of what happens: a request that ended, a fault that happened.
Tell: TypeAlias = Callable[[Request | Struck], None]

#: Seconds to wait for a worker to strike, where all are down.
_WAIT_S = 5.0
#: Seconds to wait until a worker that was chosen runs something.
_BUSY_S = 1.0
#: Seconds to wait for the workers that are kept ready.
_READY_S = 30.0
_LOOK_AGAIN_S = 0.002


@attrs.frozen(kw_only=True)
class Plan:
    """Say how a scenario is run."""

    scenario: str
    fleet: FleetPlan
    requests: int = 100
    rate: float = 20.0  #: a second
    deadline_s: float = 5.0
    every_s: float = 3.0  #: between two rounds of faults
    seed: int = 0

    @property
    def seconds(self) -> float:
        """How long requests come."""
        return self.requests / self.rate


async def run(
    host: Host,
    plan: Plan,
    workload: Workload,
    *,
    stop: asyncio.Event | None = None,
    tell: Tell = lambda _: None,
) -> Row:
    """Return what happened; a scenario that cannot be run is a row that says why.

    `stop` ends it early and keeps what was seen. Whatever was started is gone afterwards.
    """
    faults = known_faults(host)
    scenarios.check(plan.scenario, faults)
    kinds = len({target.browser for target in plan.fleet.targets})
    reason = scenarios.obstacle(plan.scenario, kinds, plan.fleet.settings.max_workers)
    if reason is not None:
        return _refused(plan, reason)
    experiment = _Experiment(host, plan, workload, stop or asyncio.Event(), tell)
    try:
        async with opened(host, plan.fleet, experiment.checker) as fleet:
            row = await experiment.run(fleet)
    except BackendUnavailable as error:
        return _refused(plan, str(error))
    processes, folders = await asyncio.to_thread(fleet.left)
    return attrs.evolve(row, processes_left=processes, folders_left=folders)


def known_faults(host: Host) -> Sequence[str]:
    """Return the names of the installed faults."""
    host.add_family(FAULTS)
    return host.names(FAULTS.name)


def _refused(plan: Plan, reason: str) -> Row:
    return Row(
        scenario=plan.scenario,
        strategy=plan.fleet.strategy or "none",
        targets=tuple(map(str, plan.fleet.targets)),
        seed=plan.seed,
        reason=reason,
    )


class _Experiment:
    def __init__(
        self, host: Host, plan: Plan, workload: Workload, stop: asyncio.Event, tell: Tell
    ) -> None:
        self.checker = Checker()
        self._host = host
        self._plan = plan
        self._workload = workload
        self._stop = stop
        self._tell = tell
        self._chance = random.Random(plan.seed)
        self._requests: list[Request] = []
        self._struck: list[Struck] = []
        self._hit: dict[int, list[str]] = {}  # group -> lives that were struck
        self._suffering: set[str] = set()  # lives whose fault is not lifted yet
        # Each request is due to one of the targets, and may fall back to the others.
        targets = plan.fleet.targets
        self._works = [
            Work(
                spec=workload.spec,
                options=workload.options,
                targets=(*targets[index:], *targets[:index]),
            )
            for index in range(len(targets))
        ]

    async def run(self, fleet: Fleet) -> Row:
        """Warm up, ask and strike; return the row without what stayed behind."""
        await self._warm_up(fleet)
        if (reason := self._obstacle(fleet)) is not None:
            return _refused(self._plan, reason)
        began_ns = time.perf_counter_ns()
        striking = asyncio.create_task(self._strike_all(fleet))
        try:
            await self._ask_all(fleet)
        finally:
            striking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await striking
        struck = []
        for one in self._struck:
            if one.seen is not None:
                times, unrecovered = recoveries(one, fleet.runs, self._requests)
                one = attrs.evolve(one, recovery_ms=times, unrecovered=unrecovered)
            struck.append(one)
        return Row(
            scenario=self._plan.scenario,
            strategy=self._plan.fleet.strategy or "none",
            targets=tuple(map(str, self._plan.fleet.targets)),
            seed=self._plan.seed,
            rate=self._plan.rate,
            deadline_s=self._plan.deadline_s,
            began_ns=began_ns,
            requests=tuple(sorted(self._requests, key=lambda one: one.number)),
            struck=tuple(struck),
            findings=self.checker.findings(),
            workers_lost=fleet.lost,
            is_interrupted=self._stop.is_set(),
        )

    # --- asking -------------------------------------------------------------------------------

    async def _warm_up(self, fleet: Fleet) -> None:
        """Have every target answer once, and wait for the workers that are kept ready."""
        for work in self._works:
            await fleet.runner.submit(work, self._workload.inputs[0])
        settings = self._plan.fleet.settings
        wanted = min(settings.max_workers, len(self._works) * max(1, settings.min_workers))
        await until(lambda: len(fleet.victims()) >= wanted, _READY_S)
        # Each worker loads the model before the first fault.
        inputs = self._workload.inputs[0]
        many = [work for work in self._works for _ in range(2 * wanted)]
        await asyncio.gather(*(fleet.runner.submit(work, inputs) for work in many))

    async def _ask_all(self, fleet: Fleet) -> None:
        chance = random.Random(self._plan.seed + 1)
        at_s = time.monotonic()
        asking: set[asyncio.Task[None]] = set()
        for number in range(self._plan.requests):
            at_s += chance.expovariate(self._plan.rate)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), max(0.0, at_s - time.monotonic()))
            if self._stop.is_set():
                break
            asking.add(asyncio.create_task(self._ask(fleet, number)))
        await asyncio.gather(*asking)

    async def _ask(self, fleet: Fleet, number: int) -> None:
        which = number % len(self._workload.inputs)
        request = f"r{number}"
        inputs = dict(self._workload.inputs[which])
        work = self._works[number % len(self._works)]
        self.checker.asked(request, self._workload.expected[which])
        fleet.number(inputs, number)
        asked_ns = time.perf_counter_ns()
        kind = None
        try:
            answer = await fleet.runner.submit(
                work, inputs, timeout_s=self._plan.deadline_s, job_id=request
            )
            ended_ns = time.perf_counter_ns()
            outputs = {name: np.asarray(one) for name, one in answer.result.outputs.items()}
            self.checker.answered(request, outputs, answer.connection.id)
        except Exception as error:
            ended_ns = time.perf_counter_ns()
            kind = type(error).__name__
            self.checker.refused(request, error)
        finally:
            fleet.forget(inputs)
        ended = Request(number=number, asked_ns=asked_ns, ended_ns=ended_ns, error=kind)
        self._requests.append(ended)
        self._tell(ended)

    # --- striking -----------------------------------------------------------------------------

    def _obstacle(self, fleet: Fleet) -> str | None:
        """Return why none of the live workers can suffer the scenario's fault, or None."""
        victims = fleet.victims()
        if not victims:
            return "no worker of this fleet is a browser"
        if self._plan.scenario not in known_faults(self._host):
            return None
        fault = self._fault(self._plan.scenario)
        reasons = [fault.obstacle(victim) for victim in victims.values()]
        return reasons[0] if all(reasons) else None

    def _possible(self, fleet: Fleet) -> list[str]:
        """Return the faults that can happen to a worker of this fleet."""
        victims = fleet.victims().values()
        return [
            name
            for name in known_faults(self._host)
            if not all(self._fault(name).obstacle(victim) for victim in victims)
        ]

    def _fault(self, name: str) -> Fault:
        made: Fault = self._host.create(FAULTS.name, name)
        return made

    async def _strike_all(self, fleet: Fleet) -> None:
        strikes = scenarios.schedule(
            self._plan.scenario,
            self._possible(fleet),
            seconds=self._plan.seconds,
            every_s=self._plan.every_s,
            seed=self._plan.seed,
            browsers=len({target.browser for target in self._plan.fleet.targets}),
        )
        began_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for one in strikes:
                await asyncio.sleep(max(0.0, began_s + one.at_s - time.monotonic()))
                group.create_task(self._strike(fleet, one))

    async def _strike(self, fleet: Fleet, strike: Strike) -> None:
        found = await self._choose(fleet, strike)
        if found is None:
            self._note(strike, None, reason="no worker was there to strike")
            return
        worker_id, victim = found
        life = fleet.life(worker_id)
        self._hit.setdefault(strike.group, []).append(life)
        self._suffering.add(life)
        fault = self._fault(strike.fault)
        try:
            if reason := fault.obstacle(victim):
                self._note(strike, life, reason=reason)
                return
            # Looking for processes takes a while: a run that is under way now is hit for sure.
            await until(lambda: bool(fleet.running.get(life)), _BUSY_S)
            proof = await fault.inject(victim)
            self._note(strike, life, at_ns=proof.at_ns, seen=proof.seen)
            await asyncio.sleep(strike.lasts_s)
        except AccelerateError as error:
            self._note(strike, life, reason=error.info.message)
        finally:
            await asyncio.shield(fault.lift())
            self._suffering.discard(life)

    async def _choose(self, fleet: Fleet, strike: Strike) -> tuple[str, Victim] | None:
        """Return a worker that suffers nothing: one that is running something, if there is one.

        One group strikes no worker twice.
        """
        ends_s = time.monotonic() + _WAIT_S
        for turn in itertools.count():
            hit = self._suffering.union(self._hit.get(strike.group, []))
            free = {
                name: victim
                for name, victim in fleet.victims().items()
                if fleet.life(name) not in hit
            }
            busy = [name for name in free if fleet.running.get(fleet.life(name))]
            # A worker that is idle hurts nobody: wait a little for one that is not.
            is_late = time.monotonic() >= ends_s
            if busy or (free and (turn * _LOOK_AGAIN_S > 1.0 or is_late)):
                name = self._chance.choice(busy or sorted(free))
                return name, free[name]
            if is_late:
                return None
            await asyncio.sleep(_LOOK_AGAIN_S)
        return None

    def _note(
        self,
        strike: Strike,
        life: str | None,
        *,
        at_ns: int | None = None,
        seen: str | None = None,
        reason: str | None = None,
    ) -> None:
        at_ns = at_ns or time.perf_counter_ns()
        struck = Struck(
            fault=strike.fault,
            worker=life,
            at_ns=at_ns,
            ended_ns=at_ns + int(strike.lasts_s * 1e9),
            seen=seen,
            reason=reason,
        )
        self._struck.append(struck)
        self._tell(struck)
