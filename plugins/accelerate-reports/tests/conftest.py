# SPDX-License-Identifier: Apache-2.0
"""What the tests share: a context, one plot library for all, one Chromium for all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from accelerate_core.assets import AssetStore
from accelerate_core.protocols import Context

from .chromium import Chromium


class NoPlugins:
    """Stand for a host without other plugins: reports ask for none."""

    def names(self, family: str) -> list[str]:
        return []

    def create(self, family: str, name: str, settings: object = None, *, where: str = "") -> None:
        raise AssertionError("a report asked for another plugin")


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def ctx(cache_dir: Path, tmp_path: Path) -> Context:
    return Context(
        assets=AssetStore(tmp_path / "assets"),
        cache_dir=cache_dir,
        state_dir=tmp_path / "state",
        plugins=NoPlugins(),
    )


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser
