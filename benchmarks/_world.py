# SPDX-License-Identifier: Apache-2.0
"""A host with a state folder of its own, the browsers to measure in, and the conditions."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from accelerate_browser.browsers import BrowserFound, BrowserMissing, find_browser
from accelerate_browser.worker import BrowserWorker

from accelerate_core.errors import BackendUnavailable
from accelerate_core.host import Host
from accelerate_core.protocols import Backend
from accelerate_core.types import Target, WorkerInfo

#: Before any browser of ours ran: later figures of the load hold our own.
_LOAD_AT_START = round(os.getloadavg()[0], 2)


@attrs.frozen(kw_only=True)
class Options:
    """Say how much is measured."""

    quick: bool = False
    minutes: float | None = None  #: of a soak; None for its own
    number: int | None = None  #: of what a soak counts; None for its own
    only: tuple[str, ...] = ()  #: browsers; empty for all
    stop: asyncio.Event = attrs.field(factory=asyncio.Event)  #: set: end, and keep what was seen

    def count(self, full: int, quick: int) -> int:
        """Return how often something is repeated."""
        return quick if self.quick else full

    def length(self, full: int, quick: int) -> int:
        """Return how much of what it counts a soak does."""
        return self.number or self.count(full, quick)

    def seconds(self, minutes: float, quick_s: float) -> float:
        """Return how long a soak lasts."""
        return 60.0 * self.minutes if self.minutes else quick_s if self.quick else 60.0 * minutes

    def browsers(self, names: Sequence[str]) -> list[str]:
        """Return those of the browsers that were asked for."""
        return [name for name in names if not self.only or name in self.only]


@contextlib.contextmanager
def new_host() -> Iterator[Host]:
    """Yield a host whose slots and profiles are new, and gone afterwards.

    Models and browsers are those of the user's cache folder.
    """
    with new_folder() as folder:
        yield Host(state_dir=folder)


@contextlib.contextmanager
def new_folder() -> Iterator[Path]:
    """Yield an empty folder, removed afterwards; its path is short, for sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def started(
    host: Host, target: Target, settings: Mapping[str, Any] | None = None
) -> AsyncIterator[BrowserWorker]:
    """Yield a worker of this project for a target."""
    backend: Backend = host.create("backends", target.backend, settings)
    try:
        worker = await backend.start(target, host.context)
        assert isinstance(worker, BrowserWorker)
        try:
            yield worker
        finally:
            await worker.close()
    finally:
        await backend.close()


def found(host: Host, browser: str) -> BrowserFound:
    """Return a browser of this system; BackendUnavailable where it is missing."""
    one = find_browser(browser, host.context.cache_dir)
    if isinstance(one, BrowserMissing):
        raise BackendUnavailable(f"{browser}: {one.reason}", hint=one.remedy)
    return one


def conditions(**more: Any) -> dict[str, Any]:
    """Return what every figure says about the machine, and `more`."""
    return {
        **more,
        "load_average_at_start": _LOAD_AT_START,
        "load_average": round(os.getloadavg()[0], 2),
        "cores": os.cpu_count(),
        "machine": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def worker_facts(info: WorkerInfo) -> dict[str, Any]:
    """Return what a figure says about a worker."""
    adapter = attrs.asdict(info.adapter) if info.adapter else {}
    return {
        "target": str(info.target),
        "browser": " ".join(filter(None, (info.target.browser, info.browser_version))) or None,
        "engine": info.engine_version,
        "adapter": " ".join(filter(None, adapter.values())) or None,
        "is_software": info.is_software,
        "threads": info.threads,
    }
