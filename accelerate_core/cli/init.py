# SPDX-License-Identifier: Apache-2.0
"""`accel init MODEL`: a pipeline file to begin with."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

from ..errors import ConfigError

app = typer.Typer(rich_markup_mode=None)

#: What a first run tries, where it is installed.
_TARGETS = {"cpu": "cpu", "wasm": "wasm:*", "webgpu": "webgpu:*", "webnn": "webnn:*"}


@app.command()
def init(
    model: Annotated[
        str,
        typer.Argument(
            help="A directory, an .onnx file, or a reference: dir:PATH, file:PATH, package:NAME.",
            metavar="MODEL",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write it.")
    ] = Path("accelerate.toml"),
    is_forced: Annotated[bool, typer.Option("--force", help="Replace a file.")] = False,
) -> None:
    """Write a pipeline file for a model: measured on the CPU and in every browser found.

    Exit code: 0, or 2 for a MODEL that is none and where FILE is there already.
    """
    from ..host import Host
    from .bench import model_name, reference

    source = reference(model)
    host = Host()
    host.source(source)
    if output.exists() and not is_forced:
        raise ConfigError(
            "there is a file already",
            where=str(output),
            hint="Replace it with --force, or write elsewhere with --output.",
        )
    text = pipeline_text(
        source,
        model_name(source),
        backends=host.names("backends"),
        stores=host.names("stores"),
        reports=host.names("reports"),
    )
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror}", where=str(output)) from error
    print(f"wrote {output}\n  accel run {output} --dry-run   # what can be measured here")
    print(f"  accel run {output}")


def pipeline_text(
    source: str,
    name: str,
    *,
    backends: Collection[str],
    stores: Collection[str],
    reports: Collection[str],
) -> str:
    """Return a pipeline file that needs no other plugins than those. Pure."""
    targets = [target for backend, target in _TARGETS.items() if backend in backends]
    parts = ["# A pipeline of accelerate; docs/configuration.md explains every key."]
    if "duckdb" in stores:
        parts.append(
            "[store]               # for accel query, report, history and compare\n"
            'use = "duckdb"\npath = "results.duckdb"'
        )
    parts.append(f"[[models]]\nname = {_toml(name)}\nsource = {_toml(source)}")
    parts.append(
        "[[benchmarks]]\n"
        f"targets = {json.dumps(targets)}  # a star: every browser found\n"
        "batch_sizes = [1]\n"
        "repeats = 20\n"
        'budget = "5s"         # for the timed runs of a cell\n'
        f"required = {json.dumps(targets[:1])}    # the run fails where one of these is missing"
    )
    for use, path in (("terminal", None), ("html", "report.html")):
        if use in reports:
            parts.append(f'[[reports]]\nuse = "{use}"' + (f'\npath = "{path}"' if path else ""))
    return "\n\n".join(parts) + "\n"


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
