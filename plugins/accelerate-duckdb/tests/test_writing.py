# SPDX-License-Identifier: Apache-2.0
"""Many threads, one writer: batches, transactions, and what is acknowledged stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import attrs
import duckdb
import pytest
from accelerate_duckdb import bulk, writer
from accelerate_duckdb.store import DuckDbStore

from accelerate_core.errors import StoreError

from . import values

COUNT = "SELECT count(*) FROM webnn_webgpu_performance"


def test_eight_threads_lose_nothing(store: DuckDbStore) -> None:
    def save(thread: int) -> list[int]:
        ids = []
        for number in range(50):
            row_id = store.save_measurement(values.measurement(number, run_id=f"run-{thread}"))
            if number % 10 == 0:
                # Acknowledged means committed: any reader sees it now.
                seen = store.query(f"SELECT id FROM webnn_webgpu_performance WHERE id = {row_id}")
                assert seen.rows == ((row_id,),)
            ids.append(row_id)
        return ids

    for thread in range(8):
        store.save_run(attrs.evolve(values.RUN, id=f"run-{thread}"))
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(save, range(8)))
    assert len({row_id for own in ids for row_id in own}) == 400
    for thread, own in enumerate(ids):
        assert own == sorted(own)
        stored = store.summary(f"run-{thread}").measurements
        assert [m.id for m in stored] == [f"m-run-{thread}-{n}" for n in range(50)]


def test_writes_that_wait_share_a_commit_and_a_bad_one_harms_no_other(store: DuckDbStore) -> None:
    store.save_measurement(values.measurement(0))
    with ThreadPoolExecutor(12) as pool:
        with store.transaction():
            # While it is open all of these queue up, and then make one batch.
            answers = [
                pool.submit(store.save_measurement, values.measurement(max(number, 0)))
                for number in range(-1, 10)
            ]
            time.sleep(0.2)
            assert not any(answer.done() for answer in answers)
        failed = [answer.exception() for answer in answers]
    assert [type(error) for error in failed[:2]] == [StoreError, StoreError]
    assert failed[2:] == [None] * 9
    assert store.query(COUNT).rows == ((10,),)


def test_a_transaction_commits_as_one(store: DuckDbStore) -> None:
    with store.transaction() as transaction:
        store.save_run(values.RUN)
        row_id = store.save_measurement(values.MEASUREMENT)
        inside = transaction.execute("SELECT id FROM webnn_webgpu_performance")
        assert inside.rows == ((row_id,),)
        assert store.query(COUNT).rows == ((0,),)
    assert store.summary("run-1").measurements == (values.MEASUREMENT,)


def test_a_transaction_rolls_back_as_one(store: DuckDbStore) -> None:
    with pytest.raises(KeyError), store.transaction() as transaction:
        store.save_measurement(values.MEASUREMENT)
        transaction.execute("DELETE FROM schema_versions")
        raise KeyError
    assert store.query(COUNT).rows == ((0,),)
    assert store.query("SELECT min(version) FROM schema_versions").rows == ((1,),)
    store.save_measurement(values.MEASUREMENT)


def test_a_failed_statement_fails_its_transaction(store: DuckDbStore) -> None:
    store.save_measurement(values.MEASUREMENT)
    with pytest.raises(StoreError, match="nothing of it was stored"), store.transaction():
        store.save_measurement(values.measurement(2))
        with pytest.raises(StoreError, match="m-1"):
            store.save_measurement(values.MEASUREMENT)
    assert store.query(COUNT).rows == ((1,),)


def test_a_transaction_takes_one_statement_about_data(store: DuckDbStore) -> None:
    for sql in ("COMMIT", "SELECT 1; SELECT 2", "", "SET threads = 1", "ATTACH 'other.duckdb'"):
        with pytest.raises(StoreError, match="one statement"), store.transaction() as transaction:
            transaction.execute(sql)


def test_columns_of_any_kind_go_in_as_they_are_and_in_order() -> None:
    count = bulk.CHUNK
    columns = {
        "moment": [
            values.MEASUREMENT.started_at.replace(tzinfo=None, microsecond=n) for n in range(count)
        ],
        "whole": [*range(count - 1), None],
        "small": list(range(count)),
        "part": [n / 3 for n in range(count)],
        "told": [n % 2 == 0 for n in range(count)],
        "words": [None, *(f"ä {n}" for n in range(count - 1))],
        "same": ["x"] * count,
    }
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE SEQUENCE numbers; CREATE TABLE t (id BIGINT PRIMARY KEY DEFAULT"
            " nextval('numbers'), moment TIMESTAMP, whole HUGEINT, small BIGINT, part DOUBLE,"
            " told BOOLEAN, words VARCHAR, same VARCHAR)"
        )
        assert bulk.insert_columns(connection, "t", columns) == count
        found = connection.execute("SELECT * EXCLUDE (id) FROM t ORDER BY id").fetchall()
        assert found == list(zip(*columns.values(), strict=True))


def test_many_are_saved_in_order_and_as_one(store: DuckDbStore) -> None:
    store.save_run(values.RUN)
    many = [values.measurement(number) for number in range(1, 200)]
    many[7] = attrs.evolve(many[7], worker=None, samples_ms=(), memory_bytes=None)
    assert store.save_measurements(many) == 199
    assert store.save_measurements([]) == 0
    assert store.summary("run-1").measurements == tuple(many)
    one_by_one = attrs.evolve(many[7], id="alone")
    store.save_measurement(one_by_one)
    both = store.query(
        "SELECT DISTINCT * EXCLUDE (id, measurement_id, record) FROM webnn_webgpu_performance"
        " WHERE measurement_id IN (?, 'alone')",
        [many[7].id],
    )
    assert len(both.rows) == 1
    with pytest.raises(StoreError, match="uplicate"):
        store.save_measurements([values.measurement(500), many[0]])
    assert store.query(COUNT).rows == ((200,),)


def test_a_transaction_within_one_is_part_of_it(store: DuckDbStore) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction():
        with store.transaction():
            store.save_measurement(values.MEASUREMENT)
        raise ZeroDivisionError
    assert store.query(COUNT).rows == ((0,),)
    with store.transaction(), store.transaction():
        store.save_measurement(values.MEASUREMENT)
    assert store.query(COUNT).rows == ((1,),)


def test_a_transaction_given_up_while_waiting_blocks_nobody(
    store: DuckDbStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(Future[None]):
        def result(self, timeout: float | None = None) -> None:
            raise KeyboardInterrupt  # what Ctrl-C does to the thread that waits

    monkeypatch.setattr(writer, "Future", Interrupted)
    with pytest.raises(KeyboardInterrupt), store.transaction():
        pass
    monkeypatch.undo()
    store.save_measurement(values.MEASUREMENT)
    assert store.query(COUNT).rows == ((1,),)


def test_closing_commits_the_queue_and_rolls_back_the_open_transaction(path: Path) -> None:
    store = DuckDbStore.open(path)
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with store.transaction():
            store.save_measurement(values.measurement(1))
            entered.set()
            leave.wait(10)

    with ThreadPoolExecutor(2) as pool:
        holding = pool.submit(hold)
        assert entered.wait(10)
        queued = pool.submit(store.save_measurement, values.measurement(2))
        time.sleep(0.1)
        store.close()
        leave.set()
        assert isinstance(queued.result(10), int)
        assert isinstance(holding.exception(10), StoreError)
    again = DuckDbStore.open(path, wait_s=0)
    found = again.query("SELECT measurement_id FROM webnn_webgpu_performance")
    again.close()
    assert found.rows == (("m-run-1-2",),)


def test_a_forked_child_is_told_and_harms_nothing(store: DuckDbStore) -> None:
    # Prints nothing and runs no exit handler of the parent's: what fork in a test needs.
    child = os.fork()
    if child == 0:
        try:
            store.save_run(values.RUN)
        except StoreError as error:
            os._exit(7 if "forked" in str(error) else 8)
        os._exit(9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    store.save_run(values.RUN)


ENDLESS = """
import sys
from accelerate_duckdb.store import DuckDbStore
from values import RUN, measurement

store = DuckDbStore.open(sys.argv[1])
store.save_run(RUN)
number = len(store.summary("run-1").measurements)
while True:  # one alone, or three in bulk
    if number % 2:
        store.save_measurement(measurement(number))
        number += 1
    else:
        number += store.save_measurements([measurement(number + one) for one in range(3)])
    print(number - 1, flush=True)
"""
FORGETFUL = """
import sys
from accelerate_duckdb.store import DuckDbStore
from values import RUN

store = DuckDbStore.open(sys.argv[1])
store.save_run(RUN)
"""


def start(script: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )


def test_killed_in_the_middle_it_loses_no_acknowledged_row(path: Path) -> None:
    acknowledged = -1
    for rows in (1, 10, 25):
        with start(ENDLESS, path) as process:
            assert process.stdout
            for _ in range(rows):
                acknowledged = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            for line in process.stdout:
                acknowledged = int(line)
        left = [place.name for place in path.parent.iterdir()]
        assert path.name + ".writer" in left  # nobody could tidy up
    store = DuckDbStore.open(path, wait_s=0)
    stored = [m.id for m in store.summary("run-1").measurements]
    store.close()
    # One more, or three, may have been committed and not yet told; never a part of three.
    assert stored == [f"m-run-1-{n}" for n in range(len(stored))]
    assert len(stored) - 1 - acknowledged in (0, 1 if acknowledged % 2 == 0 else 3)
    assert list(path.parent.iterdir()) == [path]


def test_a_store_nobody_closed_is_closed_at_exit(path: Path) -> None:
    with start(FORGETFUL, path) as process:
        assert process.wait(30) == 0
    assert list(path.parent.iterdir()) == [path]
