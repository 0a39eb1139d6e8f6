# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin `accelerate`: the fixture `context`. Imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from ..protocols import Context


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """Return what a plugin gets from the host, with folders of its own under `tmp_path`."""
    from ..host import Host

    root = tmp_path / "accelerate"
    return Host(cache_dir=root / "cache", state_dir=root / "state").context
