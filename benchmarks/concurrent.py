# SPDX-License-Identifier: Apache-2.0
"""Several models on several workers at once, against the same requests one after the other."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from accelerate_core import AsyncAccelerator
from accelerate_core.calls import AsyncModel
from accelerate_core.host import Host

from ._measure import Figure, paired_ratio, percentiles, turns
from ._model import inputs, small_bert
from ._world import Options, conditions, found, new_folder

WORKERS = 4
#: Requests in one measurement, for each worker.
ROUNDS = 4
_BROWSERS = ("chrome", "chromium", "edge", "firefox")
_START_TIMEOUT_S = 120.0


@attrs.frozen
class _Load:
    """What is asked of a fleet: one request for each worker, again and again."""

    accelerator: AsyncAccelerator
    calls: Sequence[tuple[AsyncModel, Mapping[str, Any]]]

    async def one_after_the_other(self) -> float:
        begin = time.perf_counter()
        for model, given in self.calls:
            await model(given)
        return time.perf_counter() - begin

    async def at_once(self) -> float:
        begin = time.perf_counter()
        await self.accelerator.run_concurrent(self.calls)
        return time.perf_counter() - begin


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield the speed-up of work that waits, invented and real, and that of work that computes."""
    with new_folder() as folder:
        async with _fleet(folder, fake={"latency_ms": 50.0, "browsers": _BROWSERS}) as fleet:
            models = [
                await fleet.accelerate_model(_tiny(), platform="fake", browser=browser)
                for browser in _BROWSERS
            ]
            load = _Load(fleet, [(model, _ones(model)) for model in models] * ROUNDS)
            yield await _speedup("waiting_fake", 3.5, load, load, options, {"latency_ms": 50.0})
    for name in options.browsers(["firefox"]):
        with new_folder() as folder:
            # Without the poll, Firefox answers a readback on a timer: 100 ms in which it waits.
            page = {"engine": "ort", "engine_settings": {"readback_poll": False}}
            async with _fleet(folder, WORKERS, webgpu=page) as fleet:
                version = found(fleet._host, name).version
                model = await fleet.accelerate_model(_tiny(), platform="webgpu", browser=name)
                load = _Load(fleet, [(model, _ones(model))] * WORKERS * ROUNDS)
                facts = {"browser": f"{name} {version}", "waits_for": "a readback on a timer"}
                yield await _speedup("waiting_pages", 3.5, load, load, options, facts)
    with new_folder() as folder:
        small_bert(Host(state_dir=folder), folder)
        one, several = _fleet(folder, 1), _fleet(folder, WORKERS)
        async with one as alone, several as fleet:
            loads = [
                _Load(each, [(model, inputs())] * WORKERS * ROUNDS * 8)
                for each in (alone, fleet)
                for model in [await each.accelerate_model(f"dir:{folder}", platform="cpu")]
            ]
            facts = {"model": "BERT of two layers, 1 x 32 tokens"}
            yield await _speedup("computing_cpu", 0.95, *loads, options, facts)


@contextlib.asynccontextmanager
async def _fleet(
    folder: Path, workers: int | None = None, **backends: Mapping[str, Any]
) -> AsyncIterator[AsyncAccelerator]:
    async with AsyncAccelerator(
        state_dir=folder / "state",
        max_connections=workers or WORKERS,
        min_connections=workers or 0,
        backends=backends,
    ) as fleet:
        yield fleet


async def _speedup(
    what: str,
    at_least: float,
    alone: _Load,
    load: _Load,
    options: Options,
    facts: Mapping[str, Any],
) -> Figure:
    await alone.one_after_the_other()
    await _warm(load)
    samples: dict[str, list[float]] = {"a": [], "b": []}
    runs = {"a": alone.one_after_the_other, "b": load.at_once}
    for order in turns(options.count(20, 4)):
        for which in order:
            samples[which].append(await runs[which]())
    ratio = paired_ratio(samples["a"], samples["b"])
    metrics = load.accelerator.get_metrics()
    return Figure(
        figure=f"concurrent_{what}_speedup",
        value=ratio.value,
        unit="x",
        at_least=at_least,
        conditions=conditions(
            **facts,
            workers=metrics.workers.live,
            requests=len(load.calls),
            pairs=len(samples["a"]),
            one_after_the_other_ms=percentiles([1e3 * one for one in samples["a"]]),
            at_once_ms=percentiles([1e3 * one for one in samples["b"]]),
            retries=metrics.jobs.retries,
            interval_95=ratio.interval,
        ),
    )


async def _warm(load: _Load) -> None:
    """Run until every worker is there and has run."""
    ends = time.monotonic() + _START_TIMEOUT_S
    while True:
        await load.at_once()
        known = load.accelerator.get_health_status().workers
        if sum(bool(one.models) for one in known) >= WORKERS:
            break
        if time.monotonic() > ends:
            raise TimeoutError(f"{len(known)} of {WORKERS} workers after {_START_TIMEOUT_S:.0f} s")
        await asyncio.sleep(0.2)
    await load.at_once()


def _tiny() -> str:
    return f"file:{resources.files('accelerate_core') / 'data' / 'tiny_mlp.onnx'}"


def _ones(model: AsyncModel) -> dict[str, Any]:
    return {
        spec.name: np.ones([1 if isinstance(size, str) else size for size in spec.shape], "f4")
        for spec in model.spec.inputs
    }
