# SPDX-License-Identifier: Apache-2.0
"""What every plugin is handed, and how it looks at the machine."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import attrs

if TYPE_CHECKING:
    from ..assets import AssetStore
    from ..hookspecs import Family


class Plugins(Protocol):
    """Give a plugin the plugins of families it owns or uses."""

    def add_family(self, family: Family) -> None:
        """Learn a family of hooks that a distribution opens; twice is no error."""

    def names(self, family: str) -> Sequence[str]:
        """Return the installed plugin names of a family; imports nothing."""

    def takes(self, family: str, name: str, field: str, *, where: str = "") -> bool:
        """Whether a plugin's settings have a field of that name; raises as `create` does."""

    def create(
        self, family: str, name: str, settings: Mapping[str, Any] | None = None, *, where: str = ""
    ) -> Any:
        """Create a plugin's object; ConfigError or PluginError when that cannot be."""


@attrs.frozen(kw_only=True)
class Context:
    """What every plugin gets: folders, assets, a logger, and other plugins."""

    assets: AssetStore
    cache_dir: Path  #: may be deleted at any time without loss
    state_dir: Path  #: outlives runs: slots, profiles
    plugins: Plugins
    log: logging.Logger = attrs.field(factory=lambda: logging.getLogger("accelerate"))


@attrs.frozen(kw_only=True)
class DoctorFinding:
    """Report one thing `accel doctor` looked at."""

    name: str
    is_ok: bool
    detail: str = ""
    remedy: str | None = None  #: command that mends it
    can_fix: bool = False


class DoctorCheck(Protocol):
    """Look at one thing, and mend it when asked."""

    def run(self, *, fix: bool = False) -> Sequence[DoctorFinding]:
        """Look, and with `fix` mend what `can_fix` says can be mended."""
        ...
