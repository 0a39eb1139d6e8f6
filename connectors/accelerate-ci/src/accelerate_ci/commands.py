# SPDX-License-Identifier: Apache-2.0
"""`accel ci`: which job this is, its pipeline file, and what earlier jobs measured."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accelerate_core.errors import ConfigError, Unsupported

if TYPE_CHECKING:
    from .detecting import Here

app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="CI systems: detect the job, write its pipeline file, fetch what to compare with.",
)

_JSON = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]


@app.callback()
def _ci() -> None:
    pass


@app.command()
def detect(as_json: _JSON = False) -> None:
    """Say in which CI job this process runs.

    Exit code: 0 it runs in one, 1 it does not.
    """
    from accelerate_core.cli.output import console, print_json
    from accelerate_core.host import Host

    from .detecting import here

    found = here(Host(), os.environ)
    if as_json:
        print_json(found.job.metadata() if found else None)
    elif found is None:
        console().print("This is no job of a CI system that is known here.")
    else:
        out = console()
        out.print(found.provider.title)
        for name, value in found.job.metadata().items():
            out.print(f"  {name.replace('_', ' ')}: {value}", soft_wrap=True)
    raise typer.Exit(0 if found else 1)


@app.command()
def init(
    provider: Annotated[str, typer.Argument(help="github, gitlab, jenkins, azure, ...")],
    file: Annotated[
        Path, typer.Argument(metavar="[FILE]", help="The pipeline file (TOML) that jobs run.")
    ] = Path("accelerate.toml"),
    output: Annotated[
        Path | None, typer.Option(help="Where to write it; the system's own place without.")
    ] = None,
    branch: Annotated[str, typer.Option(help="What changes are compared with.")] = "main",
    install: Annotated[
        list[str] | None, typer.Option(help="Command that installs what is needed. Repeatable.")
    ] = None,
    is_forced: Annotated[bool, typer.Option("--force", help="Replace a file.")] = False,
) -> None:
    """Write the pipeline file of a CI system: it measures, compares, and keeps what was found."""
    from accelerate_core.cli.output import console, warn
    from accelerate_core.host import Host

    from .detecting import provider as choose
    from .filling import opening
    from .planning import plan

    system = choose(Host(), provider, where="accel ci init")
    made, hints = plan(provider, file, branch=branch, install=install or [])
    text = system.pipeline(made)
    path = output or Path(system.path)
    if path.exists() and not is_forced:
        raise ConfigError(
            "there is a file already",
            where=str(path),
            hint="Replace it with --force, or write elsewhere with --output.",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    out = console()
    out.print(f"{path} runs {file} on {system.title}. Commit it.")
    for line in opening(text):
        out.print(f"  {line}", soft_wrap=True)
    for hint in hints:
        warn(hint)


@app.command()
def baseline(
    output: Annotated[Path, typer.Option(help="Where to write it.")] = Path("baseline.duckdb"),
    branch: Annotated[
        str | None, typer.Option(help="Whose last good run. [the pull request's target, or main]")
    ] = None,
    database: Annotated[
        str, typer.Option(help="Name of the database among the files that jobs keep.")
    ] = "results.duckdb",
    cached: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Copy this instead, which the job's cache had."),
    ] = None,
) -> None:
    """Fetch the database of a branch's last good run; print the run to compare with.

    That is its latest run on a machine like this one. Nothing is printed where there is none.
    Exit code: 0 also then, 1 it may not be fetched.
    """
    import shutil

    from .choosing import latest_like_this

    if cached is not None:
        wanted = branch or "main"
        is_there = cached.is_file()
        if is_there:
            shutil.copyfile(cached, output)
    else:
        job = _here()
        wanted = branch or job.job.target or "main"
        name = Path(database).name
        is_there = job.provider.baseline(job.job, job.environ, wanted, name, output)
    if not is_there:
        typer.echo(f"No good run of {wanted} has kept {database}: nothing to compare.", err=True)
        return
    run, said = latest_like_this(output, wanted)
    typer.echo(said, err=True)
    if run is not None:
        typer.echo(run)


@app.command()
def comment(
    file: Annotated[Path, typer.Argument(help="Markdown.", metavar="FILE")],
    name: Annotated[
        str | None, typer.Option(help="What was shown under it before is replaced. [FILE's stem]")
    ] = None,
) -> None:
    """Show Markdown in the job's summary and its pull request, in place of what was there.

    Exit code: 0 also where there is no pull request, or a fork has no rights.
    """
    from .commenting import show

    for line in show(_here(), file, name or file.stem):
        typer.echo(line, err=True)


@app.command()
def upload(
    files: Annotated[list[Path], typer.Argument(help="Files to keep.", metavar="FILE...")],
) -> None:
    """Keep files where `accel ci baseline` finds them, on systems that take them inside a job."""
    from .writing import write

    for path in files:
        if not path.is_file():
            raise ConfigError("there is no such file", where=str(path))
    job = _here()
    write(job.provider.upload(job.job, job.environ, files))


def _here() -> Here:
    from accelerate_core.host import Host

    from .detecting import here

    found = here(Host(), os.environ)
    if found is None:
        raise Unsupported(
            "this is no job of a CI system that is known here",
            where="accel ci",
            hint="accel ci detect says what is known.",
        )
    return found
