# SPDX-License-Identifier: Apache-2.0
"""The `accel models` command."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Look at models.")


@app.callback()
def models() -> None:
    """Look at models."""


@app.command()
def inspect(
    reference: Annotated[
        str,
        typer.Argument(metavar="REF", help="For example dir:PATH, file:PATH, package:NAME/FOLDER."),
    ],
    precision: Annotated[str, typer.Option(help="Precision to build in.")] = "fp32",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show parameters, bytes, operators, inputs, outputs and blocks of a model."""
    from accelerate_core.host import Host

    from .inspection import inspect as facts_of

    facts = facts_of(Host().resolve_model(reference, precision=precision))
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
    else:
        _print(facts)


def _print(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    # Tensor shapes and special tokens look like markup.
    console = Console(markup=False)
    summary = Table(show_header=False, box=None, title=facts["source"], title_justify="left")
    for label, value in (
        ("task", facts["task"]),
        ("family", facts["family"]),
        ("precision", facts["precision"]),
        ("parameters", f"{facts['parameters']:,}"),
        ("size", _size(facts["size_bytes"])),
        ("inputs", "\n".join(map(_tensor, facts["inputs"]))),
        ("outputs", "\n".join(map(_tensor, facts["outputs"]))),
        ("operators", ", ".join(facts["operators"])),
        ("files", "\n".join(f"{a['name']}  {a['sha256'][:12]}" for a in facts["assets"])),
        ("processor", _pairs(facts["processor"])),
        ("more", _pairs(facts["metadata"])),
    ):
        summary.add_row(label, "unknown" if value is None else value)
    console.print(summary)
    blocks = Table("block", title="blocks", title_justify="left")
    blocks.add_column("parameters", justify="right")
    blocks.add_column("size", justify="right")
    for block in facts["blocks"]:
        blocks.add_row(block["name"], f"{block['parameters']:,}", _size(block["size_bytes"]))
    console.print(blocks)


def _tensor(spec: dict[str, Any]) -> str:
    return f"{spec['name']}: {spec['dtype']}[{', '.join(map(str, spec['shape']))}]"


def _pairs(values: dict[str, Any] | None) -> str:
    return "none" if values is None else "\n".join(f"{k}: {v}" for k, v in values.items())


def _size(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):,.2f} MiB"
