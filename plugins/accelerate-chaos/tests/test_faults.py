# SPDX-License-Identifier: Apache-2.0
"""Every fault happens to a real browser, and its proof is seen from outside, too."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import psutil
import pytest
from accelerate_browser.processes import is_running
from accelerate_chaos.experiment import known_faults
from accelerate_chaos.fleet import Fleet, FleetPlan, opened
from accelerate_chaos.hookspecs.fault import Fault
from accelerate_chaos.victim import Victim, until
from accelerate_chaos.workload import tiny

from accelerate_core.errors import Unsupported
from accelerate_core.fleet.settings import FleetSettings
from accelerate_core.host import Host
from accelerate_core.running.work import Work
from accelerate_core.types import Target

SHELL = Target("wasm", None, "chromium-headless-shell")
PLAN = FleetPlan(
    targets=(SHELL,),
    strategy="immediate",
    settings=FleetSettings(max_workers=2),
    backends={"threads": 1},
)


async def test_every_fault_on_one_fleet(host: Host) -> None:
    """One fleet for all: what lasts is lifted, what kills is followed by another worker."""
    known_faults(host)
    workload = await tiny(host)
    work = Work(spec=workload.spec, targets=PLAN.targets)

    async def ask(fleet: Fleet) -> None:
        await fleet.runner.submit(work, workload.inputs[0], timeout_s=60)

    async def victim(fleet: Fleet) -> Victim:
        await ask(fleet)
        await until(lambda: bool(fleet.victims()), 60)
        return next(iter(fleet.victims().values()))

    def fault(name: str, **settings: object) -> Fault:
        made: Fault = host.create("faults", name, settings)
        return made

    async with opened(host, PLAN) as fleet:
        struck = await victim(fleet)
        assert "no GPU device" in (fault("device_lost").obstacle(struck) or "")
        with pytest.raises(Unsupported, match="no GPU device"):
            await fault("device_lost").inject(struck)

        for check in (_late, _stalled, _held, _loaded):
            await check(fault, struck)
            await ask(fleet)

        hang = fault("renderer_hang")
        pages = struck.pages()
        assert "state T" in (await hang.inject(struck)).seen
        assert {page.status() for page in pages} == {psutil.STATUS_STOPPED}
        await hang.lift()
        assert psutil.STATUS_STOPPED not in {page.status() for page in pages}
        await ask(fleet)

        cut = asyncio.create_task(fault("partial_result").inject(await victim(fleet)))
        await ask(fleet)
        assert "of an answer withheld" in (await cut).seen

        struck = await victim(fleet)
        assert "reset" in (await fault("connection_lost").inject(struck)).seen
        assert struck.connection.lost.done() and struck.link is None

        struck = await victim(fleet)
        root = struck.root()
        assert f"pid {root.pid} is gone" == (await fault("browser_crash").inject(struck)).seen
        assert not is_running(root)
        await ask(fleet)
    assert await asyncio.to_thread(fleet.left) == (0, 0)


Make = Callable[..., Fault]
Check = Callable[[Make, Victim], Awaitable[None]]


async def _late(fault: Make, struck: Victim) -> None:
    slow = fault("network_latency", delay_s=0.05)
    proof = await slow.inject(struck)
    assert int(proof.seen.split()[-2]) >= 100  # both ways
    assert struck.link is not None and struck.link.delay_s == 0.05
    await slow.lift()
    assert struck.link.delay_s == 0.0


async def _stalled(fault: Make, struck: Victim) -> None:
    unstable = fault("network_instability", stall_s=0.05, pause_s=0.02)
    await unstable.inject(struck)
    assert struck.link is not None and struck.link.is_held
    await unstable.lift()
    assert not struck.link.is_held


async def _held(fault: Make, struck: Victim) -> None:
    parted = fault("partition")
    assert "none since" in (await parted.inject(struck)).seen
    assert struck.link is not None and struck.link.is_held
    await parted.lift()
    assert not struck.link.is_held


async def _loaded(fault: Make, struck: Victim) -> None:
    before = set(psutil.Process().children())
    pressure = fault("memory_pressure", share=0.01, most_bytes=32 << 20)
    throttle = fault("cpu_throttling")
    assert "holds" in (await pressure.inject(struck)).seen
    assert "busy processes" in (await throttle.inject(struck)).seen
    assert len(set(psutil.Process().children()) - before) >= 2
    await pressure.lift()
    await throttle.lift()
    assert set(psutil.Process().children()) <= before
