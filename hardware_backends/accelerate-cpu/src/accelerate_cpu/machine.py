# SPDX-License-Identifier: Apache-2.0
"""What this machine and this process are: cores, name of the processor, memory held."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def usable_cores() -> int:
    """Return how many physical cores this process may use; at least 1."""
    import psutil

    allowed = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(1, min(psutil.cpu_count(logical=False) or allowed, allowed))


def processor_name() -> str | None:
    """Return the processor's marketing name, or None where the system does not tell."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    except OSError:
        pass
    return platform.processor() or None


def process_memory_bytes() -> int | None:
    """Return the PSS of this process in bytes, or None where the system does not tell."""
    try:
        for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
            key, _, value = line.partition(":")
            if key == "Pss":
                return int(value.split()[0]) * 1024
    except OSError:
        pass
    return None
