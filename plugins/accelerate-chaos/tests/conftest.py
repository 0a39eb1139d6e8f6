# SPDX-License-Identifier: Apache-2.0
"""Real browsers: the headless shell starts fastest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from accelerate_browser.browsers import HEADLESS_SHELL, variable
from accelerate_browser.testing.shell import ensure_headless_shell

from accelerate_core.host import Host


@pytest.fixture(scope="module", autouse=True)
def headless_shell() -> Iterator[None]:
    """Let every host of a module here find the headless shell; other modules find their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(variable(HEADLESS_SHELL), str(ensure_headless_shell()))
        yield


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Return a host with folders of its own."""
    return Host(cache_dir=tmp_path / "cache", state_dir=tmp_path / "state")
