# SPDX-License-Identifier: Apache-2.0
"""The bridge against a bare WebSocket echo of the same bytes, in the same browser."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import numpy as np
from accelerate_browser import codec, frames
from accelerate_browser.browsers import BrowserFound
from accelerate_browser.hub import Hub
from accelerate_browser.messages import Echo, Run
from accelerate_browser.settings import BrowserSettings
from accelerate_browser.starting import start_worker
from accelerate_browser.traits import Traits
from accelerate_browser.worker import BrowserWorker

from accelerate_core.host import Host
from accelerate_core.protocols import Backend, Context, Worker
from accelerate_core.running.runner import Runner
from accelerate_core.running.work import Work
from accelerate_core.testing.models import matmul_input, tiny_matmul
from accelerate_core.types import Target

from ._measure import Figure, paired_ratio, percentile_ratio, percentiles, turns
from ._plain import OpensBeside, PlainPage, plain_page
from ._world import Options, conditions, found, new_host, worker_facts

_WARM_UP = 200
_SIZE_BYTES = 64 << 20


class BesideBackend(Backend):
    """Starts one worker of this project in the browser of a hand-written page."""

    worker: BrowserWorker

    def __init__(self, host: Host, page: PlainPage, browser: BrowserFound) -> None:
        self.browser = browser
        self._hub = Hub.join(host.context)
        self._page = page

    async def start(self, target: Target, ctx: Context) -> Worker:
        """Open the worker's page beside the other one."""
        self.worker = await start_worker(
            self._hub,
            OpensBeside(self._page),
            Traits(name="wasm"),
            BrowserSettings(engine_settings={"threads": 1}),
            ctx,
            target,
            self.browser,
        )
        return self.worker

    async def close(self) -> None:
        """Close the bridge."""
        await self._hub.leave()


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield the figures for each browser."""
    for name in options.browsers(["chromium", "firefox"]):
        with new_host() as host:
            browser = found(host, name)
            async with plain_page(host, browser) as page:
                backend = BesideBackend(host, page, browser)
                runner = Runner({"wasm": backend}, host.context)
                try:
                    async for figure in _requests(options, runner, backend, page, host):
                        yield figure
                    async for figure in _bulk(options, backend, page):
                        yield figure
                finally:
                    await runner.close()


async def _requests(
    options: Options, runner: Runner, backend: BesideBackend, page: PlainPage, host: Host
) -> AsyncIterator[Figure]:
    target = Target("wasm", "ort", backend.browser.browser)
    work = Work(spec=tiny_matmul(host.context.assets), targets=(target,))
    inputs = matmul_input()
    payload = b"\0" * _frame_bytes(inputs)
    transfers_ms: list[float] = []

    async def pooled() -> float:
        begin = time.perf_counter()
        answer = await runner.submit(work, inputs)
        total_ms = (time.perf_counter() - begin) * 1e3
        phases = answer.result.phases
        assert phases.in_page_ms is not None and phases.transfer_ms is not None
        transfers_ms.append(phases.transfer_ms)
        return total_ms - phases.in_page_ms

    async def bare() -> float:
        begin = time.perf_counter()
        await page.echo(payload)
        return (time.perf_counter() - begin) * 1e3

    calls = {"a": pooled, "b": bare}
    for _ in range(options.count(_WARM_UP, 20)):
        await pooled()
        await bare()
    transfers_ms.clear()
    samples: dict[str, list[float]] = {"a": [], "b": []}
    for order in turns(options.count(3000, 100)):
        for which in order:
            samples[which].append(await calls[which]())
    facts = conditions(
        **worker_facts(backend.worker.info),
        pairs=len(samples["a"]),
        payload_bytes=len(payload),
        pool_ms=percentiles(samples["a"]),
        pool_without_fleet_ms=percentiles(transfers_ms),
        echo_ms=percentiles(samples["b"]),
    )
    for percent, at_most in ((50, 3.0), (99, 10.0)):
        ratio = percentile_ratio(samples["a"], samples["b"], percent)
        yield Figure(
            figure=f"bridge_overhead_p{percent}_ratio",
            value=ratio.value,
            unit="x",
            at_most=at_most,
            conditions={**facts, "interval_95": ratio.interval},
        )


async def _bulk(options: Options, backend: BesideBackend, page: PlainPage) -> AsyncIterator[Figure]:
    array = np.random.default_rng(0).integers(0, 255, _SIZE_BYTES, np.uint8)
    payload = array.tobytes()

    async def bridged() -> None:
        answer = await backend.worker.connection.request(
            lambda id, headers: Echo(id=id, tensors=headers), {"x": array}
        )
        (raw,) = answer.tensors.values()
        assert isinstance(raw, codec.Raw) and len(raw.data) == _SIZE_BYTES

    bare: dict[str, Callable[[], Awaitable[bytes]]] = {
        "one_message": lambda: page.echo(payload),
        "1mib_messages": lambda: page.echo_in_parts(payload, 1 << 20),
    }
    for name, echo in bare.items():
        assert await echo() == payload
        await bridged()
        samples: dict[str, list[float]] = {"a": [], "b": []}
        for order in turns(options.count(20, 4)):
            for which in order:
                begin = time.perf_counter()
                await (bridged() if which == "a" else echo())
                samples[which].append(time.perf_counter() - begin)
        yield _throughput(backend, name, samples)


def _throughput(
    backend: BesideBackend, name: str, samples: Mapping[str, Sequence[float]]
) -> Figure:
    # Throughputs are in the inverse ratio of times.
    ratio = paired_ratio(samples["b"], samples["a"])
    mebibytes = 2 * _SIZE_BYTES / (1 << 20)
    return Figure(
        figure=f"bridge_bulk_against_{name}_throughput_ratio",
        value=ratio.value,
        unit="x",
        at_least=0.7,
        conditions=conditions(
            **worker_facts(backend.worker.info),
            pairs=len(samples["a"]),
            size_bytes=_SIZE_BYTES,
            bridge_mib_s=percentiles([mebibytes / s for s in samples["a"]]),
            echo_mib_s=percentiles([mebibytes / s for s in samples["b"]]),
            interval_95=ratio.interval,
        ),
    )


def _frame_bytes(inputs: dict[str, Any]) -> int:
    """Return the size of the request as it crosses."""
    packed = codec.pack(inputs, lambda: 1)
    request = Run(id=1000, model="m1", tensors=packed.headers)
    return len(frames.encode_message(codec.encode(request), packed.inline))
