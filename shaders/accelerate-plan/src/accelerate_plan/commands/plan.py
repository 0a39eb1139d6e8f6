# SPDX-License-Identifier: Apache-2.0
"""`accel plan`: show what a compiled model does, and where its memory lies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def plan() -> None:
    """Look into compiled models."""


@app.command()
def show(
    what: Annotated[
        str, typer.Argument(metavar="FILE|REF", help="A plan file, or a model to compile.")
    ],
    on: Annotated[
        str, typer.Option(metavar="TARGET", help="What a model is compiled for.")
    ] = "wgpu",
    precision: Annotated[str, typer.Option(help="Of a model: fp32, fp16, int8, ...")] = "fp32",
    batch: Annotated[int, typer.Option(min=1, help="Items in one run of a model.")] = 1,
    sequence: Annotated[
        int | None, typer.Option(min=1, help="Tokens per item. [32, or the most the model takes]")
    ] = None,
    picture: Annotated[
        Path | None,
        typer.Option(metavar="FILE.svg", help="Draw what lies where in the arena, and when."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the dispatches of a plan, their bytes and FLOPs, and its arena."""
    from accelerate_core.cli.output import console, print_json
    from accelerate_core.errors import ConfigError
    from accelerate_core.host import Host

    from .. import arena_picture, showing
    from ..plan import read_plan
    from .working import compiled, plan_target, resolved

    if picture is not None and picture.suffix != ".svg":
        raise ConfigError(
            f"{picture.suffix or 'a file without a suffix'} is no picture that can be drawn",
            where="--picture",
            accepted=(".svg",),
        )
    if picture is not None and not picture.absolute().parent.is_dir():
        raise ConfigError("no such folder", where=str(picture.absolute().parent))
    path = Path(what).expanduser()
    if not path.is_file() or path.suffix == ".onnx":
        target = plan_target(on, where="--on")
        host = Host()
        spec = compiled(host, target, resolved(host, what, precision), batch, sequence)
        path = host.context.assets.path(spec.assets[0].sha256)
    file = path.read_bytes()
    read = read_plan(file, where=what)
    if picture is not None:
        picture.write_text(arena_picture.draw(read), encoding="utf-8")
    facts = showing.plan_facts(read, len(file))
    if as_json:
        print_json(facts)
        return
    out = console()
    out.print(showing.plan_table(facts))
    for line in showing.plan_summary(facts):
        out.print(line, soft_wrap=True)
    if picture is not None:
        out.print(f"drawn: {picture}", soft_wrap=True)
