# SPDX-License-Identifier: Apache-2.0
"""The backend: which adapter, and a worker on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import metadata
from typing import TYPE_CHECKING

from accelerate_core.errors import BackendUnavailable
from accelerate_core.protocols import Backend, Context, Worker
from accelerate_core.types import Availability, Target, WorkerInfo

from . import adapters

if TYPE_CHECKING:
    from wgpu import GPUAdapter

    from . import WgpuSettings
    from .gpu import Gpu

TARGET = Target("wgpu")
_INSTALL = "pip install wgpu"


class WgpuBackend(Backend):
    """Run plans in this process, on a GPU."""

    def __init__(self, settings: WgpuSettings) -> None:
        self._settings = settings

    async def discover(self) -> Sequence[Availability]:
        """Say which adapter would be taken, or why none can be; asks for no device."""
        try:
            adapter = await asyncio.to_thread(_find, self._settings)
        except BackendUnavailable as error:
            return (
                Availability(
                    target=TARGET,
                    is_available=False,
                    reason=error.info.message,
                    remedy=error.info.hint,
                ),
            )
        version = f"{_version()} on {adapters.name_of(adapter)}"
        return (Availability(target=TARGET, is_available=True, version=version),)

    async def start(self, target: Target, ctx: Context) -> Worker:
        """Start a worker; BackendUnavailable for any target but `wgpu`, or without an adapter."""
        if target != TARGET:
            raise BackendUnavailable(
                f"the wgpu backend has no {target}",
                accepted=(str(TARGET),),
                hint="It runs in this process: ask for the target wgpu.",
            )
        executor = ThreadPoolExecutor(1, "accelerate-wgpu")
        begin = time.perf_counter()
        opening = executor.submit(_open, self._settings)
        try:
            adapter, gpu = await asyncio.wrap_future(opening)
        except BaseException:
            # A start that is cancelled closes what it opens after all, in the same thread.
            opening.add_done_callback(_close_opened)
            executor.shutdown(wait=False)
            raise
        from .worker import WgpuWorker

        is_software = adapters.is_software(adapter)
        info = WorkerInfo(
            target=TARGET,
            engine_version=_version(),
            adapter=adapters.describe(adapter),
            features=adapters.features_of(gpu.device),
            limits=adapters.limits_of(gpu.device),
            is_software=is_software,
            device_type="cpu" if is_software else "gpu",
            launch_ms=(time.perf_counter() - begin) * 1e3,
            details={"api": adapter.info["backend_type"]},
        )
        return WgpuWorker(gpu, info, ctx, executor)


def _version() -> str:
    return f"wgpu {metadata.version('wgpu')}"


def _find(settings: WgpuSettings) -> GPUAdapter:
    try:
        found = adapters.installed()
    except (ImportError, OSError) as error:
        raise BackendUnavailable(
            f"wgpu cannot be loaded: {error}", where="wgpu", hint=_INSTALL
        ) from error
    return adapters.choose(found, settings)


def _open(settings: WgpuSettings) -> tuple[GPUAdapter, Gpu]:
    adapter = _find(settings)
    from .gpu import Gpu

    return adapter, Gpu(adapter)


def _close_opened(opening: Future[tuple[GPUAdapter, Gpu]]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result()[1].close()
