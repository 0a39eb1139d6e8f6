# SPDX-License-Identifier: Apache-2.0
"""What the structure tests look at: the tracked files and the distributions of this repository."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path
from typing import Any

import attrs
import pytest

ROOT = Path(__file__).parents[2]


@attrs.frozen
class Distribution:
    """Describe one distribution by its folder and its pyproject.toml."""

    folder: Path
    pyproject: dict[str, Any]

    @property
    def name(self) -> str:
        name: str = self.pyproject["project"]["name"]
        return name

    @property
    def package(self) -> str:
        return self.name.replace("-", "_")

    @property
    def source(self) -> Path:
        """The folder of its import package."""
        return ROOT / self.package if self.folder == ROOT else self.folder / "src" / self.package

    @property
    def entry_points(self) -> list[tuple[str, str, str]]:
        """Its plugins: group, name, value."""
        return [
            (group, name, value)
            for group, entries in self.pyproject["project"].get("entry-points", {}).items()
            if group.startswith("accelerate_")
            for name, value in entries.items()
        ]


def read(folder: Path) -> Distribution:
    return Distribution(folder, tomllib.loads((folder / "pyproject.toml").read_text()))


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def tracked() -> list[Path]:
    """Return every tracked file that is there."""
    done = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = [name for name in done.stdout.split("\0") if name]
    assert len(names) > 100
    return [ROOT / name for name in names if (ROOT / name).is_file()]


@pytest.fixture(scope="session")
def core() -> Distribution:
    return read(ROOT)


@pytest.fixture(scope="session")
def plugins(tracked: list[Path]) -> list[Distribution]:
    """Return the distributions of the workspace, the core left out."""
    found = [
        read(path.parent)
        for path in tracked
        if path.name == "pyproject.toml" and len(path.relative_to(ROOT).parts) == 3
    ]
    assert len(found) >= 9
    return found


@pytest.fixture(scope="session")
def distributions(core: Distribution, plugins: list[Distribution]) -> list[Distribution]:
    return [core, *plugins]
