# SPDX-License-Identifier: Apache-2.0
"""What is installed, what it offers, and whether it keeps its contract."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from . import loading
from .errors import AccelerateError, ConfigError, PluginError, did_you_mean
from .hookspecs import COMMANDS_GROUP, CORE_FAMILIES
from .markers import PROJECT

if TYPE_CHECKING:
    from .host import Host

#: A plugin's module should import faster; heavy libraries belong into `create`.
IMPORT_LIMIT_MS = 50.0

COMMANDS = "commands"
_GROUP = re.compile(r"accelerate_\w+\.(\w+)")


@attrs.frozen(kw_only=True)
class Installed:
    """Describe an installed plugin, from metadata alone."""

    family: str
    found: loading.Found
    problem: AccelerateError | None = None  #: what metadata alone shows to be wrong

    @property
    def key(self) -> str:
        """Name it uniquely: `family.name`."""
        return f"{self.family}.{self.found.name}"


@attrs.frozen(kw_only=True)
class Setting:
    """Describe one setting of a plugin as text."""

    name: str
    type: str
    default: str
    doc: str = ""


@attrs.frozen(kw_only=True)
class Details:
    """Say what a loaded plugin offers."""

    doc: str
    settings: tuple[Setting, ...] = ()
    hooks: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Checked:
    """Say what is wrong with a plugin, and how long its import takes in CPU time."""

    installed: Installed
    faults: tuple[str, ...]
    import_ms: float | None = None

    @property
    def is_slow(self) -> bool:
        """Whether its import takes longer than it should."""
        return self.import_ms is not None and self.import_ms > IMPORT_LIMIT_MS


def installed() -> tuple[Installed, ...]:
    """Return every plugin of every family, conflicting ones each; imports none of them."""
    own = {family.group: family.name for family in CORE_FAMILIES} | {COMMANDS_GROUP: COMMANDS}
    listing = loading.listing()
    others = {
        group: match[1]
        for group in sorted(listing.groups)
        if group not in own and (match := _GROUP.fullmatch(group))
    }
    answer: list[Installed] = []
    for group, family in (own | others).items():
        problem = _unknown_group(group, own) if group in others else None
        for claims in listing.find(group).values():
            conflict = loading.conflict(claims)
            answer += [
                Installed(family=family, found=one, problem=problem or conflict) for one in claims
            ]
    return tuple(answer)


def select(plugins: Iterable[Installed], name: str) -> tuple[Installed, ...]:
    """Return the plugins called `name` or `family.name`; ConfigError when there is none."""
    plugins = tuple(plugins)
    chosen = tuple(one for one in plugins if name in (one.found.name, one.key))
    if not chosen:
        names = tuple(dict.fromkeys(one.found.name for one in plugins))
        raise ConfigError(
            f"no plugin is called {name!r}",
            accepted=names or ("none is installed",),
            hint=did_you_mean(name, names),
        )
    return chosen


def details(host: Host, plugin: Installed) -> Details:
    """Load a plugin and return what it offers; PluginError when it cannot be used."""
    loaded = _load(host, plugin)
    if plugin.family == COMMANDS:
        return Details(doc=plugin.found.summary)
    kind = getattr(loaded, "settings", None)
    hooks = (name for name in dir(loaded) if hasattr(getattr(loaded, name), f"{PROJECT}_impl"))
    return Details(
        doc=inspect.getdoc(loaded) or "",
        settings=_settings(kind) if kind is not None else (),
        hooks=tuple(sorted(hooks)),
    )


def check(host: Host, plugin: Installed) -> Checked:
    """Load a plugin, hold it to its contract, and measure its import in another process."""
    faults: list[str] = []
    try:
        if plugin.problem is not None:
            raise plugin.problem
        loaded = _load(host, plugin)
        if plugin.family != COMMANDS:
            faults += _settings_faults(getattr(loaded, "settings", None), plugin.family)
    except AccelerateError as error:
        return Checked(installed=plugin, faults=(str(error),))
    module = plugin.found.value.partition(":")[0]
    return Checked(installed=plugin, faults=tuple(faults), import_ms=_import_ms(module))


def _unknown_group(group: str, own: Mapping[str, str]) -> PluginError | None:
    """Return the error for an entry point of the core's that no family reads."""
    if not group.startswith("accelerate_core."):
        return None
    return PluginError(
        f"no family reads the entry-point group {group!r}",
        accepted=tuple(own),
        hint=did_you_mean(group, own),
    )


def _load(host: Host, plugin: Installed) -> Any:
    if plugin.family == COMMANDS:
        from .cli.commands import load_app

        return load_app(plugin.found)
    if plugin.family not in host.families:
        _open_families(host)
    if plugin.family in host.families:
        return host.plugin(plugin.family, plugin.found.name)
    return loading.load(plugin.found)


def _open_families(host: Host) -> None:
    """Create every backend: distributions with families of their own open them then."""
    for name in host.names("backends"):
        try:
            host.create("backends", name)
        except AccelerateError:
            continue  # shown where that backend itself is looked at


def _settings_faults(kind: Any, family: str) -> Sequence[str]:
    if kind is None:
        return ()
    if not (isinstance(kind, type) and attrs.has(kind)):
        return (f"its settings are {kind!r}, not an attrs class",)
    if family == "connectors":
        return ()  # nobody can guess an address and a token
    return tuple(
        f"the setting {field.name!r} has no default"
        for field in attrs.fields(kind)
        if field.init and field.default is attrs.NOTHING
    )


def _settings(kind: Any) -> tuple[Setting, ...]:
    docs = _field_docs(kind)
    return tuple(
        Setting(
            name=field.alias,
            type=field.type if isinstance(field.type, str) else _type_name(field.type),
            default=_default(field),
            doc=docs.get(field.name, ""),
        )
        for field in attrs.fields(kind)
        if field.init
    )


def _type_name(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) else str(kind).replace("typing.", "")


def _default(field: Any) -> str:
    if field.default is attrs.NOTHING:
        return "required"
    if isinstance(field.default, attrs.Factory):  # type: ignore[arg-type]
        factory = field.default.factory
        return repr(factory()) if factory in (dict, list, tuple) else "made when it is used"
    return repr(field.default)


def _field_docs(kind: type) -> dict[str, str]:
    """Return the `#:` comments above or beside the fields of a class, from its source."""
    try:
        lines = inspect.getsource(kind).splitlines()
    except (OSError, TypeError):
        return {}
    docs: dict[str, str] = {}
    above: list[str] = []
    for line in lines:
        code, mark, doc = line.partition("#:")
        field = re.match(r"\s+(\w+)\s*:", code)
        if mark and not code.strip():
            above.append(doc.strip())
        elif field:
            docs[field[1]] = " ".join([*above, doc.strip()]).strip()
            above = []
        else:
            above = []
    return docs


# What any run has imported already is imported before the clock starts.
_TIMED_IMPORT = """
import importlib, sys, time
import typer
import accelerate_core.measuring.pipeline
started = time.process_time()
importlib.import_module(sys.argv[1])
print((time.process_time() - started) * 1e3)
"""


def _import_ms(module: str) -> float | None:
    done = subprocess.run(
        [sys.executable, "-c", _TIMED_IMPORT, module], capture_output=True, text=True, timeout=60
    )
    return float(done.stdout.split()[-1]) if done.returncode == 0 else None
