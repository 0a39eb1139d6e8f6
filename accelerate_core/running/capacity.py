# SPDX-License-Identifier: Apache-2.0
"""What is left to this process: memory of the machine and of the cgroups it is in, and cores."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

# Version 1 says "no limit" with a number near 2^63.
_NO_LIMIT = 1 << 60


def free_memory(root: Path = Path("/")) -> int:
    """Return the bytes that may still be taken: the least of machine and cgroup limits.

    Pages of files that were not used lately count as free, as the kernel gives them up first.
    `root` is where `proc` and `sys` are found.
    """
    import psutil

    machine: int = psutil.virtual_memory().available
    return max(0, min([machine, *_rooms(root)]))


class Cores:
    """Tell how busy the machine's cores are, whoever uses them."""

    def __init__(self) -> None:
        self._before = _times()

    def busy(self) -> float:
        """Return which part of all cores' time was used since this was asked before: 0 to 1."""
        before, self._before = self._before, _times()
        total = self._before[0] - before[0]
        return max(0.0, 1 - (self._before[1] - before[1]) / total) if total > 0 else 0.0


def _times() -> tuple[float, float]:
    """Return all cores' time since the machine was started, and what of it they idled; seconds."""
    import psutil

    times = psutil.cpu_times()._asdict()
    guests = times.get("guest", 0.0) + times.get("guest_nice", 0.0)  # in user and nice already
    return sum(times.values()) - guests, times["idle"] + times.get("iowait", 0.0)


def _rooms(root: Path) -> Iterator[int]:
    """Yield what is left in each cgroup with a limit, from this process's own upwards."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return  # no Linux
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            place, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            place = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # In a container the path may be the host's, and only the top is to be seen.
        parts = Path(path.lstrip("/")).parts
        for depth in range(len(parts), -1, -1):
            room = _room(place.joinpath(*parts[:depth]), *names)
            if room is not None:
                yield room


def _room(folder: Path, limit_name: str, current_name: str, inactive_name: str) -> int | None:
    with contextlib.suppress(OSError, ValueError):  # no such cgroup, or "max": no limit
        limit = int((folder / limit_name).read_text())
        if limit < _NO_LIMIT:
            current = int((folder / current_name).read_text())
            return limit - (current - _stat(folder / "memory.stat", inactive_name))
    return None


def _stat(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0
