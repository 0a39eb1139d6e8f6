# SPDX-License-Identifier: Apache-2.0
"""Each engine against the same onnxruntime-web call in a hand-written page."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from accelerate_browser.worker import BrowserWorker

from accelerate_core.host import Host
from accelerate_core.types import LoadOptions, ModelHandle, ModelSpec, Target, WorkerInfo

from ._measure import Figure, paired_ratio, percentiles, turns
from ._model import DIMENSIONS, inputs, small_bert
from ._plain import PlainPage, plain_page
from ._world import Options, conditions, found, new_folder, new_host, started, worker_facts

if TYPE_CHECKING:
    from accelerate_core.types import Array

TARGETS = (
    Target("wasm", "ort", "chromium"),
    Target("webgpu", "ort", "chromium"),
    Target("webgpu", "ort", "firefox"),
    Target("webnn", "ort", "chromium-headless-shell"),
)
_TOLERANCE = 1e-5
_WARM_UP = 10
_LEAST_PAIRS = 30
_MOST_PAIRS = 1000
_BUDGET_S = 60.0


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield the ratio of times in the page, for each engine."""
    for target in TARGETS:
        assert target.browser
        if not options.browsers([target.browser]):
            continue
        with new_host() as host, new_folder() as folder:
            spec = small_bert(host, folder)
            browser = found(host, target.browser)
            async with started(host, target) as worker, plain_page(host, browser) as page:
                load = LoadOptions(dimensions=DIMENSIONS)
                handle = await worker.load(spec, load)
                await _load_plain(page, worker.info, host, spec)
                yield await _compare(options, worker, handle, page)


async def _load_plain(page: PlainPage, info: WorkerInfo, host: Host, spec: ModelSpec) -> None:
    """Load the model by hand: the same build, device options, threads and readback poll."""
    bundle = info.details["bundle"]
    graph, *external = (page.serve(host.context.assets.path(one.sha256)) for one in spec.assets)
    is_static = info.target.backend == "webnn"
    await page.call(
        "load",
        backend=info.target.backend,
        bundle=bundle,
        folder=f"/ort/{bundle}/",
        threads=info.threads or 1,
        model=graph,
        external=[
            {"path": asset.name, "url": url}
            for asset, url in zip(spec.assets[1:], external, strict=True)
        ],
        dimensions=DIMENSIONS if is_static else None,
        deviceType=info.details.get("device_type_asked"),
        poll=info.target.browser == "firefox",
        inputs=[_plain_input(name, array) for name, array in inputs().items()],
    )


def _plain_input(name: str, array: Array) -> Mapping[str, Any]:
    return {
        "name": name,
        "dtype": array.dtype.name,
        "shape": array.shape,
        "values": array.reshape(-1).tolist(),
    }


async def _compare(
    options: Options, worker: BrowserWorker, handle: ModelHandle, page: PlainPage
) -> Figure:
    feeds = inputs()

    async def ours() -> float:
        in_page_ms = (await worker.run(handle, feeds)).phases.in_page_ms
        assert in_page_ms is not None
        return in_page_ms

    async def plain() -> float:
        in_page_ms: float = await page.call("run")
        return in_page_ms

    error = await _difference(worker, handle, page)
    if error > _TOLERANCE:
        raise AssertionError(f"the two pages disagree: relative error {error:.3g}")
    calls = {"a": ours, "b": plain}
    for _ in range(options.count(_WARM_UP, 2)):
        await ours()
        await plain()
    samples: dict[str, list[float]] = {"a": [], "b": []}
    ends_at = time.monotonic() + _BUDGET_S
    least = options.count(_LEAST_PAIRS, 6)
    for order in turns(options.count(_MOST_PAIRS, 6)):
        for which in order:
            samples[which].append(await calls[which]())
        if time.monotonic() > ends_at and len(samples["a"]) >= least:
            break
    ratio = paired_ratio(samples["a"], samples["b"])
    target = worker.info.target
    return Figure(
        figure=f"engine_{target.engine}_{target.backend}_{target.browser}_ratio",
        value=ratio.value,
        unit="x",
        at_most=1.05,
        judged=ratio.high,
        conditions=conditions(
            **worker_facts(worker.info),
            judged="upper bound of interval_95",
            interval_95=ratio.interval,
            pairs=len(samples["a"]),
            ours_ms=percentiles(samples["a"]),
            plain_ms=percentiles(samples["b"]),
            model=f"{handle.spec.name}, {dict(DIMENSIONS)}",
        ),
    )


async def _difference(worker: BrowserWorker, handle: ModelHandle, page: PlainPage) -> float:
    (ours,) = (await worker.run(handle, inputs())).outputs.values()
    assert isinstance(ours, np.ndarray)
    plain = np.array(await page.call("outputs"), np.float32)
    return float(np.linalg.norm(ours.reshape(-1) - plain) / np.linalg.norm(plain))
