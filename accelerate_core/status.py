# SPDX-License-Identifier: Apache-2.0
"""What a running fleet says of itself to other processes: one small file for each, while it lives.

`accel top` reads them. A file is replaced as a whole; those of processes that were killed are
dropped by the next reader.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from pathlib import Path

import attrs
import psutil

from .fleet.report import HealthStatus
from .metrics import JobMetrics, WorkerMetrics
from .serial import from_plain, to_plain

_log = logging.getLogger("accelerate.status")

INTERVAL_S = 1.0
_FOLDER = "status"


@attrs.frozen(kw_only=True)
class Status:
    """Say what a fleet does, and how it is."""

    pid: int
    name: str
    run_id: str
    started_at: datetime
    at: datetime  #: when it said so
    health: HealthStatus
    jobs: JobMetrics
    workers: WorkerMetrics


@contextlib.asynccontextmanager
async def published(
    state_dir: Path, run_id: str, read: Callable[[], Status]
) -> AsyncIterator[None]:
    """Keep a fleet's status where others find it; one that cannot be written hurts nobody."""
    path = state_dir / _FOLDER / f"{os.getpid()}-{run_id[:8]}.json"
    writing = asyncio.create_task(_publish(path, read))
    try:
        yield
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


async def _publish(path: Path, read: Callable[[], Status]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            _replace(path, json.dumps(to_plain(read())))
            await asyncio.sleep(INTERVAL_S)
    except OSError as error:
        _log.warning("accel top will not show this run: %s", error)


def _replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    try:
        new.touch(mode=0o600)
        new.write_text(text, encoding="utf-8")
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def read_all(state_dir: Path) -> Sequence[Status]:
    """Return what every running fleet says, oldest first; forget those that were killed."""
    found = []
    for path in (state_dir / _FOLDER).glob("*.json"):
        pid = int(path.name.partition("-")[0])
        try:
            if not _lives(pid, path):
                path.unlink(missing_ok=True)
                path.with_suffix(".new").unlink(missing_ok=True)
                continue
            found.append(from_plain(json.loads(path.read_text()), Status))
        except FileNotFoundError:
            continue  # it has just ended
        except Exception as error:
            _log.warning("process %d says what this version does not understand: %s", pid, error)
    return sorted(found, key=lambda one: one.started_at)


def _lives(pid: int, path: Path) -> bool:
    """Whether the process that wrote a file lives: its id may be another's by now."""
    written = path.stat().st_mtime
    try:
        return psutil.Process(pid).create_time() <= written + 1 and written <= time.time() + 60
    except psutil.NoSuchProcess:
        return False
