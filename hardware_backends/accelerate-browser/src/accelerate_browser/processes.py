# SPDX-License-Identifier: Apache-2.0
"""Find, measure and end the processes of a launch, and nobody else's.

Every process of a launch inherits `ACCELERATE_LAUNCH=<tag>`. The tag names the host process that
owns the launch, so that what a crashed host left behind is told from what a living one uses.
Process groups are not enough: crash handlers leave theirs.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio.subprocess import Process

    import psutil

TAG_VARIABLE = "ACCELERATE_LAUNCH"
PROFILE_VARIABLE = "ACCELERATE_PROFILE"
#: In a launch's folder: the session id of its first process.
SESSION_FILE = "session"

_TAG = re.compile(r"(?P<pid>[0-9a-f]+)-(?P<start>[0-9a-f]+)-(?P<namespace>[0-9a-f]+)-[0-9a-f]{6}")
# A Unix socket's path has 104 to 108 bytes; Chromium makes
# `<TMPDIR>/org.chromium.Chromium.XXXXXX/SingletonSocket`.
_LONGEST_FOLDER = 54
_LOOK_AGAIN_S = 0.05
# proc_pid_stat(5): of the fields after the name, the flags; PF_EXITING of linux/sched.h.
_FLAGS, _EXITING = 6, 0x4


def new_tag() -> str:
    """Return a fresh tag: pid, start time and pid namespace of this process, and randomness."""
    pid = os.getpid()
    return f"{pid:x}-{_start_time(pid) or 0:x}-{_namespace():x}-{secrets.token_hex(3)}"


def owner_is_alive(tag: str) -> bool:
    """Whether the host process that made `tag` may still run; a reused pid is not taken for it."""
    match = _TAG.fullmatch(tag)
    if not match or int(match["namespace"], 16) != _namespace():
        return True  # not a tag of ours, or of a container, whose pids mean nothing here
    started = _start_time(int(match["pid"], 16))
    # The start time is computed from a clock that may be adjusted by a second.
    return started is not None and abs(started - int(match["start"], 16)) <= 2


def _start_time(pid: int) -> int | None:
    """Return when a running process began, in seconds since the epoch."""
    import psutil

    try:
        process = psutil.Process(pid)
        return int(process.create_time()) if is_running(process) else None
    except psutil.Error:
        return None


def _namespace() -> int:
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return 0


def _tagged() -> Iterator[tuple[str, str | None, psutil.Process]]:
    """Yield tag, profile and process of everything that any host of this user started."""
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if hasattr(os, "getuid") and process.uids().real != os.getuid():
                continue
            environment = process.environ()
            if (tag := environment.get(TAG_VARIABLE)) and process.pid != os.getpid():
                yield tag, environment.get(PROFILE_VARIABLE), process


def is_running(process: psutil.Process) -> bool:
    """Whether a process runs; one that only waits to be reaped by its parent does not."""
    import psutil

    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def pid_is_running(pid: int) -> bool:
    """Whether a process of that number runs."""
    import psutil

    try:
        return is_running(psutil.Process(pid))
    except psutil.Error:
        return False


def is_ending(pid: int) -> bool:
    """Whether the process of that number has ended or is about to.

    The system closes its sockets before it is seen to be gone, on a busy machine long before.
    Linux tells of that time, too.
    """
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        if int(fields[_FLAGS]) & _EXITING:
            return True
    return not pid_is_running(pid)


def first_child(pid: int) -> int | None:
    """Return the pid of a process's first running child, or None."""
    import psutil

    try:
        children = psutil.Process(pid).children()
    except psutil.Error:
        return None
    return next((child.pid for child in children if is_running(child)), None)


def page_process(pid: int) -> psutil.Process | None:
    """Return the process a browser's page lives in: its largest renderer. None where unknown.

    Browsers keep spare renderers; the one with an engine in it is larger than those.
    """
    import psutil

    found: list[tuple[int, psutil.Process]] = []
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error, OSError):
                if _is_renderer(child.cmdline()):
                    found.append((child.memory_info().rss, child))
    return max(found, key=lambda one: one[0])[1] if found else None


def _is_renderer(command: list[str]) -> bool:
    if "-contentproc" in command:  # Firefox; the last word is the kind
        return command[-1] == "tab"
    return "--type=renderer" in command or command[:1] == ["WebKitWebProcess"]


def members(tag: str, session: int | None = None) -> list[psutil.Process]:
    """Return the running processes of a launch, parents before children."""
    return members_of({tag: session})


def members_of(launches: Mapping[str, int | None]) -> list[psutil.Process]:
    """Return the running processes of launches, given by tag with the session each began with.

    Chromium's children overwrite their environment with their title, and sandboxed ones hide it:
    descendants count too, and whatever is in the session. One look, however many launches.
    """
    import psutil

    found = {process.pid: process for tag, _, process in _tagged() if tag in launches}
    sessions = {session for session in launches.values() if session is not None}
    for process in [*found.values(), *_in_sessions(sessions, found)]:
        found[process.pid] = process
        with contextlib.suppress(psutil.Error):
            found.update((child.pid, child) for child in process.children(recursive=True))
    found.pop(os.getpid(), None)
    return sorted(filter(is_running, found.values()), key=lambda process: process.pid)


def _in_sessions(sessions: Collection[int], known: Collection[int]) -> Iterator[psutil.Process]:
    """Yield the processes of sessions whose numbers have not come to belong to somebody else."""
    import psutil

    ours = set(sessions)
    for session in sessions:
        with contextlib.suppress(psutil.NoSuchProcess):
            if session not in known and is_running(psutil.Process(session)):
                ours.discard(session)
    for pid in psutil.pids() if ours and hasattr(os, "getsid") else ():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(pid) in ours:
                yield psutil.Process(pid)


def end(child: Process, *, kill: bool = False) -> None:
    """Ask a child that was not waited for yet to end, or `kill` it.

    asyncio's own methods look first whether it has ended, which takes its exit status away from
    the watcher that waits for it.
    """
    number = signal.SIGKILL if kill and os.name == "posix" else signal.SIGTERM
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(child.pid, number)


def kill(tag: str, session: int | None = None) -> int:
    """Kill every process of a launch and wait until none runs; return how many there were."""
    import psutil

    killed: set[int] = set()
    deadline = time.monotonic() + 10
    while (running := members(tag, session)) and time.monotonic() < deadline:
        for process in running:
            killed.add(process.pid)
            with contextlib.suppress(psutil.Error):
                process.kill()
        while any(map(is_running, running)) and time.monotonic() < deadline:
            time.sleep(_LOOK_AGAIN_S)
    return len(killed)


def wait_ended(tag: str, session: int | None, timeout_s: float) -> bool:
    """Wait until no process of a launch runs; False when some still does after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while members(tag, session):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_AGAIN_S)
    return True


def memory(tag: str, session: int | None = None) -> int | None:
    """Return the PSS of a launch in bytes; None where the system does not tell for all of it."""
    import psutil

    total = 0
    running = members(tag, session)
    for process in running:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        except (psutil.Error, AttributeError, OSError):
            return None
    return total or None


def profile_is_used(profile: Path) -> bool:
    """Whether a process of ours runs on this profile folder."""
    wanted = str(profile)
    return any(used == wanted and is_running(process) for _, used, process in _tagged())


# --- folders ----------------------------------------------------------------------------------


def make_folder(state_dir: Path, tag: str) -> Path:
    """Make the private folder of a launch; its name is the tag, so that it can be reaped."""
    folder = state_dir / "launches" / tag
    if len(str(folder)) > _LONGEST_FOLDER and os.name == "posix":
        folder = _short_root() / f"accelerate-{tag}"
    folder.mkdir(mode=0o700, parents=True)
    (folder / "tmp").mkdir(mode=0o700)
    return folder


def _short_root() -> Path:
    return Path("/tmp") if os.name == "posix" else Path(tempfile.gettempdir())


def remove_folder(folder: Path) -> None:
    """Remove a launch's folder, and the X display that it names."""
    with contextlib.suppress(OSError, ValueError):
        _remove_display(int((folder / "display").read_text()))
    for _ in range(5):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)  # Windows: a file may be held for a moment after its process ended


def _remove_display(number: int) -> None:
    """Remove the socket that a killed X server left, unless a living one listens on it."""
    path = Path(f"/tmp/.X11-unix/X{number}")
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)


def _folders(state_dir: Path) -> Iterable[tuple[str, Path]]:
    for place, prefix in ((state_dir / "launches", ""), (_short_root(), "accelerate-")):
        for folder in place.glob(f"{prefix}*-*-*-*") if place.is_dir() else ():
            tag = folder.name.removeprefix(prefix)
            with contextlib.suppress(OSError):
                mine = not hasattr(os, "getuid") or folder.lstat().st_uid == os.getuid()
                if mine and _TAG.fullmatch(tag) and folder.is_dir() and not folder.is_symlink():
                    yield tag, folder


def reap_orphans(state_dir: Path) -> int:
    """End what crashed hosts left: their browsers and temporary folders.

    Launches whose host still runs, and browsers of other people, are not touched. Returns how
    many processes were killed.
    """
    folders = {tag: folder for tag, folder in _folders(state_dir) if not owner_is_alive(tag)}
    tags = {tag for tag, _, _ in _tagged() if not owner_is_alive(tag)} | folders.keys()
    killed = sum(kill(tag, _session(folders.get(tag))) for tag in tags)
    for folder in folders.values():
        remove_folder(folder)
    return killed


def _session(folder: Path | None) -> int | None:
    try:
        return int((folder / SESSION_FILE).read_text()) if folder else None
    except (OSError, ValueError):
        return None
