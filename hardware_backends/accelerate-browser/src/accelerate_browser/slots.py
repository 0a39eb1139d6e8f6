# SPDX-License-Identifier: Apache-2.0
"""Slots: persistent browser profiles and the port that goes with them, one host at a time.

Caches in a page belong to an origin, and the port is part of it. A slot remembers its port, so
the next run finds what the last one cached. A slot is a folder:

    slots/<n>/lock              held by the host process that uses the slot
    slots/<n>/slot.json         {"port": 20817}
    slots/<n>/profiles/<browser>/
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import threading
from pathlib import Path
from typing import Any

import attrs
import filelock

from accelerate_core.errors import BackendUnavailable

from . import processes

HOST = "127.0.0.1"
MOST_SLOTS = 1000

# Below the range that systems hand to outgoing connections, above what browsers refuse to open.
_PORTS = range(20000, 30000)
_TRIES = 50
# What a crashed browser leaves in its profile to keep a second one out.
_PROFILE_LOCKS = (
    "SingletonLock", "SingletonCookie", "SingletonSocket", "lockfile",
    "lock", ".parentlock", "parent.lock",
)  # fmt: skip


@attrs.define(eq=False)
class Slot:
    """One slot held by this process. The bridge that serves it is shared by its leases."""

    slot_id: int
    folder: Path
    port: int
    socket: socket.socket  #: listens on 127.0.0.1:port until the pool is closed
    bridge: Any = None  #: for whoever serves the slot: one server for all its leases
    browsers: set[str] = attrs.field(factory=set)  #: leased now
    _lock: filelock.BaseFileLock | None = None

    @property
    def origin(self) -> str:
        """The origin that pages of this slot have."""
        return f"http://{HOST}:{self.port}"

    def _let_go(self) -> None:
        self.socket.close()
        if self._lock:
            self._lock.release()


@attrs.define(eq=False)
class SlotLease:
    """The use of one browser's profile in a slot. Release it when the browser has ended."""

    slot: Slot
    browser: str
    _pool: SlotPool

    @property
    def slot_id(self) -> int:
        """Number of the slot."""
        return self.slot.slot_id

    @property
    def port(self) -> int:
        """The slot's remembered port."""
        return self.slot.port

    @property
    def profile(self) -> Path:
        """Persistent profile folder of this browser."""
        return self.slot.folder / "profiles" / self.browser

    def socket(self) -> socket.socket:
        """Return the slot's listening socket; the pool closes it, nobody else."""
        return self.slot.socket

    def release(self) -> None:
        """Give the profile back; the slot itself stays with the pool. Safe to call twice."""
        self._pool._release(self)


class SlotPool:
    """Hands out slots of one state folder to this process. Thread-safe; blocks on disk only.

    A slot once taken is kept until `close`: its bridge goes on and its origin stays warm.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._guard = threading.Lock()
        self._slots: list[Slot] = []
        self._has_reaped = False
        self._is_closed = False

    def acquire(self, browser: str) -> SlotLease:
        """Lease a browser's profile: in a slot already held, else in the next free one.

        A slot whose port is taken by a stranger is passed over, for another port would be another
        origin. BackendUnavailable when the state folder cannot be written, or after `close`.
        """
        with self._guard:
            if self._is_closed:  # a start that was cancelled comes late: nobody would give it back
                raise BackendUnavailable("the slots were given back", where=str(self._state_dir))
            if not self._has_reaped:
                processes.reap_orphans(self._state_dir)
                self._has_reaped = True
            slot = next((slot for slot in self._slots if browser not in slot.browsers), None)
            try:
                if slot is None:
                    slot = self._take()
                lease = SlotLease(slot=slot, browser=browser, pool=self)
                _unlock_profile(lease.profile)
            except OSError as error:
                raise BackendUnavailable(
                    f"no slot could be taken: {error.strerror or error}",
                    where=str(error.filename or self._state_dir),
                    hint="Free disk space, or make the folder writable.",
                ) from error
            slot.browsers.add(browser)
            return lease

    def close(self) -> None:
        """Close the sockets and give every slot back. Close the bridges before."""
        with self._guard:
            self._is_closed = True
            for slot in self._slots:
                slot._let_go()
            self._slots.clear()

    def _release(self, lease: SlotLease) -> None:
        with self._guard:
            lease.slot.browsers.discard(lease.browser)

    def _take(self) -> Slot:
        for number in range(MOST_SLOTS):
            folder = self._state_dir / "slots" / str(number)
            folder.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(folder / "lock", thread_local=False)
            try:
                lock.acquire(timeout=0)
            except filelock.Timeout:
                continue
            try:
                if bound := _bind(folder):
                    slot = Slot(
                        slot_id=number, folder=folder, port=bound.getsockname()[1],
                        socket=bound, lock=lock,
                    )  # fmt: skip
                    self._slots.append(slot)
                    return slot
            except BaseException:
                lock.release()
                raise
            lock.release()
        raise BackendUnavailable(
            f"all {MOST_SLOTS} slots are in use",
            where=str(self._state_dir),
            hint="Close other runs, or delete the folder `slots` when none runs.",
        )


def _bind(folder: Path) -> socket.socket | None:
    """Bind the port that a slot remembers, or choose one and remember it; None when it is busy."""
    remembered = _remembered(folder / "slot.json")
    if remembered is not None:
        return listen(remembered)
    for port in random.sample(_PORTS, _TRIES):
        if bound := listen(port):
            try:
                _write(folder / "slot.json", json.dumps({"port": port}))
            except BaseException:
                bound.close()
                raise
            return bound
    return None


def _remembered(path: Path) -> int | None:
    try:
        port = json.loads(path.read_text())["port"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return port if isinstance(port, int) and port in _PORTS else None


def _write(path: Path, text: str) -> None:
    temporary = path.with_suffix(".part")
    try:
        temporary.write_text(text)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def listen(port: int) -> socket.socket | None:
    """Return a socket listening on 127.0.0.1 at `port`, or None when the port is busy."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            # The last run's connections may still linger. On Windows this would steal a port.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, port))
        bound.listen(128)
        bound.setblocking(False)
    except OSError:
        bound.close()
        return None
    return bound


def _unlock_profile(profile: Path) -> None:
    """Remove what a crashed browser left to keep others out; we hold the slot, so none uses it."""
    profile.mkdir(parents=True, exist_ok=True)
    if processes.profile_is_used(profile):
        raise BackendUnavailable(
            "a browser of ours still runs on this profile",
            where=str(profile),
            hint="It belongs to another run of the same user; end that run.",
        )
    for name in _PROFILE_LOCKS:
        with contextlib.suppress(IsADirectoryError, PermissionError):
            (profile / name).unlink(missing_ok=True)
