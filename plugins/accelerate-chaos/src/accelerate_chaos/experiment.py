# SPDX-License-Identifier: Apache-2.0
"""One scenario under one strategy: requests at a rate, faults on schedule, a verdict at the end."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import attrs
import numpy as np

from accelerate_core.errors import AccelerateError, BackendUnavailable
from accelerate_core.host import Host
from accelerate_core.running.work import Work

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
    strikes: tuple[Strike, ...] | None = None  #: in place of the scenario's own

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
    return await carried_out(Experiment(host, plan, workload, stop or asyncio.Event(), tell))


async def carried_out(experiment: Experiment) -> Row:
    """Open the fleet of an experiment, run it, and count what stayed behind."""
    host, plan = experiment.host, experiment.plan
    scenarios.check(plan.scenario, known_faults(host))
    kinds = len({target.browser for target in plan.fleet.targets})
    reason = scenarios.obstacle(plan.scenario, kinds, plan.fleet.settings.max_workers)
    if reason is not None:
        return _refused(plan, reason)
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


class Experiment:
    """Ask and strike one fleet, and keep what was seen."""

    def __init__(
        self, host: Host, plan: Plan, workload: Workload, stop: asyncio.Event, tell: Tell
    ) -> None:
        self.checker = Checker()
        self.host = host
        self.plan = plan
        self.stop = stop
        self._workload = workload
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

        settings = plan.fleet.settings
        each = max(1, settings.min_workers) + settings.hot_spares
        #: How many workers the fleet keeps when it is whole.
        self.wanted = min(settings.max_workers, len(targets) * each)

    async def run(self, fleet: Fleet) -> Row:
        """Warm up, ask and strike; return the row without what stayed behind."""
        await self._warm_up(fleet)
        if (reason := await asyncio.to_thread(self._obstacle, fleet)) is not None:
            return _refused(self.plan, reason)
        possible = await asyncio.to_thread(self._possible, fleet)
        strikes = self.plan.strikes or self._schedule(possible)
        began_ns = time.perf_counter_ns()
        await self.carry_out(fleet, strikes)
        return Row(
            scenario=self.plan.scenario,
            strategy=self.plan.fleet.strategy or "none",
            targets=tuple(map(str, self.plan.fleet.targets)),
            seed=self.plan.seed,
            rate=self.plan.rate,
            deadline_s=self.plan.deadline_s,
            began_ns=began_ns,
            requests=tuple(sorted(self._requests, key=lambda one: one.number)),
            struck=tuple(self._recovered(fleet, one) for one in self._struck),
            runs_ms=tuple((one.ended_ns - one.began_ns) / 1e6 for one in fleet.runs if one.is_ok),
            findings=self.checker.findings(),
            workers_lost=fleet.lost,
            workers_mended=fleet.mended,
            is_interrupted=self.stop.is_set(),
        )

    async def carry_out(self, fleet: Fleet, strikes: Sequence[Strike]) -> None:
        """Ask at the rate, and strike on schedule meanwhile."""
        striking = asyncio.create_task(self._strike_all(fleet, strikes))
        try:
            await self._ask_all(fleet)
        finally:
            striking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await striking

    def _recovered(self, fleet: Fleet, one: Struck) -> Struck:
        if one.seen is None:
            return one
        times, unrecovered = recoveries(one, fleet.runs, self._requests)
        return attrs.evolve(one, recovery_ms=times, unrecovered=unrecovered)

    # --- asking -------------------------------------------------------------------------------

    async def _warm_up(self, fleet: Fleet) -> None:
        """Have every target answer once, and wait for the workers that are kept ready."""
        for work in self._works:
            await fleet.runner.submit(work, self._workload.inputs[0])
        await until(lambda: len(fleet.victims()) >= self.wanted, _READY_S)
        # Each worker loads the model before the first fault.
        inputs = self._workload.inputs[0]
        many = [work for work in self._works for _ in range(2 * self.wanted)]
        await asyncio.gather(*(fleet.runner.submit(work, inputs) for work in many))

    async def _ask_all(self, fleet: Fleet) -> None:
        chance = random.Random(self.plan.seed + 1)
        at_s = time.monotonic()
        asking: set[asyncio.Task[None]] = set()
        for number in range(self.plan.requests):
            at_s += chance.expovariate(self.plan.rate)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), max(0.0, at_s - time.monotonic()))
            if self.stop.is_set():
                break
            asking.add(asyncio.create_task(self.ask(fleet, number)))
        await asyncio.gather(*asking)

    async def ask(self, fleet: Fleet, number: int) -> None:
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
                work, inputs, timeout_s=self.plan.deadline_s, job_id=request
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
        if self.plan.scenario not in known_faults(self.host):
            return None
        fault = self.fault(self.plan.scenario)
        reasons = [fault.obstacle(victim) for victim in victims.values()]
        return reasons[0] if all(reasons) else None

    def _possible(self, fleet: Fleet) -> list[str]:
        """Return the faults that can happen to a worker of this fleet; only a random one asks."""
        if self.plan.scenario != "random":
            return []
        victims = fleet.victims().values()
        return [
            name
            for name in known_faults(self.host)
            if not all(self.fault(name).obstacle(victim) for victim in victims)
        ]

    def fault(self, name: str) -> Fault:
        made: Fault = self.host.create(FAULTS.name, name)
        return made

    def _schedule(self, possible: Sequence[str]) -> tuple[Strike, ...]:
        return scenarios.schedule(
            self.plan.scenario,
            possible,
            seconds=self.plan.seconds,
            every_s=self.plan.every_s,
            seed=self.plan.seed,
            browsers=len({target.browser for target in self.plan.fleet.targets}),
        )

    async def _strike_all(self, fleet: Fleet, strikes: Sequence[Strike]) -> None:
        began_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for one in strikes:
                await asyncio.sleep(max(0.0, began_s + one.at_s - time.monotonic()))
                group.create_task(self._strike(fleet, one))

    async def _strike(self, fleet: Fleet, strike: Strike) -> None:
        fault = self.fault(strike.fault)
        reason, life, is_noted = "no worker was there to strike", "", False
        try:
            while found := await self._choose(fleet, strike):
                life, victim = found
                self._hit.setdefault(strike.group, []).append(life)
                # Looking for processes takes a while: not in the loop that answers requests.
                if (obstacle := await asyncio.to_thread(fault.obstacle, victim)) is None:
                    self._suffering.add(life)
                    # A run that is under way now is hit for sure.
                    await until(partial(fleet.is_busy, life), _BUSY_S)
                    proof = await fault.inject(victim)
                    ended_ns = proof.at_ns + int(strike.lasts_s * 1e9)
                    self.note(strike, life, at_ns=proof.at_ns, ended_ns=ended_ns, seen=proof.seen)
                    is_noted = True
                    await asyncio.sleep(strike.lasts_s)
                    return
                reason = obstacle
            self.note(strike, life or None, reason=reason)
        except AccelerateError as error:
            self.note(strike, life or None, reason=error.info.message)
        except asyncio.CancelledError:
            if not is_noted:
                self.note(strike, life or None, reason="the requests had ended before it happened")
            raise
        finally:
            await asyncio.shield(fault.lift())
            self._suffering.discard(life)

    async def _choose(self, fleet: Fleet, strike: Strike) -> tuple[str, Victim] | None:
        """Return the life of a worker that suffers nothing: of one that is busy, if there is one.

        One group strikes no worker twice.
        """
        began_s = time.monotonic()
        while True:
            hit = self._suffering.union(self._hit.get(strike.group, []))
            lives = {fleet.life(name): victim for name, victim in fleet.victims().items()}
            free = {life: victim for life, victim in lives.items() if life not in hit}
            busy = [life for life in free if fleet.is_busy(life)]
            # A worker that is idle hurts nobody: wait a little for one that is not.
            waited_s = time.monotonic() - began_s
            if busy or (free and waited_s > _BUSY_S):
                life = self._chance.choice(busy or sorted(free))
                return life, free[life]
            if waited_s > _WAIT_S:
                return None
            await asyncio.sleep(_LOOK_AGAIN_S)

    def note(
        self,
        strike: Strike,
        life: str | None,
        *,
        at_ns: int | None = None,
        ended_ns: int | None = None,
        seen: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Remember a fault that was seen to happen, or the reason why it did not."""
        at_ns = at_ns or time.perf_counter_ns()
        struck = Struck(
            fault=strike.fault,
            worker=life,
            at_ns=at_ns,
            ended_ns=ended_ns or at_ns,
            seen=seen,
            reason=reason,
        )
        self._struck.append(struck)
        self._tell(struck)
