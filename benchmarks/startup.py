# SPDX-License-Identifier: Apache-2.0
"""From launch to a connected page, for each browser and launcher; and what `accel --help` costs."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from accelerate_browser.browsers import BrowserFound, find_browsers
from accelerate_browser.engines import OrtWasmPlugin
from accelerate_browser.hookspecs import LAUNCHERS
from accelerate_browser.hookspecs.launcher import Launcher, LaunchRequest
from accelerate_browser.hub import Hub, create

from accelerate_core.host import Host

from ._measure import Figure, median, paired_ratio, percentiles, turns
from ._world import Options, conditions, new_host

LAUNCHER_NAMES = ("process", "selenium")


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield launch times, then the cost of help."""
    with new_host() as host:
        for browser in find_browsers(host.context.cache_dir):
            if not options.browsers([browser.browser]):
                continue
            for name in LAUNCHER_NAMES:
                launcher: Launcher = create(host.context, LAUNCHERS, name, {}, "benchmark")
                if launcher.supports(browser):
                    yield await _launches(options, host, browser, launcher, name)
    yield _help(options)


async def _launches(
    options: Options, host: Host, browser: BrowserFound, launcher: Launcher, name: str
) -> Figure:
    """Launch a few times in one slot; the first time its profile is new."""
    hub = Hub.join(host.context)
    try:
        times = [await _launch(hub, host, browser, launcher) for _ in range(options.count(8, 2))]
    finally:
        await hub.leave()
    (first, _), *_ = times
    connected, ready = zip(*times, strict=True)
    return Figure(
        figure=f"launch_{browser.browser}_{name}_to_connected",
        value=median(connected),
        unit="ms",
        conditions=conditions(
            browser=f"{browser.browser} {browser.version}",
            launcher=name,
            launches=len(times),
            first_ms=round(first),
            connected_ms=percentiles(connected),
            engine_ready_ms=percentiles(ready),
        ),
    )


async def _launch(
    hub: Hub, host: Host, browser: BrowserFound, launcher: Launcher
) -> tuple[float, float]:
    """Return milliseconds until the page connected, and until its WASM engine was ready."""
    lease = await hub.lease(browser.browser)
    try:
        bridge = await hub.bridge(lease.slot)
        module = OrtWasmPlugin().engine_create(None, host.context)
        bridge.serve_engine(module)
        invitation = bridge.invite(module, browser.browser)
        begin = time.perf_counter()
        launched = await launcher.launch(
            LaunchRequest(browser=browser, url=invitation.url, profile=lease.profile)
        )
        try:
            connection = await invitation.connection
            connected_ms = (time.perf_counter() - begin) * 1e3
            await connection.ready
            ready_ms = (time.perf_counter() - begin) * 1e3
            await connection.close("measured")
        finally:
            await launched.close()
        return connected_ms, ready_ms
    finally:
        lease.release()


def _help(options: Options) -> Figure:
    accel = Path(sys.executable).with_name("accel")
    commands = {"a": [str(accel), "--help"], "b": [sys.executable, "-c", "pass"]}
    for command in commands.values():
        _seconds(command)
    samples: dict[str, list[float]] = {"a": [], "b": []}
    for order in turns(options.count(40, 8)):
        for which in order:
            samples[which].append(_seconds(commands[which]))
    ratio = paired_ratio(samples["a"], samples["b"])
    return Figure(
        figure="help_ratio",
        value=ratio.value,
        unit="x",
        at_most=6.0,
        conditions=conditions(
            pairs=len(samples["a"]),
            help_ms=percentiles([1e3 * s for s in samples["a"]]),
            python_ms=percentiles([1e3 * s for s in samples["b"]]),
            interval_95=ratio.interval,
        ),
    )


def _seconds(command: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin
