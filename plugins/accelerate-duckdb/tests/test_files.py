# SPDX-License-Identifier: Apache-2.0
"""Files that cannot be used: a clear error, and never an overwrite."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from accelerate_duckdb import client
from accelerate_duckdb.store import DuckDbStore

from accelerate_core.errors import ConfigError, StoreError

from . import values

HEADER = 4096  # DuckDB's main header, then two database headers, then blocks


def duckdb_checksum(data: bytes) -> int:
    """Return DuckDB's block checksum, to forge headers that are valid but for one field."""
    result = 5381
    for start in range(0, len(data), 8):
        word = int.from_bytes(data[start : start + 8], "little")
        result ^= (word * 0xBF58476D1CE4E5B9) & (2**64 - 1)
    return result


def text_file(data: bytes) -> bytes:
    return b"id,latency_ms\n1,2.5\n" * 1000


def empty_file(data: bytes) -> bytes:
    return b""


def sqlite_file(data: bytes) -> bytes:
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE runs (id)")
        return database.serialize()


def truncated(data: bytes) -> bytes:
    return data[: HEADER + 1000]


def halved(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped_bits(data: bytes) -> bytes:
    return (
        data[: HEADER + 100]
        + bytes(b ^ 0xFF for b in data[HEADER + 100 : 3 * HEADER])
        + data[3 * HEADER :]
    )


def newer_duckdb(data: bytes) -> bytes:
    body = bytearray(data[8:HEADER])
    body[4:12] = struct.pack("<Q", 12345)
    return struct.pack("<Q", duckdb_checksum(bytes(body))) + bytes(body) + data[HEADER:]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("healthy") / "results.duckdb"
    store = DuckDbStore.open(path)
    store.save_run(values.RUN)
    store.close()
    return path.read_bytes()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (text_file, "not a DuckDB database"),
        (empty_file, "not a DuckDB database"),
        (sqlite_file, "not a DuckDB database"),
        (truncated, "damaged"),
        (halved, "damaged"),
        (flipped_bits, "damaged"),
        (newer_duckdb, "newer DuckDB"),
    ],
)
def test_bad_files_are_refused_untouched(
    path: Path, healthy: bytes, damage: Callable[[bytes], bytes], message: str
) -> None:
    data = damage(healthy)
    path.write_bytes(data)
    with pytest.raises(StoreError, match=message) as caught:
        DuckDbStore.open(path, wait_s=0)
    assert caught.value.info.where == str(path)
    assert caught.value.info.hint
    with pytest.raises(StoreError, match=message):
        client.query(path, "FROM schema_versions, runs", wait_s=0)
    assert path.read_bytes() == data
    assert list(path.parent.iterdir()) == [path]


def test_another_programs_database_is_refused(path: Path) -> None:
    with duckdb.connect(path) as database:
        database.execute("CREATE TABLE runs AS SELECT 42 AS id")
    with pytest.raises(StoreError, match="of another program"):
        DuckDbStore.open(path, wait_s=0)
    with duckdb.connect(path) as database:
        assert database.execute("FROM runs").fetchall() == [(42,)]


def test_a_log_without_its_file_is_refused(path: Path) -> None:
    log = path.with_name(path.name + ".wal")
    log.write_bytes(b"rows that were acknowledged")
    with pytest.raises(StoreError, match=r"its log results\.duckdb\.wal is here"):
        DuckDbStore.open(path, wait_s=0)
    assert log.read_bytes() == b"rows that were acknowledged"
    assert not path.exists()


def test_a_missing_folder_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="folder of the database does not exist") as caught:
        DuckDbStore.open(tmp_path / "runs" / "results.duckdb", wait_s=0)
    assert caught.value.info.hint == f"Make it: mkdir -p {tmp_path / 'runs'}"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="this is a folder"):
        DuckDbStore.open(tmp_path, wait_s=0)


def test_a_query_makes_no_database(path: Path) -> None:
    with pytest.raises(ConfigError, match="no such database"):
        client.query(path, "SELECT 1", wait_s=0)
    assert not path.exists()


def run_unprivileged(path: Path) -> None:
    """Open as a user who owns nothing here."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        DuckDbStore.open(path, wait_s=0).close()
    finally:
        if is_root:
            os.seteuid(0)


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """Return a folder that other users can reach."""
    folder = tmp_path
    while folder != folder.parent and folder.stat().st_uid == os.getuid():
        folder.chmod(folder.stat().st_mode | 0o055)
        folder = folder.parent
    return tmp_path


def test_a_read_only_file_is_refused(open_folder: Path, healthy: bytes) -> None:
    path = open_folder / "results.duckdb"
    path.write_bytes(healthy)
    path.chmod(0o444)
    open_folder.chmod(0o777)
    with pytest.raises(StoreError, match="no permission to write") as caught:
        run_unprivileged(path)
    assert "chmod u+w" in (caught.value.info.hint or "")
    assert path.read_bytes() == healthy


def test_a_read_only_folder_is_refused_before_anything_is_stored(
    open_folder: Path, healthy: bytes
) -> None:
    path = open_folder / "results.duckdb"
    path.write_bytes(healthy)
    path.chmod(0o666)
    open_folder.chmod(0o555)
    try:
        with pytest.raises(StoreError, match="no permission to write"):
            run_unprivileged(path)
        assert list(open_folder.iterdir()) == [path]
    finally:
        open_folder.chmod(0o755)


FILL = """
import resource, signal, sys
import attrs
from accelerate_core.errors import ConfigError, StoreError
from accelerate_duckdb.store import DuckDbStore
from values import RUN, measurement

path, limit = sys.argv[1], int(sys.argv[2])
store = DuckDbStore.open(path)
store.save_run(RUN)
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
count = 0
try:
    while count < 1000:
        large = attrs.evolve(measurement(count), provenance={"log": "x" * 100_000})
        store.save_measurement(large)
        count += 1
except StoreError as error:
    print(error, file=sys.stderr)
    assert len(store.summary("run-1").measurements) == count
    store.close()
    print(count)
"""
COUNT = """
import sys
from accelerate_duckdb.store import DuckDbStore

store = DuckDbStore.open(sys.argv[1])
print(len(store.summary("run-1").measurements))
store.close()
"""
ON_A_SMALL_DISK = """
set -e
mount -t tmpfs -o size=4m tmpfs "$FOLDER"
"$PYTHON" -W error -c "$FILL" "$FOLDER/results.duckdb" 0
mount -o remount,size=64m "$FOLDER"
"$PYTHON" -W error -c "$COUNT" "$FOLDER/results.duckdb"
"""
WITH_A_LIMIT = """
set -e
"$PYTHON" -W error -c "$FILL" "$FOLDER/results.duckdb" 4000000
"$PYTHON" -W error -c "$COUNT" "$FOLDER/results.duckdb"
"""


def test_a_full_disk_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    # A real full disk where this user may mount one for itself. Elsewhere a limit on the size
    # of files: there, too, the operating system refuses DuckDB's write.
    private = ["unshare", "--user", "--map-root-user", "--mount"]
    can_mount = shutil.which("unshare") and not subprocess.run([*private, "true"]).returncode
    command = [*private, "sh", "-c", ON_A_SMALL_DISK] if can_mount else ["sh", "-c", WITH_A_LIMIT]
    done = subprocess.run(
        command,
        env={
            **os.environ,
            "PYTHON": sys.executable,
            "PYTHONPATH": str(Path(__file__).parent),
            "FOLDER": str(tmp_path),
            "FILL": FILL,
            "COUNT": COUNT,
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "no room on the disk" in done.stderr
    stored, found = map(int, done.stdout.split())
    assert 0 < stored == found
