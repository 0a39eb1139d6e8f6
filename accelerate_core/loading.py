# SPDX-License-Identifier: Apache-2.0
"""Find plugins by entry point, and load the ones that are named.

Finding reads installed metadata and imports nothing. Loading goes through stevedore; this is the
only module that knows it.
"""

from __future__ import annotations

import importlib.metadata as metadata
import re
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from .errors import PluginError


@attrs.frozen
class Found:
    """Describe an entry point without importing it."""

    name: str
    group: str
    value: str  #: "package.module:Class"
    distribution: str
    version: str
    summary: str = ""
    entry_point: metadata.EntryPoint | None = attrs.field(default=None, eq=False, repr=False)


@attrs.frozen
class Problem:
    """Describe a plugin that is there and cannot be used."""

    group: str
    name: str
    error: PluginError


def find(group: str) -> Mapping[str, tuple[Found, ...]]:
    """Return what is installed in a group, by name. More than one claimant means a conflict."""
    found: dict[str, dict[str, Found]] = {}
    for entry in metadata.entry_points(group=group):
        dist = entry.dist
        # An installation in progress, or a broken one, has entry points and no name yet.
        owner = re.sub(r"[-_.]+", "-", (dist and dist.name) or "unknown").lower()
        # An editable install can be listed twice; the same distribution is no conflict.
        found.setdefault(entry.name, {})[owner] = Found(
            entry.name,
            group,
            entry.value,
            owner,
            (dist.version or "") if dist else "",
            (dist.metadata["Summary"] or "") if dist else "",
            entry,
        )
    return {name: tuple(found[name].values()) for name in sorted(found)}


def conflict(claims: Iterable[Found]) -> PluginError | None:
    """Return the error for a name claimed by two distributions, or None."""
    claims = tuple(claims)
    if len(claims) < 2:
        return None
    owners = " and ".join(sorted(f"{claim.distribution} {claim.version}" for claim in claims))
    return PluginError(
        f"the name {claims[0].name!r} is claimed by {owners}",
        where=claims[0].group,
        hint="Uninstall one of them, or ask its author to choose another name.",
    )


def load(found: Found) -> Any:
    """Import and return what an entry point names; PluginError with the reason otherwise."""
    # stevedore is imported late: `accel --help` and listing never need it.
    from stevedore.named import NamedExtensionManager

    class Manager(NamedExtensionManager[Any]):
        def list_entry_points(self) -> list[metadata.EntryPoint]:
            # stevedore's own listing goes through a disk cache that rounds modification times
            # to minutes, so a plugin installed a moment ago would be missing.
            return [found.entry_point] if found.entry_point else []

    failures: list[BaseException] = []
    manager = Manager(
        found.group,
        names=[found.name],
        on_load_failure_callback=lambda _manager, _entry, error: failures.append(error),
        on_missing_entrypoints_callback=None,
    )
    if failures:
        error = failures[0]
        raise PluginError(
            f"plugin {found.name!r} cannot be imported: {type(error).__name__}: {error}",
            where=f"{found.group} -> {found.value} ({found.distribution} {found.version})",
            hint=f"Reinstall it: pip install --force-reinstall {found.distribution}",
        ) from error
    return manager[found.name].plugin
