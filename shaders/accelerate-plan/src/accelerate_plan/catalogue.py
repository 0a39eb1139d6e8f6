# SPDX-License-Identifier: Apache-2.0
"""Read kernels from the folders of all installed plugins. The only module that does."""

from __future__ import annotations

import functools
import logging
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from accelerate_core.errors import AccelerateError, PluginError
from accelerate_core.protocols import Plugins
from accelerate_core.settings import structure

from . import wgsl
from .hookspecs import KERNELS
from .kernels import Binding, Kernel, Variant
from .params import TYPES

_log = logging.getLogger("accelerate.plan")


@attrs.frozen(kw_only=True)
class _VariantTable:
    file: str = ""  # default: <name>.wgsl
    grid: tuple[str, str, str]
    when: str = "1"
    constants: Mapping[str, float] = attrs.field(factory=dict)
    tune: Mapping[str, tuple[float, ...]] = attrs.field(factory=dict)
    specialise: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    limits: Mapping[str, float] = attrs.field(factory=dict)
    suits: str = attrs.field(
        default="any", validator=attrs.validators.in_(("software", "hardware", "any"))
    )


@attrs.frozen(kw_only=True)
class _KernelTable:
    """What `kernel.toml` may hold."""

    operation: str
    summary: str = ""
    tolerance: float | None = None
    bindings: tuple[Binding, ...] = ()
    params: Mapping[str, str] = attrs.field(factory=dict)
    variants: Mapping[str, _VariantTable]


@attrs.frozen
class Catalogue:
    """All kernels by operation, and where each operation's files lie."""

    kernels: Mapping[str, Kernel]
    folders: Mapping[str, tuple[Path, ...]]  #: the defining folder first
    owners: Mapping[str, str]  #: the plugin that defines an operation

    def kernel(self, operation: str) -> Kernel:
        """Return an operation; PluginError when no plugin has it."""
        try:
            return self.kernels[operation]
        except KeyError:
            raise PluginError(
                f"no kernel does {operation!r}",
                accepted=tuple(sorted(self.kernels)),
                hint="Install kernels: pip install accelerate-shaders",
            ) from None


def load_catalogue(plugins: Plugins) -> Catalogue:
    """Return the kernels of every installed plugin; a broken plugin is logged and skipped.

    PluginError when two plugins define one operation: neither may win by its name.
    """
    plugins.add_family(KERNELS)
    folders: list[tuple[str, Path]] = []
    for name in plugins.names(KERNELS.name):
        try:
            folders += [(name, path) for path in plugins.create(KERNELS.name, name)]
        except AccelerateError as error:
            _log.warning("skipped kernels of %r: %s", name, error)
    while True:
        try:
            return _read_once(tuple(folders), _stamps(folders))
        except PluginError as error:
            broken = _owner(folders, error.info.where)
            if broken is None:
                raise
            _log.warning("skipped kernels of %r: %s", broken, error)
            folders = [one for one in folders if one[0] != broken]


@functools.lru_cache(maxsize=4)
def _read_once(
    folders: tuple[tuple[str, Path], ...], stamps: tuple[tuple[str, int, int], ...]
) -> Catalogue:
    """Read folders again only when a file of theirs changed: every compilation asks for them."""
    return read_folders(folders)


def _stamps(folders: Iterable[tuple[str, Path]]) -> tuple[tuple[str, int, int], ...]:
    files = [path for _, folder in folders for path in sorted(folder.glob("*/*"))]
    return tuple((str(path), (s := path.stat()).st_mtime_ns, s.st_size) for path in files)


def _owner(folders: Iterable[tuple[str, Path]], where: str | None) -> str | None:
    """Return the plugin whose file is to blame; None when it is no single file."""
    place = Path(where or "")
    if place.suffix not in (".toml", ".wgsl"):
        return None
    return next((name for name, folder in folders if place.is_relative_to(folder)), None)


def read_folders(folders: Iterable[tuple[str, Path]]) -> Catalogue:
    """Return the kernels in folders, given with their plugin's names.

    PluginError names the file and what is wrong with it.
    """
    tables = [
        (plugin, path.parent, _read(path))
        for plugin, folder in folders
        for path in sorted(folder.glob("*/kernel.toml"))
    ]
    kernels: dict[str, Kernel] = {}
    places: dict[str, list[Path]] = {}
    owners: dict[str, str] = {}
    # Definitions first: a plugin that extends one may be found before it.
    for plugin, folder, table in sorted(tables, key=lambda one: not one[2].bindings):
        name = table.operation
        if table.bindings:
            if name in owners:
                raise PluginError(
                    f"the operation {name!r} is defined by {owners[name]!r} and {plugin!r}",
                    where=str(folder),
                    hint="To add variants to an operation leave out bindings, params, tolerance.",
                )
            owners[name] = plugin
            kernels[name] = _define(table, folder)
        elif name not in kernels:
            raise PluginError(
                f"nothing defines the operation {name!r}, which this would extend",
                where=str(folder / "kernel.toml"),
                accepted=tuple(sorted(kernels)),
            )
        prefix = "" if plugin == owners[name] else f"{plugin}/"
        more = tuple(
            _variant(kernels[name], prefix, one, data, folder)
            for one, data in table.variants.items()
        )
        kernels[name] = attrs.evolve(kernels[name], variants=kernels[name].variants + more)
        places.setdefault(name, []).append(folder)
    return Catalogue(kernels, {name: tuple(paths) for name, paths in places.items()}, owners)


def _read(path: Path) -> _KernelTable:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise PluginError(f"it cannot be read: {error}", where=str(path)) from error
    try:
        made: _KernelTable = structure(table, _KernelTable, where=str(path))
    except AccelerateError as error:
        raise PluginError(
            error.info.message, where=error.info.where, accepted=error.info.accepted
        ) from error
    return made


def _define(table: _KernelTable, folder: Path) -> Kernel:
    where = str(folder / "kernel.toml")
    if table.tolerance is None or not table.summary:
        raise PluginError("a kernel needs a summary and a tolerance", where=where)
    if unknown := sorted(set(table.params.values()) - set(TYPES)):
        raise PluginError(
            f"params of type {', '.join(unknown)}", where=where, accepted=tuple(TYPES)
        )
    return Kernel(
        operation=table.operation,
        summary=table.summary,
        tolerance=table.tolerance,
        bindings=table.bindings,
        params=table.params,
    )


def _variant(kernel: Kernel, prefix: str, name: str, table: _VariantTable, folder: Path) -> Variant:
    path = folder / (table.file or f"{name}.wgsl")
    try:
        source = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PluginError(f"it cannot be read: {error}", where=str(path)) from error
    _check(kernel, table, wgsl.read(source), str(path))
    data: dict[str, Any] = attrs.asdict(table, recurse=False)
    del data["file"]
    return Variant(name=prefix + name, source=source, **data)


def _check(kernel: Kernel, table: _VariantTable, found: wgsl.Declarations, where: str) -> None:
    """Refuse WGSL that does not declare what the operation's contract says."""
    faults = []
    if dict(found.params) != dict(kernel.params) or list(found.params) != list(kernel.params):
        faults.append(f"struct Params is {dict(found.params)}, not {dict(kernel.params)}")
    for index, wanted in enumerate(kernel.bindings, 1):
        one = found.bindings.get(index)
        if one is None:
            faults.append(f"binding {index} ({wanted.name}) is not declared")
        elif (one.name, one.space, one.access) != (wanted.name, "storage", wanted.access):
            faults.append(
                f"binding {index} is var<{one.space}, {one.access}> {one.name}, "
                f"not var<storage, {wanted.access}> {wanted.name}"
            )
    if more := set(found.bindings) - set(range(len(kernel.bindings) + 1)):
        faults.append(f"bindings {sorted(more)} are not in the contract")
    constants = set(table.constants)
    if unknown := set(table.specialise) - set(kernel.params):
        faults.append(f"specialise has {sorted(unknown)}, which are no params")
    if (given := constants | set(table.specialise)) != found.overrides:
        faults.append(f"overrides are {sorted(found.overrides)}, constants are {sorted(given)}")
    if not set(table.tune) <= constants:
        faults.append(f"tune has {sorted(set(table.tune) - constants)}, which are no constants")
    if faults:
        raise PluginError(
            "; ".join(faults), where=where, hint="docs/kernels.md says what a kernel declares."
        )
