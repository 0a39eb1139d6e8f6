# SPDX-License-Identifier: Apache-2.0
"""The same fault again and again, one at a time: each hits a request, and the fleet is whole
before the next. For many samples of one recovery, and for many crashes in a row.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from accelerate_core.errors import AccelerateError

from .experiment import Experiment, Plan, Tell, carried_out
from .scenarios import Strike
from .victim import until

if TYPE_CHECKING:
    from accelerate_core.host import Host

    from .fleet import Fleet
    from .hookspecs.fault import Fault
    from .records import Row
    from .victim import Victim
    from .workload import Workload

#: A fleet that is not whole again after this long is struck all the same.
_WHOLE_S = 30.0
_BUSY_S = 5.0
_LOOK_AGAIN_S = 0.05


async def run(
    host: Host,
    plan: Plan,
    workload: Workload,
    *,
    stop: asyncio.Event | None = None,
    tell: Tell = lambda _: None,
    each: Callable[[int], None] = lambda _: None,
) -> Row:
    """Return the row of `plan.requests` turns of the plan's fault; rate and schedule are not used.

    `each` is told how many turns are done. A turn asks one request and strikes its worker; a fault
    of the compute thread strikes first, and as many requests are asked as there are workers.
    """
    turns = _Turns(host, plan, workload, stop or asyncio.Event(), tell)
    turns.each = each
    return await carried_out(turns)


class _Turns(Experiment):
    each: Callable[[int], None]

    async def carry_out(self, fleet: Fleet, strikes: Sequence[Strike]) -> None:
        """Take as many turns as requests are planned, or until `stop`."""
        self._numbers = itertools.count()
        for turn in range(self.plan.requests):
            await self._turn(fleet, turn)
            await until(lambda: self.stop.is_set() or _at_work(fleet) >= self.wanted, _WHOLE_S)
            self.each(turn + 1)
            if self.stop.is_set():
                return

    async def _turn(self, fleet: Fleet, turn: int) -> None:
        strike = Strike(at_s=0.0, fault=self.plan.scenario, group=turn)
        fault = self.fault(strike.fault)
        able = await _able(fleet, fault)
        if not able:
            self.note(strike, None, reason="no worker was there to strike")
            return
        # What occupies the compute thread itself cannot interrupt a run: it comes before.
        comes_first = strike.fault == "component_timeout"
        asking = set() if comes_first else self._ask_some(fleet, 1)
        await until(lambda: comes_first or bool(_busy(fleet, able)), _BUSY_S)
        await asyncio.sleep(0.0 if comes_first else fault.hits_after_s)
        live = fleet.victims()
        name = next(iter(_busy(fleet, able) or sorted(live.keys() & able)), None)
        if name is None:
            self.note(strike, None, reason="its worker was gone before")
            await asyncio.gather(*asking)
            return
        life = fleet.life(name)
        try:
            proof = await fault.inject(live[name])
            if comes_first:
                asking = self._ask_some(fleet, len(live))
            await asyncio.gather(*asking)
        except AccelerateError as error:
            await fault.lift()
            self.note(strike, life, reason=error.info.message)
            await asyncio.gather(*asking)
        else:
            await fault.lift()
            ended_ns = time.perf_counter_ns()
            self.note(strike, life, at_ns=proof.at_ns, ended_ns=ended_ns, seen=proof.seen)
        finally:
            await asyncio.shield(fault.lift())

    def _ask_some(self, fleet: Fleet, count: int) -> set[asyncio.Task[None]]:
        numbers = itertools.islice(self._numbers, count)
        return {asyncio.create_task(self.ask(fleet, number)) for number in numbers}


def _obstacles(fault: Fault, victims: Sequence[Victim]) -> list[str | None]:
    return [fault.obstacle(victim) for victim in victims]


async def _able(fleet: Fleet, fault: Fault) -> set[str]:
    """Wait for workers to strike: one that lost its GPU process has no other for a moment."""
    ends_s = time.monotonic() + _BUSY_S
    while True:
        victims = fleet.victims()
        # Looks for processes: a fault that knows them strikes at the moment it means to.
        reasons = await asyncio.to_thread(_obstacles, fault, list(victims.values()))
        able = {name for name, reason in zip(victims, reasons, strict=True) if reason is None}
        if able or time.monotonic() >= ends_s:
            return able
        await asyncio.sleep(_LOOK_AGAIN_S)


def _busy(fleet: Fleet, victims: Collection[str]) -> list[str]:
    live = fleet.victims()
    return [name for name in victims if name in live and fleet.is_busy(fleet.life(name))]


def _at_work(fleet: Fleet) -> int:
    """Count the workers that are ready for a request, its model loaded."""
    able = ("ready", "busy")
    return sum(
        one.state in able and bool(one.models) for one in fleet.runner.meter.health().workers
    )
