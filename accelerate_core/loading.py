# SPDX-License-Identifier: Apache-2.0
"""Find plugins by entry point, and load the ones that are named.

Finding reads installed metadata and imports nothing. Loading goes through stevedore; this is the
only module that knows it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata as metadata
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextvars import ContextVar
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


class Listing:
    """Know what is installed, as it was when first asked.

    A file per distribution is read for that: for each group anew it was most of the start of a run.
    """

    def __init__(self) -> None:
        self._found: dict[str, Mapping[str, tuple[Found, ...]]] = {}

    @functools.cached_property
    def _entries(self) -> Any:
        return metadata.entry_points()

    @property
    def groups(self) -> Collection[str]:
        """The names of all groups, whomever they belong to."""
        groups: Collection[str] = self._entries.groups
        return groups

    def find(self, group: str) -> Mapping[str, tuple[Found, ...]]:
        """Return what is installed in a group, by name. More than one claimant means a conflict."""
        if group not in self._found:
            self._found[group] = _claims(self._entries.select(group=group))
        return self._found[group]


_ours: ContextVar[Listing | None] = ContextVar("listing", default=None)


def listing() -> Listing:
    """Return what is installed now; within `listed_once` what was installed at its first look."""
    return _ours.get() or Listing()


@contextlib.contextmanager
def listed_once() -> Iterator[None]:
    """Have all who look within the block look together, as a command does, which ends soon."""
    token = _ours.set(Listing())
    try:
        yield
    finally:
        _ours.reset(token)


def find(group: str) -> Mapping[str, tuple[Found, ...]]:
    """Return what is installed in one group; see `listing` and `Listing.find`."""
    return listing().find(group)


def _claims(entries: Iterable[metadata.EntryPoint]) -> Mapping[str, tuple[Found, ...]]:
    found: dict[str, dict[str, Found]] = {}
    for entry in entries:
        # Each look at `metadata` parses a file.
        about: Any = entry.dist.metadata if entry.dist else {}
        # An installation in progress, or a broken one, has entry points and no name yet.
        owner = re.sub(r"[-_.]+", "-", _said(about, "Name") or "unknown").lower()
        # An editable install can be listed twice; the same distribution is no conflict.
        found.setdefault(entry.name, {})[owner] = Found(
            entry.name,
            entry.group,
            entry.value,
            owner,
            _said(about, "Version"),
            _said(about, "Summary"),
            entry,
        )
    return {name: tuple(found[name].values()) for name in sorted(found)}


def _said(about: Any, key: str) -> str:
    try:
        return about[key] or ""
    except KeyError:  # of the backport of importlib.metadata, which others import
        return ""


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
