# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin `accelerate`: the fixture `context`. Imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from ..protocols import Context

# Kits are imported by test modules; their assertions shall show values, too.
pytest.register_assert_rewrite(
    *(
        f"accelerate_core.testing.{kit}"
        for kit in (
            "backend",
            "connector",
            "fleets",
            "model",
            "policies",
            "report",
            "sessions",
            "store",
        )
    )
)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """Return what a plugin gets from the host, with folders of its own under `tmp_path`."""
    return make_context(tmp_path / "accelerate")


def make_context(root: Path) -> Context:
    """Return a context of a new host that keeps everything under `root`."""
    from ..host import Host

    return Host(cache_dir=root / "cache", state_dir=root / "state").context
