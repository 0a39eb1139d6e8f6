# SPDX-License-Identifier: Apache-2.0
"""The headless shell for tests: installed once into the cache folder, then found there."""

from __future__ import annotations

from pathlib import Path

from accelerate_core.host import Host

from .. import headless_shell


def ensure_headless_shell() -> Path:
    """Return the headless shell's binary, installing it when it is not in the cache folder.

    A test points `ACCELERATE_CHROMIUM_HEADLESS_SHELL` at it, so that hosts with other cache
    folders find it.
    """
    return headless_shell.install(Host().context.cache_dir, lambda line: None)
