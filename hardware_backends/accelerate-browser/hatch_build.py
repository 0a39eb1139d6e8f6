# SPDX-License-Identifier: Apache-2.0
"""Refuse to build a wheel or sdist without the page assets it is for.

The distributions that carry page assets have this same file: a build hook must lie beside the
pyproject.toml that names it, in the sdist too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class NeedsPageAssets(BuildHookInterface):  # type: ignore[type-arg]
    """Look for the files that pyproject.toml lists; an editable install needs none."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Stop the build, naming what is missing and the command that makes it."""
        if version == "editable":
            return
        folder = Path(self.root) / self.config["folder"]
        if missing := [name for name in self.config["needs"] if not (folder / name).is_file()]:
            self.app.abort(
                f"{self.metadata.name}: {self.config['folder']} has no {', '.join(missing)}. "
                "Build the page first, in a checkout of the repository: make page"
            )
