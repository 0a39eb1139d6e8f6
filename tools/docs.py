# SPDX-License-Identifier: Apache-2.0
"""Write the pages of `docs/` that are made from the source: `python -m tools.docs [--check]`.

`docs/configuration.md` comes from the attrs classes of the configuration and of every plugin's
settings, with the `#:` comments beside their fields; `docs/hooks.md` from the hook specs;
`docs/database.md` from the migrations of the store and of every plugin that contributes tables.
"""

from __future__ import annotations

import ast
import enum
import importlib
import inspect
import re
import sys
import textwrap
import tomllib
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import attrs
from accelerate_browser.hookspecs import ENGINES, LAUNCHERS
from accelerate_chaos.hookspecs import FAULTS
from accelerate_ci.hookspecs import PROVIDERS
from accelerate_duckdb.dictionary import Described, describe
from accelerate_insights.hookspecs import DETECTORS
from accelerate_plan.hookspecs import KERNELS

from accelerate_core import config, pool_config
from accelerate_core.hookspecs import CORE_FAMILIES, Family
from accelerate_core.secrets import Secret
from accelerate_core.settings import Seconds, Share, Size
from accelerate_core.types import Target

ROOT = Path(__file__).parents[1]
FAMILIES = (*CORE_FAMILIES, LAUNCHERS, ENGINES, KERNELS, FAULTS, DETECTORS, PROVIDERS)
MADE = "<!-- Made by `make docs` from the source. Do not edit. -->"

#: How a family's plugin is configured in a pipeline file, where its name is NAME; kernels are not.
TABLES = {
    "backends": "[backends.NAME]",
    "schedulers": "[schedulers.NAME]",
    "recovery": "[recovery.NAME]",
    "connectors": '[[connectors]] use = "NAME"',
    "models": "[sources.NAME]",
    "stores": '[store] use = "NAME"',
    "reports": '[[reports]] use = "NAME"',
    "listeners": "[listeners.NAME]",
    "analyses": "[analyses.NAME]",
    "launchers": 'launcher = "NAME", launcher_settings = { ... }',
    "engines": "engine_settings = { ... }",
}
_WORDS = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "true or false",
    Path: "path",
    Seconds: 'time: seconds, or `"500ms"`, `"10s"`, `"2m"`, `"1h"`',
    Share: 'share: `0.02` or `"2%"`',
    Size: 'memory: bytes, or `"512MiB"`, `"4GiB"`',
    Secret: 'secret: `"env:NAME"`, `"file:PATH"` or `"keyring:SERVICE/USER"`',
    Target: "target",
    Any: "anything",
}


# --- configuration ----------------------------------------------------------------------------


def comments(kind: type) -> dict[str, str]:
    """Return the `#:` comment of each field a class itself defines: above it, or behind it."""
    lines = textwrap.dedent(inspect.getsource(kind)).splitlines()
    (tree,) = ast.parse("\n".join(lines)).body
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, str] = {}
    for node in tree.body:
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        _, marker, behind = lines[(node.end_lineno or node.lineno) - 1].partition("#:")
        above: list[str] = []
        for line in reversed(lines[: node.lineno - 1]):
            if not line.strip().startswith("#:"):
                break
            above.insert(0, line.strip().removeprefix("#:").strip())
        text = behind.strip() if marker else " ".join(above)
        if text:
            found[node.target.id] = text
    return found


def word(kind: Any) -> str:
    """Return how an annotation is written in TOML, in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind in _WORDS:
        return _WORDS[kind]
    if isinstance(own := getattr(kind, "in_words", None), str):
        return own
    if attrs.has(kind):
        return "table"
    if origin is Literal:
        return ", ".join(f'`"{one}"`' for one in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(word(one) for one in inner if one is not type(None))
    if origin is tuple:
        return f"array of {word(inner[0])}"
    if origin in (dict, Mapping):
        return "table" if inner[1] is Any else f"table of {word(inner[1])}"
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return ", ".join(f'`"{one.value}"`' for one in kind)
    raise TypeError(f"no word for {kind!r}: add one to {__file__}")


def value(default: Any) -> str:
    """Return a default as it would stand in the file."""
    if default is attrs.NOTHING:
        return "required"
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        default = default.factory()
    if default is None or attrs.has(type(default)):
        return "unset"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, str | Path):
        return f'`"{default}"`'
    if isinstance(default, tuple):
        return f"`[{', '.join(value(one).strip('`') for one in default)}]`"
    return f"`{default if default != {} else '{}'}`"


def rows(kind: type, *, skip: Iterable[str] = ()) -> Iterator[str]:
    """Yield a table of a class's fields; KeyError for a field without a comment."""
    notes: dict[str, str] = {}
    for parent in reversed(kind.__mro__):
        if attrs.has(parent):
            notes |= comments(parent)
    yield "| key | value | default | meaning |\n| --- | --- | --- | --- |"
    for field in attrs.fields(attrs.resolve_types(kind)):
        if field.init and field.name not in skip:
            words = ", ".join((word(field.type), *bounds(field.validator)))
            if field.name not in notes:
                raise KeyError(f"{kind.__module__}.{kind.__qualname__}.{field.name} has no #:")
            cells = (f"`{field.alias}`", words, value(field.default), notes[field.name])
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def tables(kind: type, path: str = "") -> Iterator[str]:
    """Yield the tables within a class's settings: where each stands, what it is, its fields."""
    for field in attrs.fields(attrs.resolve_types(kind)):
        for one in (field.type, *(get_args(field.type))):
            if attrs.has(one) and one is not Target and not hasattr(one, "in_words"):
                place = f"{path}{field.alias}"
                yield f"\nTables of `{place}`: {first_line(one)}\n"
                yield from rows(one)
                yield from tables(one, f"{place}.")


def bounds(validator: Any) -> Iterator[str]:
    """Yield the bounds that a validator sets, in words."""
    inner = getattr(validator, "validator", None)  # of an optional one
    for one in (*getattr(inner or validator, "_validators", ()), inner or validator):
        if hasattr(one, "compare_op"):
            yield f"{one.compare_op} {one.bound}"


def first_line(thing: Any) -> str:
    """Return the first paragraph of a docstring, on one line."""
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())


def plugins() -> Iterator[tuple[str, str, Any]]:
    """Yield family, name and class of every plugin of this repository."""
    families = {family.group: family.name for family in FAMILIES}
    for path in sorted((ROOT / "pyproject.toml", *ROOT.glob("*/accelerate-*/pyproject.toml"))):
        points = tomllib.loads(path.read_text())["project"].get("entry-points", {})
        for group in sorted(set(points) & set(families)):
            for name, place in sorted(points[group].items()):
                module, _, attribute = place.partition(":")
                yield families[group], name, getattr(importlib.import_module(module), attribute)


def configuration() -> Iterator[str]:
    """Yield the lines of `docs/configuration.md`."""
    table = config.Config
    nested = ("store", "pool", "models", "benchmarks", "reports", "connectors", "delivery")
    by_name = ("backends", "schedulers", "recovery", "sources", "listeners", "analyses")
    yield MADE + "\n\n# Configuration reference\n"
    yield (
        "A pipeline file is TOML. An unknown key, a wrong type, an unknown plugin or a wrong "
        "setting of a plugin is refused before anything starts, with file, key and what would be "
        'accepted. Strings may be `"env:NAME"`: the value of that environment variable.\n'
    )
    yield "## The file itself\n"
    yield from rows(table, skip=(*nested, *by_name))
    for heading, kind in (
        ("[pool]", config.PoolConfig),
        ("[[models]]", config.ModelConfig),
        ("[[benchmarks]]", config.BenchmarkConfig),
        ("[delivery]", config.DeliveryConfig),
    ):
        yield f"\n## `{heading}`\n\n{first_line(kind)}\n"
        yield from rows(kind, skip=("breaker", "health"))
        if kind is config.PoolConfig:
            for name, table in (
                ("health", pool_config.HealthConfig),
                ("breaker", pool_config.BreakerConfig),
            ):
                yield f"\n## `[pool.{name}]`\n\n{first_line(table)}\n"
                yield from rows(table)
    yield "\n## `[store]`, `[[reports]]`, `[[connectors]]`\n"
    yield (
        "Each names a plugin with `use`; the plugin's own settings stand beside it. `id` names "
        "the instance, and `on` lists the events that a connector is told of; without it, those it "
        "chooses itself, or the ends of runs and regressions.\n"
    )
    yield "\n## Plugins and their settings\n"
    yield "Those of this repository; `accel plugins show NAME` shows any installed one."
    for family in FAMILIES:
        if family.name not in TABLES:
            continue
        for name, plugin in (found[1:] for found in plugins() if found[0] == family.name):
            place = TABLES[family.name].replace("NAME", name)
            yield f"\n### {family.word} `{name}`\n\n{first_line(plugin)} In a file: `{place}`.\n"
            if (settings := getattr(plugin, "settings", None)) is None:
                yield "No settings."
            else:
                yield from rows(settings)
                yield from tables(settings)


# --- hooks ------------------------------------------------------------------------------------


def hooks(family: Family) -> Iterator[tuple[str, Any]]:
    """Yield name and function of every hook a family specifies, in the order of the source."""
    module = importlib.import_module(family.specs)
    for name, function in vars(module).items():
        if hasattr(function, "accelerate_spec"):
            yield name, function


def hook_pages() -> Iterator[str]:
    """Yield the lines of `docs/hooks.md`."""
    yield MADE + "\n\n# Hooks\n"
    yield (
        "A plugin implements the hooks of its family with `@hookimpl`; it may leave out arguments "
        "it does not need. Hooks marked *any plugin* may be implemented beside those of the "
        "family. What a `_create` hook returns is described in `accelerate_core/protocols/` or, "
        "for families of another distribution, beside the specs.\n"
    )
    for family in FAMILIES:
        yield f"\n## {family.name.capitalize()}: `{family.group}`\n"
        if family.provides:
            methods = ", ".join(f"`{name}`" for name in family.provides)
            yield f"The object it hands over has: {methods}.\n"
        if family.is_collected:
            yield "Every installed plugin is loaded, unless it is `disabled`.\n"
        for name, function in hooks(family):
            signature = re.sub(r"accelerate_core\.(\w+\.)*", "", str(inspect.signature(function)))
            signature = re.sub(r"collections\.abc\.|typing\.|events\.", "", signature)
            whose = "" if name == family.create or name == "model_schemes" else " *any plugin*"
            yield f"### `{name}{signature.replace(chr(39), '')}`{whose}\n"
            yield f"{inspect.cleandoc(function.__doc__)}\n"


# --- database ---------------------------------------------------------------------------------


def database() -> Iterator[str]:
    """Yield the lines of `docs/database.md`; KeyError for a table or column without a meaning."""
    contributed = [
        table_set
        for _, _, plugin in plugins()
        if hasattr(plugin, "store_tables")
        for table_set in plugin().store_tables()
    ]
    yield MADE + "\n\n# Database reference\n"
    yield (
        "Every table and view of a database file, as `accel query` asks them. Times are UTC, "
        "unknown is NULL. How the file is opened, filled, merged and made smaller: "
        "[store.md](store.md).\n"
    )
    described = describe(contributed)
    for is_view, heading in ((False, "Tables"), (True, "Views for common questions")):
        yield f"\n## {heading}\n"
        for table in described:
            if table.is_view is is_view:
                yield from _described(table)


def _described(table: Described) -> Iterator[str]:
    if table.meaning is None:
        raise KeyError(f"{table.name} has no meaning in its TableSet")
    yield f"\n### `{table.name}`\n\n{table.meaning}\n"
    yield "| column | type | unit | meaning |\n| --- | --- | --- | --- |"
    for column in table.columns:
        if column.meaning is None:
            raise KeyError(f"{table.name}.{column.name} has no meaning in its TableSet")
        cells = (f"`{column.name}`", column.type, column.unit or "", column.meaning)
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


PAGES = {
    "docs/configuration.md": configuration,
    "docs/hooks.md": hook_pages,
    "docs/database.md": database,
}


def main(arguments: list[str]) -> int:
    """Write the pages; with --check, only name those that are stale."""
    stale = []
    for name, make in PAGES.items():
        text = re.sub(r"\n{3,}", "\n\n", "\n".join(make())).strip() + "\n"
        path = ROOT / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in arguments:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8")
    for name in stale:
        print(f"{name} is stale: make docs" if "--check" in arguments else f"wrote {name}")
    return 1 if stale and "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
