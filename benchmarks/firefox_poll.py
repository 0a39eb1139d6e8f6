# SPDX-License-Identifier: Apache-2.0
"""Firefox's WebGPU with the page runtime's readback poll, against without it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from accelerate_core.host import Host
from accelerate_core.testing.models import tiny_mlp

from ._measure import Figure, median, paired_ratio, percentiles, turns
from ._plain import PlainPage, plain_page
from ._world import Options, conditions, found, new_host

_WORK_MS = 80.0
_FIRST_TURNS = 4000


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield the three figures; nothing where Firefox was not asked for."""
    for name in options.browsers(["firefox"]):
        with new_host() as host:
            browser = found(host, name)
            async with plain_page(host, browser) as page:
                adapter = await page.call("prepare", turns=1)
                facts = {"browser": f"{name} {browser.version}", "adapter": adapter}
                yield await _trivial(options, page, facts)
                yield await _model(options, page, host, facts)
                yield await _work(options, page, facts)


async def _trivial(options: Options, page: PlainPage, facts: dict[str, str]) -> Figure:
    async def dispatch(is_polled: bool) -> float:
        answer: dict[str, float] = await page.call("dispatch", poll=is_polled)
        return answer["wallMs"]

    return await _speedup("trivial", 40.0, options, dispatch, facts)


async def _model(options: Options, page: PlainPage, host: Host, facts: dict[str, str]) -> Figure:
    (asset,) = tiny_mlp(host.context.assets).assets
    await page.call(
        "load",
        backend="webgpu",
        bundle="jspi",
        folder="/ort/jspi/",
        threads=1,
        model=page.serve(host.context.assets.path(asset.sha256)),
        external=[],
        dimensions=None,
        poll=True,
        inputs=[{"name": "x", "dtype": "float32", "shape": [1, 8], "values": [0.5] * 8}],
    )

    async def run(is_polled: bool) -> float:
        await page.call("poll", poll=is_polled)
        in_page_ms: float = await page.call("run")
        return in_page_ms

    return await _speedup("small_model", 15.0, options, run, facts)


async def _speedup(
    what: str,
    at_least: float,
    options: Options,
    run: Callable[[bool], Awaitable[float]],
    facts: dict[str, str],
) -> Figure:
    for is_polled in (True, False) * 3:
        await run(is_polled)
    samples: dict[str, list[float]] = {"a": [], "b": []}
    for order in turns(options.count(100, 10)):
        for which in order:
            samples[which].append(await run(which == "b"))
    ratio = paired_ratio(samples["a"], samples["b"])
    return Figure(
        figure=f"firefox_poll_{what}_speedup",
        value=ratio.value,
        unit="x",
        at_least=at_least,
        conditions=conditions(
            **facts,
            pairs=len(samples["a"]),
            without_ms=percentiles(samples["a"]),
            with_ms=percentiles(samples["b"]),
            interval_95=ratio.interval,
        ),
    )


async def _work(options: Options, page: PlainPage, facts: dict[str, str]) -> Figure:
    """Compare wall time with the poll to the GPU's own time, undisturbed by it."""
    turns_wanted = await _calibrated(page)

    async def polled() -> float:
        answer: dict[str, float] = await page.call("dispatch", poll=True)
        return answer["wallMs"]

    async def undisturbed() -> float:
        answer: dict[str, float] = await page.call("dispatch", poll=False)
        return answer["gpuMs"]

    calls = {"a": polled, "b": undisturbed}
    samples: dict[str, list[float]] = {"a": [], "b": []}
    for order in turns(options.count(60, 8)):
        for which in order:
            samples[which].append(await calls[which]())
    ratio = paired_ratio(samples["a"], samples["b"])
    return Figure(
        figure="firefox_poll_80ms_work_ratio",
        value=ratio.value,
        unit="x",
        at_most=1.1,
        conditions=conditions(
            **facts,
            pairs=len(samples["a"]),
            turns=turns_wanted,
            polled_wall_ms=percentiles(samples["a"]),
            work_gpu_ms=percentiles(samples["b"]),
            interval_95=ratio.interval,
        ),
    )


async def _calibrated(page: PlainPage) -> int:
    """Prepare work that keeps the GPU busy for about 80 ms; return its turns."""
    turns_wanted = _FIRST_TURNS
    for _ in range(4):
        await page.call("prepare", turns=turns_wanted)
        answers = [await page.call("dispatch", poll=False) for _ in range(4)]
        took_ms = median([answer["gpuMs"] for answer in answers[1:]])
        turns_wanted = max(1, round(turns_wanted * _WORK_MS / took_ms))
    await page.call("prepare", turns=turns_wanted)
    await page.call("dispatch", poll=False)
    return turns_wanted
