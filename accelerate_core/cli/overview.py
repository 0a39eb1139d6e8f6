# SPDX-License-Identifier: Apache-2.0
"""What `accel --help` shows: the commands and whose they are, read from metadata alone.

Kept free of imports: importlib.metadata alone is most of what `accel --help` costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from .. import __version__

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

#: `hookspecs.COMMANDS_GROUP`; importing that would import attrs.
GROUP = "accelerate_core.commands"

#: Own commands and what they do. Each is a module of this package with a Typer `app`.
COMMANDS: Mapping[str, str] = {
    "run": "Run a pipeline file: measure every cell, store and report it.",
    "bench": "Benchmark one model without a file.",
    "init": "Write a pipeline file for a model, to begin with.",
    "report": "Report a stored run again, in any format.",
    "top": "Show the fleets that run here: workers, jobs, health.",
    "doctor": "Try every backend and browser for real, and say what is missing.",
    "connectors": "Try the connectors of a pipeline file: credentials, reachability, rights.",
    "outbox": "Show what connectors were told and what waits; send, retry or drop it.",
    "plugins": "List, show and check the installed plugins.",
}

_OPTIONS = (
    ("--debug", "Show tracebacks and logs. Works with every command."),
    ("--version", "Show the version."),
    ("--help, -h", "Show this, or the help of a command."),
)

_EXAMPLES = (
    "accel doctor",
    "accel bench dir:models/minilm --on cpu --on 'webgpu:*'",
    "accel init model.onnx",
    "accel run accelerate.toml",
)


def version() -> str:
    """Return the line of `accel --version`."""
    return f"accelerate {__version__}"


def plugin_commands() -> dict[str, EntryPoint]:
    """Return the commands of plugins, by name; own names win. Imports nothing.

    Those with a dot in their name belong to a group, whose help shows them.
    """
    from importlib import metadata

    entries = sorted(metadata.entry_points(group=GROUP), key=lambda entry: entry.name)
    return {
        entry.name: entry
        for entry in entries
        if entry.name not in COMMANDS and "." not in entry.name
    }


def summary(entry: EntryPoint) -> str:
    """Return what a plugin's command does, by the first line of its module, and whose it is.

    The line reads "`accel NAME`: what it does."; without one, what the distribution says of itself.
    """
    about = _first_line(entry.module).partition("`: ")[2]
    if not about and entry.dist:
        with suppress(KeyError):  # of the backport of importlib.metadata
            about = entry.dist.metadata["Summary"] or ""
    owner = entry.dist.name if entry.dist else "unknown"
    return f"{about[:1].upper()}{about[1:]} [{owner}]".strip()


def _first_line(module: str) -> str:
    """Return the first line of a module's docstring without importing it, "" when unknown."""
    from importlib.util import find_spec
    from pathlib import Path

    package, *rest = module.split(".")
    spec = find_spec(package)  # finds a top-level name and imports nothing
    for root in (spec.submodule_search_locations if spec else None) or ():
        place = Path(root, *rest)
        for path in (place.with_suffix(".py"), place / "__init__.py"):
            if path.is_file():
                _, _, after = path.read_text(encoding="utf-8").partition('"""')
                return after.partition("\n")[0].removesuffix('"""')
    return ""


def overview() -> str:
    """Return the help of `accel` itself."""
    parts = [
        "Usage: accel [--debug] COMMAND [ARGS]...",
        "Run, test and benchmark AI models on real browsers and native hardware.",
        _section("Commands", COMMANDS.items()),
    ]
    if plugins := plugin_commands():
        rows = ((name, summary(entry)) for name, entry in plugins.items())
        parts.append(_section("Commands of plugins", rows))
    parts.append(_section("Options", _OPTIONS))
    parts.append("Examples:\n" + "\n".join(f"  {line}" for line in _EXAMPLES))
    return "\n\n".join(parts)


def _section(title: str, rows: Iterable[tuple[str, str]]) -> str:
    import shutil
    import textwrap

    width = max(40, min(shutil.get_terminal_size().columns, 100))
    lines = [f"{title}:"]
    for name, text in rows:
        lines += textwrap.wrap(
            text,
            width,
            initial_indent=f"  {name:<12}",
            subsequent_indent=" " * 14,
            break_on_hyphens=False,
        )
    return "\n".join(lines)
