# SPDX-License-Identifier: Apache-2.0
"""Who imports whom: read from the source, and seen in a fresh process."""

from __future__ import annotations

import ast
import functools
import importlib.metadata as metadata
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

#: What a plugin's module may not bring along; it is imported where it is needed.
HEAVY = {
    "aiohttp",
    "altair",
    "duckdb",
    "httpx",
    "httpx2",
    "huggingface_hub",
    "jinja2",
    "onnx",
    "onnxruntime",
    "safetensors",
    "selenium",
    "slack_sdk",
    "tokenizers",
    "torch",
    "transformers",
    "vl_convert",
    "wgpu",
}
#: What the state machine may not touch: whatever comes from outside arrives in events.
WORLD = {
    "asyncio",
    "concurrent",
    "datetime",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "secrets",
    "socket",
    "subprocess",
    "threading",
    "time",
    "uuid",
}
#: What the core's own values are made of: whoever depends on the core may use it.
OF_THE_CORE = {"attrs", "numpy"}
#: What only conformance kits and the pytest plugin use; whoever runs them has it.
FOR_TESTS = {"hypothesis", "pytest"}


@functools.cache
def imports(path: Path) -> frozenset[str]:
    """Return the top-level modules a file imports, wherever in it; not those beside it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(node.module or "")
    return frozenset(name.partition(".")[0] for name in found)


#: Used where they are installed; without them a typed error says how to get them.
OPTIONAL = {"keyring"}


def test_the_core_imports_no_plugin(core: Any, plugins: list[Any]) -> None:
    packages = {one.package for one in plugins}
    found = [
        f"{path}: {name}" for path in core.source.rglob("*.py") for name in imports(path) & packages
    ]
    assert not found


def test_one_module_loads_and_two_know_pluggy(core: Any) -> None:
    users: dict[str, set[str]] = {"stevedore": set(), "pluggy": set()}
    for path in core.source.rglob("*.py"):
        for name in imports(path) & set(users):
            users[name].add(path.name)
    assert users == {"stevedore": {"loading.py"}, "pluggy": {"asking.py", "host.py", "markers.py"}}


def test_no_plugin_uses_pluggy_or_stevedore(plugins: list[Any]) -> None:
    for one in plugins:
        for path in one.source.rglob("*.py"):
            assert not imports(path) & {"pluggy", "stevedore"}, path


def test_the_state_machine_touches_nothing(core: Any) -> None:
    modules = list((core.source / "fleet").glob("*.py"))
    assert len(modules) >= 5
    for path in modules:
        assert not imports(path) & WORLD, path
        for node in ast.walk(ast.parse(path.read_text())):
            # A generator seeded by an event is fine; the global one is not.
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert node.value.id != "random" or node.attr == "Random", f"{path}:{node.lineno}"
            if isinstance(node, ast.ImportFrom):
                assert node.module != "random", f"{path}:{node.lineno}"


def test_what_is_imported_is_depended_on(distributions: list[Any]) -> None:
    owners = metadata.packages_distributions()
    undeclared = []
    for one in distributions:
        needed = OF_THE_CORE | {
            re.match(r"[A-Za-z0-9._-]+", need)[0].lower().replace("_", "-")  # type: ignore[index]
            for need in one.pyproject["project"]["dependencies"]
        }
        for path in one.source.rglob("*.py"):
            allowed = FOR_TESTS if "testing" in path.parts else set()
            for name in imports(path):
                if name in sys.stdlib_module_names | OPTIONAL or name in (one.package, *allowed):
                    continue
                by = {owner.lower().replace("_", "-") for owner in owners.get(name, [name])}
                if not by & needed:
                    undeclared.append(f"{one.name}: {path.name} imports {name}")
    assert not undeclared


LOAD = """
import importlib, json, sys
from accelerate_core.markers import hookimpl
problems = []
for group, name, value in json.loads(sys.argv[1]):
    module, _, attribute = value.partition(":")
    plugin = getattr(importlib.import_module(module), attribute)
    if not group.endswith(".commands") and getattr(plugin, "name", None) != name:
        problems.append(f"{group} {name}: the class calls itself {getattr(plugin, 'name', None)!r}")
    if group.endswith(".commands") and type(plugin).__name__ != "Typer":
        problems.append(f"{group} {name}: no Typer app")
print(json.dumps([problems, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def test_every_plugin_loads_and_loads_lightly(distributions: list[Any]) -> None:
    entries = [entry for one in distributions for entry in one.entry_points]
    assert len(entries) >= 20
    done = subprocess.run(
        [sys.executable, "-c", LOAD, json.dumps(entries)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    problems, modules = json.loads(done.stdout)
    assert not problems
    assert {one.package for one in distributions if one.entry_points} <= set(modules)
    assert not HEAVY & set(modules)


def test_what_is_installed_is_what_is_declared(distributions: list[Any]) -> None:
    """Entry points are read from metadata: a stale install would hide a new plugin."""
    for one in distributions:
        installed = {
            (entry.group, entry.name, entry.value)
            for entry in metadata.distribution(one.name).entry_points
            if entry.group.startswith("accelerate_")
        }
        assert installed == set(one.entry_points), f"{one.name}: run make setup"
