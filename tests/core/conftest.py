# SPDX-License-Identifier: Apache-2.0
"""Distributions made on the spot, real to whoever looks for plugins; and work for the fake."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from accelerate_core.protocols import Context
from accelerate_core.running.work import Work
from accelerate_core.testing.models import tiny_matmul
from accelerate_core.types import Target

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that installs a distribution with one module and its entry points."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))

    def install(distribution: str, group: str, entries: dict[str, str], source: str) -> None:
        module = distribution.replace("-", "_")
        (site / f"{module}.py").write_text(source)
        info = site / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\nSummary: A test.\n"
        )
        lines = [f"[{group}]", *(f"{name} = {module}:{item}" for name, item in entries.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        importlib.invalidate_caches()
        monkeypatch.delitem(sys.modules, module, raising=False)

    return install


@pytest.fixture
def work(context: Context) -> Work:
    """Return a tiny model for the fake backend."""
    return Work(spec=tiny_matmul(context.assets), targets=(Target("fake"),))


@pytest.fixture
def inputs(work: Work) -> dict[str, np.ndarray]:
    """Return inputs of that model."""
    return {
        one.name: np.ones([size if isinstance(size, int) else 1 for size in one.shape], one.dtype)
        for one in work.spec.inputs
    }
