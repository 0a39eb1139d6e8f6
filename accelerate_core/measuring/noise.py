# SPDX-License-Identifier: Apache-2.0
"""What else the machine does while something is measured: other processes, its host, its heat."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

import attrs
import psutil

from ..sampled import Noise

#: In less time than this, the system's clocks, which tick every 10 ms, say nothing.
_SHORTEST_S = 0.2
_IDLE = ("idle", "iowait", "steal")
#: Counted in `user` and `nice` already.
_TWICE = ("guest", "guest_nice")


@attrs.frozen(kw_only=True)
class Moment:
    """Hold the machine's counters at one moment; those it does not have are None."""

    at_s: float
    busy_s: float  #: of all cores, by anybody
    own_s: float  #: of all cores, by this process and those it started
    stolen_s: float | None
    throttled_s: float | None
    slowed_count: int | None


def moment() -> Moment:
    """Read the counters; takes some milliseconds, for all processes are looked at."""
    machine = psutil.cpu_times()._asdict()
    return Moment(
        at_s=time.perf_counter(),
        busy_s=sum(
            value for name, value in machine.items() if name not in _IDLE and name not in _TWICE
        ),
        own_s=sum(_used(one) for one in _tree()),
        stolen_s=machine.get("steal"),
        throttled_s=_throttled_s(),
        slowed_count=_slowed_count(),
    )


def between(before: Moment, after: Moment, cores: int | None = None) -> Noise:
    """Return what happened between two moments; nothing is known of a very short time."""
    cores = cores or os.cpu_count() or 1
    passed = after.at_s - before.at_s
    if passed < _SHORTEST_S:
        return Noise(cores=cores)
    own = max(0.0, after.own_s - before.own_s)
    other = max(0.0, after.busy_s - before.busy_s - own) / passed
    stolen = _difference(before.stolen_s, after.stolen_s)
    slowed = _difference(before.slowed_count, after.slowed_count)
    return Noise(
        cores=cores,
        other_cores=min(float(cores), other),
        stolen_cores=None if stolen is None else stolen / passed,
        throttled_s=_difference(before.throttled_s, after.throttled_s),
        slowed_count=None if slowed is None else int(slowed),
    )


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else max(0.0, after - before)


def _tree() -> Iterable[psutil.Process]:
    own = psutil.Process()
    return (own, *own.children(recursive=True))


def _used(process: psutil.Process) -> float:
    """Return the time a process took, with that of children that ended (Linux, macOS)."""
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    ended = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return float(times.user + times.system + ended)


def _throttled_s() -> float | None:
    """Return how long this process's cgroup was held back (cgroup v2, cpu.stat)."""
    try:
        group = Path("/proc/self/cgroup").read_text().strip().rpartition("::")[2]
        lines = Path(f"/sys/fs/cgroup{group}/cpu.stat").read_text().splitlines()
        return int(dict(line.split() for line in lines)["throttled_usec"]) / 1e6
    except (OSError, KeyError, ValueError):
        return None


def _slowed_count() -> int | None:
    """Return how often cores were slowed because they were hot (Intel on Linux)."""
    folder = Path("/sys/devices/system/cpu")
    try:
        counts = [
            int(one.read_text())
            for one in folder.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")
        ]
    except (OSError, ValueError):
        return None
    return sum(counts) if counts else None
