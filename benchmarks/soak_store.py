# SPDX-License-Identifier: Apache-2.0
"""A process that writes is killed at random moments: what it acknowledged is there afterwards."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import duckdb
from accelerate_duckdb import bulk, client, migrations, opening, pruning
from accelerate_duckdb.store import DuckDbStore

from accelerate_core.testing import samples

from ._measure import Figure
from ._progress import Progress
from ._world import Options, conditions, new_folder

_SEED = 6
#: At first a life is at most so long. It becomes longer and shorter until every other one lives to
#: write something: the others end while they open the file, replay its log, or bring it forward.
_LIFE_S = 1.0
_LONGER = 1.1
#: Rows that go in at once; two such fill the log of a database, which is then worked into it.
_BULK_ROWS = 20_000
#: Rows of each run of the file that is brought forward, and of that which is made smaller.
_KEPT_ROWS = 2_000
_OLD, _NEW = samples.START - timedelta(days=400), samples.START
_PRELOADED = ("numpy", "duckdb", "accelerate_core.cli.interrupts", __name__)
_MEASURED = "SELECT run_id, count(*) FROM webnn_webgpu_performance GROUP BY run_id"

Rows: TypeAlias = Sequence[Sequence[Any]]


@attrs.frozen
class Act:
    """What a process is killed in."""

    write: Callable[[Path, int], Iterator[int]]  #: from a number on; yields what is safe
    question: str
    #: Of the answer and of what was acknowledged: what is stored, and how many rows are wrong.
    judge: Callable[[Rows, int], tuple[int, int]]
    original: str | None = None  #: the file that each life begins with; None: the last one's


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield acknowledged rows that were lost, and times the file did not open."""
    kills = options.length(500, 8)
    chance, progress = random.Random(_SEED), Progress("kills", kills)
    done: Counter[str] = Counter()
    stored: Counter[str] = Counter()
    life_s = dict.fromkeys(ACTS, _LIFE_S)
    lost = unopened = wrote = logs = 0
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(list(_PRELOADED))
    with new_folder() as folder:
        await asyncio.to_thread(_make_originals, folder)
        while done.total() < kills and not options.stop.is_set():
            name = list(ACTS)[done.total() % len(ACTS)]
            act, place = ACTS[name], folder / f"{name}.duckdb"
            if act.original:
                stored[name] = 0
                opening.remove(place)  # with the log of its last life
                shutil.copyfile(folder / act.original, place)
            wait_s = chance.uniform(0, life_s[name])
            told = await asyncio.to_thread(_kill, forks, name, place, stored[name], wait_s)
            done[name] += 1
            wrote += told > stored[name]
            life_s[name] *= 1 / _LONGER if told > stored[name] else _LONGER
            logs += place.with_name(place.name + ".wal").exists()
            # A reader leaves the log to the next writer; a writer works it in.
            look = _looked if chance.random() < 0.5 else _opened
            try:
                answer = await asyncio.to_thread(look, place, act.question)
            except Exception as error:
                unopened += 1
                progress.at(done.total(), f"{name}: {error}")
                break
            stored[name], wrong = act.judge(answer, told)
            lost += wrong
            progress.at(done.total(), f"{name}: {stored[name]} stored, {wrong} wrong")
    about = conditions(kills=done, wrote=wrote, logs=logs, stored=stored, seed=_SEED)
    yield Figure(figure="store_kill9_lost", value=lost, unit="rows", at_most=0, conditions=about)
    yield Figure(
        figure="store_kill9_unopened", value=unopened, unit="files", at_most=0, conditions=about
    )


def _kill(forks: Any, name: str, place: Path, first: int, wait_s: float) -> int:
    """Let a new process write, kill it, and return what it had acknowledged."""
    hearing, telling = forks.Pipe(duplex=False)
    process = forks.Process(target=_live, args=(name, place, first, telling))
    process.start()
    telling.close()
    told = first
    try:
        hearing.recv()
        process.join(wait_s)
    finally:
        process.kill()
        process.join()
    if process.exitcode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"{name} ended by itself with {process.exitcode}")
    try:
        while True:
            told = hearing.recv()
    except EOFError:
        return told
    finally:
        hearing.close()


def _live(name: str, place: Path, first: int, telling: Connection) -> None:
    telling.send(first)
    for number in ACTS[name].write(place, first):
        telling.send(number)


def _looked(place: Path, question: str) -> Rows:
    return client.query(place, question).rows


def _opened(place: Path, question: str) -> Rows:
    store = DuckDbStore.open(place)
    try:
        return store.query(question).rows
    finally:
        store.close()


def _make_originals(folder: Path) -> None:
    """Make the files that lives begin with; one is of the store's first version."""
    for name in ("few", "many"):
        DuckDbStore.open(folder / f"{name}.duckdb").close()
    values = [samples.measurement(number, "old") for number in range(_KEPT_ROWS)]
    store = DuckDbStore.open(folder / "two.duckdb")
    for run, at in (("old", _OLD), ("new", _NEW)):
        store.save_run(samples.run_info(run, started_at=at))
        store.save_measurements([attrs.evolve(one, run_id=run) for one in values])
    store.close()
    first = migrations.core_tables().migrations[:1]
    with duckdb.connect(folder / "first.duckdb") as connection:
        tables = migrations.TableSet(namespace=migrations.CORE, migrations=first)
        migrations.migrate(connection, [tables], folder)
        connection.execute(f"ATTACH '{folder / 'two.duckdb'}' AS two")
        for table in ("runs", "cells", "webnn_webgpu_performance"):
            # What a sequence gives stays out: it would give the same again.
            names = connection.execute(
                "SELECT column_name FROM duckdb_columns() WHERE database_name = 'first'"
                " AND table_name = ? AND coalesce(column_default, '') NOT LIKE 'nextval(%'",
                [table],
            )
            columns = ", ".join(name for (name,) in names.fetchall())
            connection.execute(f"INSERT INTO {table} ({columns}) SELECT {columns} FROM two.{table}")


def _few(place: Path, number: int) -> Iterator[int]:
    """Write one at a time, some at once, and statements of a transaction, by turns."""
    store = DuckDbStore.open(place)
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
        yield number


def _judge_few(answer: Rows, told: int) -> tuple[int, int]:
    # Every number up to the last: a batch is there whole or not at all.
    found = [number for (number,) in answer]
    return len(found), max(0, told - len(found)) + (found != list(range(1, len(found) + 1)))


def _many(place: Path, number: int) -> Iterator[int]:
    """Write many at once, and work the log in after every third time."""
    DuckDbStore.open(place).close()
    connection = opening.open_writer(place, 0)
    while True:
        times = [_NEW + timedelta(seconds=second) for second in range(_BULK_ROWS)]
        columns = {
            "timestamp": [time.replace(tzinfo=None) for time in times],
            "session_id": [str(number)] * _BULK_ROWS,
            **{name: ["{}"] * _BULK_ROWS for name in ("by_browser", "by_platform", "by_model")},
            **{
                name: list(range(_BULK_ROWS))
                for name in ("size", "ready", "active", "queued", "jobs", "errors", "attempts")
            },
        }
        connection.execute("BEGIN")
        bulk.insert_columns(connection, "resource_pool_metrics", columns)
        connection.execute("COMMIT")
        number += 1
        yield number
        if number % 3 == 0:
            connection.execute("CHECKPOINT")


def _judge_many(answer: Rows, told: int) -> tuple[int, int]:
    wrong = sum(rows != _BULK_ROWS or total != sum(range(_BULK_ROWS)) for _, rows, total in answer)
    numbers = sorted(int(number) for number, *_ in answer)
    wrong += len(set(range(max(told, len(numbers)))) ^ set(numbers))
    return len(numbers), wrong * _BULK_ROWS


def _judge_forward(answer: Rows, told: int) -> tuple[int, int]:
    found = dict(answer)
    missing = 2 * _KEPT_ROWS - found.pop("old", 0) - found.pop("new", 0)
    return found.get("run", 0), missing + max(0, told - found.get("run", 0))


def _smaller(place: Path, number: int) -> Iterator[int]:
    """Delete the older of two runs, and make the file smaller."""
    pruning.prune(place, (_NEW - timedelta(days=1)).replace(tzinfo=None))
    yield number + 1


def _judge_smaller(answer: Rows, told: int) -> tuple[int, int]:
    found = dict(answer)
    old = found.get("old", 0)
    wrong = _KEPT_ROWS - found.get("new", 0) + (old if told else old % _KEPT_ROWS)
    return found.get("new", 0), wrong


ACTS = {
    "few": Act(
        _few,
        "SELECT CAST(split_part(measurement_id, '-', 2) AS BIGINT)"
        " FROM webnn_webgpu_performance ORDER BY id",
        _judge_few,
    ),
    "many": Act(
        _many,
        "SELECT session_id, count(*), CAST(sum(size) AS BIGINT) FROM resource_pool_metrics"
        " GROUP BY session_id",
        _judge_many,
    ),
    "forward": Act(_few, _MEASURED, _judge_forward, original="first.duckdb"),
    "smaller": Act(_smaller, _MEASURED, _judge_smaller, original="two.duckdb"),
}
