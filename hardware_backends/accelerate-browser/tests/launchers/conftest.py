# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the launcher tests: the real headless shell, freshly installed, once per session."""

from __future__ import annotations

from pathlib import Path

import pytest
from accelerate_browser import headless_shell
from accelerate_browser.hookspecs import LAUNCHERS

from accelerate_core.host import Host
from accelerate_core.protocols import Context


@pytest.fixture(scope="session")
def browser_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cache folder into which the headless shell was really installed just now."""
    cache = tmp_path_factory.mktemp("cache")
    headless_shell.install(cache, lambda line: None)
    return cache


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """Return a context of a host that knows the launchers."""
    host = Host(cache_dir=tmp_path / "cache", state_dir=tmp_path / "state")
    host.add_family(LAUNCHERS)
    return host.context
