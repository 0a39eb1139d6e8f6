# SPDX-License-Identifier: Apache-2.0
"""A process that writes measurements is killed at random moments: what it acknowledged is there."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from accelerate_duckdb.store import DuckDbStore

from ._measure import Figure
from ._world import Options, conditions, new_folder

_SEED = 6
#: At most so long after its first row; a start takes longer than this, and is no writing.
_LIFE_S = 0.3
#: One at a time, many at once, and statements of a transaction, by turns.
_WRITER = """
import sys
from accelerate_duckdb.store import DuckDbStore
from accelerate_core.testing import samples

store = DuckDbStore.open(sys.argv[1])
number = int(sys.argv[2])
while True:
    size = (1, 7, 3)[number % 3]
    batch = [samples.measurement(number + one, "run") for one in range(1, size + 1)]
    if size == 7:
        store.save_measurements(batch)
    else:
        with store.transaction():
            for one in batch:
                store.save_measurement(one)
    number += size
    print(number, flush=True)
"""


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield acknowledged rows that were lost, and times the file did not open."""
    kills = options.length(500, 5)
    chance = random.Random(_SEED)
    lost = unopened = acknowledged = stored = done = 0
    with new_folder() as folder:
        place = folder / "killed.duckdb"
        for _ in range(kills):
            if options.stop.is_set():
                break
            wait_s = chance.uniform(0, _LIFE_S)
            acknowledged = await asyncio.to_thread(_write_and_kill, place, stored, wait_s)
            done += 1
            try:
                found = await asyncio.to_thread(_stored, place)
            except Exception:
                unopened += 1
                break
            # Every number up to the last: a batch is there whole or not at all.
            lost += max(0, acknowledged - len(found)) + (found != list(range(1, len(found) + 1)))
            stored = len(found)
    about = conditions(kills=done, rows=stored, seed=_SEED)
    yield Figure(figure="store_kill9_lost", value=lost, unit="rows", at_most=0, conditions=about)
    yield Figure(
        figure="store_kill9_unopened", value=unopened, unit="files", at_most=0, conditions=about
    )


def _write_and_kill(place: Path, first: int, wait_s: float) -> int:
    """Return the last number that was acknowledged."""
    words = [sys.executable, "-c", _WRITER, str(place), str(first)]
    last = first
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            last = int(process.stdout.readline())
            time.sleep(wait_s)
        finally:
            process.send_signal(signal.SIGKILL)
        for line in process.stdout:
            last = int(line) if line.endswith("\n") else last
    return last


def _stored(place: Path) -> list[int]:
    store = DuckDbStore.open(place)
    try:
        found = store.query(
            "SELECT CAST(split_part(measurement_id, '-', 2) AS BIGINT)"
            " FROM webnn_webgpu_performance ORDER BY id"
        )
        return [number for (number,) in found.rows]
    finally:
        store.close()
