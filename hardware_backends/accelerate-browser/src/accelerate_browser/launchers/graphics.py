# SPDX-License-Identifier: Apache-2.0
"""Look at what decides a browser's arguments: who we are, and which GPU is visible."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class SystemFacts:
    """Hold what the argument builders need to know about this system."""

    platform: str  #: as sys.platform
    is_root: bool
    has_render_node: bool  #: /dev/dri/renderD*
    has_nvidia_device: bool  #: /dev/nvidia0 and so on
    shared_memory_bytes: int | None = None  #: free in /dev/shm; None where there is none


def look() -> SystemFacts:
    """Return the facts of this system."""
    shared = Path("/dev/shm")
    return SystemFacts(
        platform="linux" if sys.platform.startswith("linux") else sys.platform,
        is_root=hasattr(os, "geteuid") and os.geteuid() == 0,
        has_render_node=any(Path("/dev/dri").glob("renderD*")),
        has_nvidia_device=any(Path("/dev").glob("nvidia[0-9]*")),
        shared_memory_bytes=shutil.disk_usage(shared).free if shared.is_dir() else None,
    )


def use_software(setting: bool | str, facts: SystemFacts) -> bool:
    """Decide whether WebGPU runs in software: as set, else only where no GPU is visible."""
    if isinstance(setting, bool):
        return setting
    return facts.platform == "linux" and not (facts.has_render_node or facts.has_nvidia_device)


def use_sandbox(setting: bool | str, facts: SystemFacts) -> bool:
    """Decide whether the browser keeps its sandbox: as set, else wherever we are not root."""
    return setting if isinstance(setting, bool) else not facts.is_root
