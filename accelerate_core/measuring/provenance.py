# SPDX-License-Identifier: Apache-2.0
"""Where a measurement comes from: machine, software, commit. Unknown is None."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from .. import __version__
from ..types import RunInfo


@cache
def machine() -> dict[str, Any]:
    """Return what this host is: system, processor, cores, memory in bytes, Python."""
    return {
        "system": platform.system(),
        "release": platform.release(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
    }


def of_run(run: RunInfo) -> dict[str, Any]:
    """Return what is the same for all measurements of a run: the version, and the CI job."""
    return {"accelerate_version": __version__, **({"ci": dict(run.ci)} if run.ci else {})}


def commit(folder: Path) -> str | None:
    """Return the commit checked out in a folder, with "+changes" where there are some."""
    try:
        head = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{head}+changes" if changed else head


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=5, check=True
    )
    return done.stdout.strip()


def _processor() -> str | None:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or None
