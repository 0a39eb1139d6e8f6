# SPDX-License-Identifier: Apache-2.0
"""`accel run FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(rich_markup_mode=None)


@app.command()
def run(
    file: Annotated[Path, typer.Argument(help="Pipeline file (TOML).", metavar="FILE")],
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD", help="Only cells with this word in them: webgpu, firefox. Repeatable."
        ),
    ] = None,
    is_profiled: Annotated[
        bool, typer.Option("--profile", help="Show how long each kernel took, where it is known.")
    ] = False,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Profile, and write a trace for chrome://tracing."),
    ] = None,
    resume: Annotated[
        bool | None,
        typer.Option(
            "--resume/--fresh",
            help="Continue the run that was killed or interrupted (with [pool] durable = true it "
            "is), or start anew.",
        ),
    ] = None,
    is_dry: Annotated[
        bool,
        typer.Option("--dry-run", help="Show the cells; start nothing. 1 if a required one lacks."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON on stdout, progress on stderr.")
    ] = False,
) -> None:
    """Run a pipeline file: measure every cell, store and report it.

    Ctrl-C ends cleanly and keeps what was measured. Exit code: 0 all is well, 1 a cell failed or
    a required one is missing, 2 usage or configuration, 130 interrupted.
    """
    from ..config import load
    from .execute import execute, preview

    config = load(file)
    cells = tuple(only or ())
    if is_dry:
        raise typer.Exit(preview(config, only=cells, as_json=as_json))
    code = execute(
        config, only=cells, as_json=as_json, is_profiled=is_profiled, trace=trace, resume=resume
    )
    raise typer.Exit(code)
