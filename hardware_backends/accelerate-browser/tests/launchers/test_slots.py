# SPDX-License-Identifier: Apache-2.0
"""Slots: one host at a time, one port for good."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from accelerate_browser import processes, slots
from accelerate_browser.slots import SlotPool

from accelerate_core.errors import BackendUnavailable


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[SlotPool]:
    pool = SlotPool(tmp_path)
    yield pool
    pool.close()


def test_browsers_share_a_slot_and_the_same_browser_gets_another(pool: SlotPool) -> None:
    chromium, firefox = pool.acquire("chromium"), pool.acquire("firefox")
    second = pool.acquire("chromium")
    assert chromium.slot is firefox.slot and chromium.profile != firefox.profile
    assert second.slot_id != chromium.slot_id and second.port != chromium.port
    chromium.release()
    chromium.release()
    assert pool.acquire("chromium").slot is chromium.slot
    assert chromium.profile.is_dir()


def test_the_socket_listens_on_loopback_at_the_remembered_port(tmp_path: Path) -> None:
    ports = []
    for _ in range(2):
        pool = SlotPool(tmp_path)
        lease = pool.acquire("chromium")
        with socket.create_connection(("127.0.0.1", lease.port), timeout=5) as client:
            accepted, _ = lease.socket().accept()
            accepted.close()
            assert client.recv(1) == b""
        ports.append(lease.port)
        assert lease.slot.origin == f"http://127.0.0.1:{lease.port}"
        pool.close()
        pool.close()
    assert ports[0] == ports[1]  # although the first connection still lingers


def test_a_busy_port_means_another_slot(tmp_path: Path) -> None:
    first = SlotPool(tmp_path)
    port = first.acquire("chromium").port
    first.close()
    stranger = slots.listen(port)
    assert stranger is not None
    second = SlotPool(tmp_path)
    with stranger:
        lease = second.acquire("chromium")
        assert lease.slot_id == 1 and lease.port != port
    second.close()
    third = SlotPool(tmp_path)
    assert third.acquire("chromium").port == port
    third.close()


_HOLDER = """
import sys
from pathlib import Path
from accelerate_browser.slots import SlotPool
lease = SlotPool(Path(sys.argv[1])).acquire("chromium")
print(lease.slot_id, flush=True)
sys.stdin.read()
"""


def test_another_process_gets_another_slot_until_the_first_is_gone(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout and holder.stdout.readline() == "0\n"
        pool = SlotPool(tmp_path)
        assert pool.acquire("chromium").slot_id == 1
        pool.close()
        holder.kill()
    pool = SlotPool(tmp_path)
    assert pool.acquire("chromium").slot_id == 0
    pool.close()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"port": "x"}', '{"port": 80}', '{"port": null}', "\0\xff"]
)
def test_a_corrupt_file_is_rebuilt(tmp_path: Path, text: str) -> None:
    path = tmp_path / "slots" / "0" / "slot.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode("latin-1"))
    pool = SlotPool(tmp_path)
    lease = pool.acquire("firefox")
    assert lease.slot_id == 0
    assert json.loads(path.read_text()) == {"port": lease.port}
    pool.close()
    assert [entry.name for entry in path.parent.glob("*.part")] == []


def test_what_a_crashed_browser_locked_is_unlocked_and_its_data_stays(tmp_path: Path) -> None:
    profile = tmp_path / "slots" / "0" / "profiles" / "chromium"
    profile.mkdir(parents=True)
    (profile / "SingletonLock").symlink_to("host-1234")  # points nowhere, as Chromium's does
    (profile / ".parentlock").touch()
    (profile / "Cookies").write_text("kept")
    pool = SlotPool(tmp_path)
    assert pool.acquire("chromium").profile == profile
    assert [entry.name for entry in profile.iterdir()] == ["Cookies"]
    pool.close()


def test_a_profile_in_use_is_not_unlocked(tmp_path: Path) -> None:
    profile = tmp_path / "slots" / "0" / "profiles" / "chromium"
    profile.mkdir(parents=True)
    (profile / "SingletonLock").touch()
    marked = {processes.TAG_VARIABLE: processes.new_tag(), processes.PROFILE_VARIABLE: str(profile)}
    pool = SlotPool(tmp_path)
    user = subprocess.Popen(["sleep", "60"], env={**os.environ, **marked})
    try:
        with pytest.raises(BackendUnavailable, match="still runs on this profile"):
            pool.acquire("chromium")
        assert (profile / "SingletonLock").exists()
    finally:
        user.kill()
        user.wait()
    assert pool.acquire("chromium").profile == profile
    pool.close()


def test_who_comes_after_the_end_takes_nothing(tmp_path: Path) -> None:
    late, other = SlotPool(tmp_path), SlotPool(tmp_path)
    late.close()
    with pytest.raises(BackendUnavailable, match="given back"):
        late.acquire("chromium")
    assert other.acquire("chromium").slot_id == 0
    other.close()


def test_a_state_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "slots").write_text("a file where a folder should be")
    pool = SlotPool(tmp_path)
    with pytest.raises(BackendUnavailable) as caught:
        pool.acquire("chromium")
    assert caught.value.info.where and "slots" in caught.value.info.where
    pool.close()
