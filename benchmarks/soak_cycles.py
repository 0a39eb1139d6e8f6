# SPDX-License-Identifier: Apache-2.0
"""Kill a browser that is working, wait until another does, again and again: what stays behind?"""

from __future__ import annotations

from collections.abc import AsyncIterator

import psutil
from accelerate_chaos import turns
from accelerate_chaos.experiment import Plan
from accelerate_chaos.fleet import FleetPlan
from accelerate_chaos.workload import slow

from accelerate_core.fleet.settings import FleetSettings
from accelerate_core.types import Target

from ._chaos import figure, kept
from ._measure import Figure, median
from ._progress import Progress
from ._world import Options, new_host

_BROWSERS = ("chromium-headless-shell",)
_CYCLES = 1000
#: Of the host's memory, from the second tenth of the cycles to the last.
_GROWTH = 1.05
#: Matrices of a run: tens of milliseconds, so that a kill hits one.
_SIZE = 128


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield what was lost, what was left behind, and how much the host grew."""
    cycles = options.length(_CYCLES, 10)
    myself = psutil.Process()
    for browser in options.browsers(_BROWSERS):
        plan = Plan(
            scenario="browser_crash",
            fleet=FleetPlan(
                targets=(Target("wasm", "ort", browser),),
                settings=FleetSettings(max_workers=2, min_workers=1, hot_spares=1),
                backends={"threads": 1},
            ),
            requests=cycles,
            deadline_s=60.0,
        )
        progress, sizes = Progress("cycles", cycles), list[int]()

        def each(done: int, progress: Progress = progress, sizes: list[int] = sizes) -> None:
            sizes.append(myself.memory_info().rss)
            progress.at(done, f"{sizes[-1] / (1 << 20):.0f} MiB")

        with new_host() as host:
            workload = await slow(host, _SIZE)
            row = await turns.run(host, plan, workload, stop=options.stop, each=each)
        for one in kept("soak_cycles", row):
            yield one
        done = row.faults / max(1, len(row.struck))
        yield figure("soak_cycles", "kills_that_happened", done, "", row, at_least=0.95)
        yield figure(
            "soak_cycles",
            "host_memory_growth",
            growth(sizes),
            "x",
            row,
            at_most=_GROWTH,
            first_mib=round(sizes[0] / (1 << 20)),
            last_mib=round(sizes[-1] / (1 << 20)),
        )


def growth(sizes: list[int]) -> float:
    """Return the last tenth's median over the second tenth's; the first warms up."""
    tenth = max(1, len(sizes) // 10)
    return median(sizes[-tenth:]) / median(sizes[tenth : 2 * tenth] or sizes)
