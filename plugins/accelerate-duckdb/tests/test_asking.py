# SPDX-License-Identifier: Apache-2.0
"""Queries: beside the writer, through its socket, without one; and only ever reading."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from uuid import UUID

import duckdb
import pytest
from accelerate_duckdb import DuckDbPlugin, DuckDbSettings, client, server, sidecar, wire
from accelerate_duckdb.store import DuckDbStore
from hypothesis import given
from hypothesis import strategies as st

from accelerate_core.errors import StoreError
from accelerate_core.protocols import Migration, TableSet

from . import values

TYPES = """
SELECT NULL AS nothing, true AS yes, 170141183460469231731687303715884105727::HUGEINT AS huge,
    2.5::DOUBLE AS number, 'infinity'::DOUBLE AS endless, 1.50::DECIMAL(4, 2) AS money,
    DATE '2026-11-21' AS day, TIMESTAMP '2026-11-21 12:30:00.25' AS moment,
    TIMESTAMPTZ '2026-11-21 12:30:00+00' AS zoned, TIME '12:30:00' AS clock,
    INTERVAL 36 HOUR AS span, 'ab'::BLOB AS bytes,
    '6f9619ff-8b86-d011-b42d-00cf4fc964ff'::UUID AS name,
    [1.5, NULL] AS list, {'a': 1, 'b': [DATE '2026-01-01']} AS struct, MAP {'x': 1.5} AS map
"""
HOLD = """
import sys
from accelerate_duckdb.store import DuckDbStore
from values import RUN, measurement

store = DuckDbStore.open(sys.argv[1])
store.save_run(RUN)
store.save_measurement(measurement(0))
print("ready", flush=True)
sys.stdin.readline()
store.close()
"""


@pytest.fixture
def other_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Hold the store open in another process until a line is written to it."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    ) as process:
        assert process.stdout and process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def say_goodbye(process: subprocess.Popen[str]) -> None:
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def test_a_second_process_is_refused_by_pid_and_may_still_ask(
    path: Path, other_process: subprocess.Popen[str], caplog: pytest.LogCaptureFixture
) -> None:
    begin = time.monotonic()
    with pytest.raises(StoreError) as caught:
        DuckDbStore.open(path, wait_s=0.5)
    assert 0.5 <= time.monotonic() - begin < 5
    assert f"process {other_process.pid} holds the database" in str(caught.value)
    (said,) = caplog.messages  # once, and before the waiting
    assert said == f"process {other_process.pid} holds {path}; waiting for it, 0.5 s at most"

    assert client.query(path, "SELECT id FROM runs").rows == (("run-1",),)

    # It waits, and gets the file once the other lets go.
    let_go = threading.Timer(0.3, say_goodbye, [other_process])
    let_go.start()
    store = DuckDbStore.open(path, wait_s=20)
    let_go.join()
    assert [run.id for run in store.runs()] == ["run-1"]
    store.close()


def test_runs_are_told_by_whoever_writes_them_or_by_the_file(
    path: Path, other_process: subprocess.Popen[str]
) -> None:
    look = partial(DuckDbPlugin().store_look, DuckDbSettings(path=str(path)), ctx=None, tables=())
    asked = look()
    beside = asked.runs(), asked.summary("run-1")
    say_goodbye(other_process)
    other_process.wait()
    assert (asked.runs(), asked.summary("run-1")) == beside
    asked.close()
    DuckDbStore.open(path, wait_s=0).close()
    assert beside[1].run == beside[0][0] == values.RUN and len(beside[1].measurements) == 1


def test_what_a_file_lacks_is_brought_before_anyone_looks(path: Path) -> None:
    DuckDbStore.open(path).close()
    table = "CREATE TABLE new_rows (number BIGINT); INSERT INTO new_rows VALUES (7);"
    new = TableSet(namespace="new", migrations=(Migration(version=1, sql=table),))
    found = DuckDbPlugin().store_look(DuckDbSettings(path=str(path)), None, (new,))
    assert found.query("FROM new_rows").rows == ((7,),)
    found.close()
    with pytest.raises(StoreError, match="another program"):
        foreign = path.with_name("foreign.duckdb")
        with duckdb.connect(foreign) as connection:
            connection.execute("CREATE TABLE a (b BIGINT)")
        DuckDbPlugin().store_look(DuckDbSettings(path=str(foreign)), None, ())


def test_a_killed_writers_traces_are_swept_by_the_next_query(
    path: Path, other_process: subprocess.Popen[str]
) -> None:
    left = sidecar.read(path)
    assert left and left.path and Path(left.path).exists()
    other_process.send_signal(signal.SIGKILL)
    other_process.wait()
    assert Path(left.path).exists()
    rows = client.query(path, "SELECT measurement_id FROM webnn_webgpu_performance").rows
    assert rows == (("m-run-1-0",),)
    assert not Path(left.path).parent.exists()
    assert not sidecar.place(path).exists()


def test_a_writer_that_cannot_be_asked_is_named(
    path: Path, other_process: subprocess.Popen[str]
) -> None:
    left = sidecar.read(path)
    assert left and left.path
    Path(left.path).unlink()  # as a cleaner of temporary folders may do
    with pytest.raises(StoreError, match=f"process {other_process.pid} holds"):
        client.query(path, "FROM runs", wait_s=0.3)
    Path(left.path).parent.rmdir()


def test_two_stores_of_one_process_exclude_each_other(path: Path, store: DuckDbStore) -> None:
    with pytest.raises(StoreError, match="this process holds") as caught:
        DuckDbStore.open(path, wait_s=0.2)
    assert "kill" not in (caught.value.info.hint or "kill")
    link = path.with_name("link.duckdb")
    link.symlink_to(path)
    with pytest.raises(StoreError, match="this process holds"):
        DuckDbStore.open(link, wait_s=0)
    store.save_run(values.RUN)


def test_the_socket_is_private_and_short_lived(path: Path, store: DuckDbStore) -> None:
    address = sidecar.read(path)
    assert address and address.path and address.pid == os.getpid()
    assert len(address.path) < 100
    assert Path(address.path).stat().st_mode & 0o777 == 0o600
    assert Path(address.path).parent.stat().st_mode & 0o777 == 0o700
    assert sidecar.place(path).stat().st_mode & 0o777 == 0o600
    store.close()
    assert not Path(address.path).parent.exists()
    assert not sidecar.place(path).exists()


def test_where_socket_names_are_too_long_it_listens_on_loopback(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("long" * 30)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    store = DuckDbStore.open(path)
    try:
        address = sidecar.read(path)
        assert address and address.path is None and address.port
        store.save_run(values.RUN)
        assert client.query(path, "SELECT id FROM runs").rows == (("run-1",),)
        with address.connect() as stranger, stranger.makefile("rb") as lines:
            stranger.sendall(wire.request_line("guess", "SELECT 1", ()))
            with pytest.raises(StoreError, match="token"):
                wire.read_table(lines)
    finally:
        store.close()
    assert list(long.iterdir()) == []


def test_a_malformed_request_is_answered_and_harms_nobody(path: Path, store: DuckDbStore) -> None:
    address = sidecar.read(path)
    assert address
    for request in (b"\n", b"{}\n", b"[1]\n", b'{"token": 1, "sql": 2,\n', b"\xff\n"):
        with address.connect() as stranger, stranger.makefile("rb") as lines:
            stranger.sendall(request)
            with pytest.raises(StoreError, match="malformed"):
                wire.read_table(lines)
    assert client.query(path, "SELECT 1").rows == ((1,),)


def test_a_silent_client_does_not_hold_up_closing(path: Path) -> None:
    store = DuckDbStore.open(path)
    address = sidecar.read(path)
    assert address
    with address.connect():
        begin = time.monotonic()
        store.close()
        assert time.monotonic() - begin < 3


def test_types_survive_the_socket(path: Path, store: DuckDbStore) -> None:
    direct = store.query(TYPES)
    assert client.query(path, TYPES) == direct
    row = dict(zip(direct.columns, direct.rows[0], strict=True))
    assert row["money"] == Decimal("1.50")
    assert row["moment"] == dt.datetime(2026, 11, 21, 12, 30, 0, 250_000)
    assert row["name"] == UUID("6f9619ff-8b86-d011-b42d-00cf4fc964ff")
    assert row["struct"] == {"a": 1, "b": [dt.date(2026, 1, 1)]}


def test_types_are_the_same_without_a_writer(path: Path) -> None:
    store = DuckDbStore.open(path)
    direct = store.query(TYPES)
    store.close()
    assert client.query(path, TYPES) == direct


_cells = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.dates()
    | st.datetimes()
    | st.times()
    | st.timedeltas()
    | st.uuids(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(_cells)
def test_any_value_survives_the_wire(value: object) -> None:
    assert wire.unpack(json.loads(json.dumps(wire.pack(value)))) == value


def test_parameters_and_many_rows(path: Path, store: DuckDbStore) -> None:
    sql = "SELECT i, i::VARCHAR FROM range(?::BIGINT) AS r(i) ORDER BY i"
    table = client.query(path, sql, [1234])
    assert table.rows == tuple((i, str(i)) for i in range(1234))


READS = [
    "SELECT 1",
    "WITH a AS (SELECT 1) FROM a",
    "FROM runs",
    "DESCRIBE runs",
    "SHOW TABLES",
    "SUMMARIZE runs",
    "PRAGMA table_info('runs')",
    "EXPLAIN SELECT 1",
    "PIVOT runs ON name USING count(*) GROUP BY id",
    "SELECT now()",
]
WRITES = [
    "INSERT INTO runs (id, started_at, is_interrupted, record) VALUES ('x', now(), true, '{}')",
    "WITH x AS (DELETE FROM runs RETURNING id) SELECT * FROM x",
    "EXPLAIN ANALYZE DELETE FROM runs",
    "SELECT nextval('runs_sequence')",
    "SELECT 1; DROP TABLE runs",
    "DROP TABLE runs",
    "COMMIT",
    "CHECKPOINT",
    "SET threads = 1",
    "PRAGMA disable_checkpoint_on_shutdown",
    "ATTACH 'other.duckdb'",
    "COPY runs TO 'runs.csv'",
    "FROM read_csv('/etc/passwd')",
    "FROM '/etc/passwd.csv'",
    "INSTALL httpfs",
    "",
    "SELEC 1",
    "SELECT nosuch FROM runs",
]


def test_what_reads_is_answered(path: Path, store: DuckDbStore) -> None:
    store.save_run(values.RUN)
    for sql in READS:
        table = client.query(path, sql)
        assert table.columns and table.rows
        assert len(store.query(sql).rows) == len(table.rows)


def test_what_does_not_read_is_refused(path: Path, store: DuckDbStore) -> None:
    store.save_run(values.RUN)
    store.save_run(values.RUN)
    for sql in WRITES:
        with pytest.raises(StoreError):
            client.query(path, sql)
        with pytest.raises(StoreError):
            store.query(sql)
    assert [run.id for run in store.runs()] == ["run-1"]
    store.close()
    for sql in WRITES:
        with pytest.raises(StoreError):
            client.query(path, sql)
    assert client.query(path, "SELECT id FROM runs").rows == (("run-1",),)
    assert list(path.parent.iterdir()) == [path]


def test_an_error_says_what_to_do(store: DuckDbStore) -> None:
    with pytest.raises(StoreError) as caught:
        store.query("DROP TABLE runs")
    assert "not a read-only query: DROP" in str(caught.value)
    assert "Store.transaction()" in str(caught.value)


def test_a_huge_answer_is_refused(
    path: Path, store: DuckDbStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_MAX_ANSWER_BYTES", 4 << 20)
    with pytest.raises(StoreError, match="larger than 4 MiB") as caught:
        client.query(path, "SELECT repeat('x', 1_000_000) FROM range(5)")
    assert "LIMIT" in (caught.value.info.hint or "")


def test_closing_interrupts_a_query_that_runs(path: Path) -> None:
    store = DuckDbStore.open(path)
    endless = "SELECT sum(a.i * b.i) FROM range(10_000_000) a(i), range(10_000_000) b(i)"
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            store.query(endless)
        except StoreError as error:
            failures.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.3)
    begin = time.monotonic()
    store.close()
    assert time.monotonic() - begin < 5
    thread.join(10)
    assert len(failures) == 1 and "interrupted" in str(failures[0])
    DuckDbStore.open(path, wait_s=0).close()


def test_only_sockets_are_swept(path: Path, tmp_path: Path) -> None:
    DuckDbStore.open(path).close()
    precious = tmp_path / "precious"
    precious.write_text("keep")
    forged = {"pid": 1, "token": "", "path": str(precious), "port": None}
    sidecar.place(path).write_text(json.dumps(forged))
    client.query(path, "SELECT 1")
    assert precious.read_text() == "keep"
    assert not sidecar.place(path).exists()
