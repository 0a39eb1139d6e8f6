# SPDX-License-Identifier: Apache-2.0
"""`accel compare`: is B slower than A? Two stored runs, or pipelines that are run now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from accelerate_core.errors import ConfigError, StoreError
from accelerate_core.texts import short_id

if TYPE_CHECKING:
    import asyncio

    from accelerate_core.config import Config
    from accelerate_core.types import RunSummary

    from ..gate.rows import Comparison, Terms
    from ..gate.sides import Stored

    Side: TypeAlias = Config | Stored

app = typer.Typer(rich_markup_mode=None)

INTERRUPTED = 130


@app.command()
def compare(
    old: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="A pipeline FILE.toml to run now, a database FILE (its latest run), or a run of "
            "--db: latest, latest~1, an id or how it begins, a commit, a branch.",
        ),
    ] = "latest~1",
    new: Annotated[str, typer.Argument(metavar="B", help="The same, and newer.")] = "latest",
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="KEY=VALUE",
            help="B is A with this setting: backends.wasm.threads=1. Repeatable.",
        ),
    ] = None,
    db: Annotated[Path, typer.Option(help="Database with the runs.")] = Path("results.duckdb"),
    db_b: Annotated[Path | None, typer.Option(help="Database with B. [--db]")] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="latency_ms, inference_time_ms. Repeatable. [latency_ms]"),
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(min=2, help="Requests of each side, when both are run now. [60]")
    ] = None,
    min_effect: Annotated[
        float, typer.Option(help="Smallest change that counts: 0.05 is 5 %.")
    ] = 0.05,
    alpha: Annotated[
        float, typer.Option(help="Chance of any false alarm, over all cells together.")
    ] = 0.01,
    across_machines: Annotated[
        bool, typer.Option("--across-machines", help="Compare what other machines measured.")
    ] = False,
    is_strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 3 when nothing is worse, but undecided.")
    ] = False,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a comment for a pull request.")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw it: .png, .svg or .html.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON on stdout, progress on stderr.")
    ] = False,
) -> None:
    """Say whether B is slower than A: two stored runs, or pipelines that are run now, in turns.

    Exit code: 0 nothing is worse, 1 something is, 2 usage or configuration, 3 undecided (with
    --strict), 130 interrupted.
    """
    from accelerate_core.cli.output import console, print_json

    from ..gate import showing
    from ..gate.rows import Terms

    terms = Terms(
        alpha=alpha,
        min_effect=min_effect,
        metrics=tuple(dict.fromkeys(metric or ("latency_ms",))),
    )
    if markdown is not None and not markdown.absolute().parent.is_dir():
        raise ConfigError("the folder is not there", where=f"--markdown {markdown}")
    drawn_to = None
    if picture is not None:
        from ..picturing.drawing import PICTURES, output_path

        drawn_to = output_path(picture, PICTURES, where="--picture")
    sides = _sides(old, new, settings or [], db, db_b or db)
    comparison = _compared(*sides, terms, repeats, across_machines)
    if markdown is not None:
        markdown.write_text(showing.markdown(comparison), encoding="utf-8")
    if drawn_to is not None:
        _draw(comparison, drawn_to)
    if as_json:
        print_json(showing.plain(comparison))
    else:
        out = console()
        out.print(showing.table(comparison))
        for line in (*showing.fine_print(comparison), showing.summary_line(comparison)):
            out.print(line)
    raise typer.Exit(_code(comparison, is_strict=is_strict))


def _draw(comparison: Comparison, path: Path) -> None:
    from accelerate_core.cli.output import warn

    from ..gate.rows import intervals
    from ..gate.showing import summary_line
    from ..picturing import drawing, plots

    plot = plots.comparison(intervals(comparison))
    if plot is None:
        warn(f"No row has an interval: {path.name} was not drawn.")
    else:
        drawing.save(path, [plot], "Comparison", summary_line(comparison))


def _sides(old: str, new: str, settings: list[str], db: Path, db_b: Path) -> tuple[Side, Side]:
    from ..gate.sides import changed, side

    if not settings:
        try:
            return side(old, db, "A"), side(new, db_b, "B")
        except StoreError as error:  # its exit code is that of a verdict
            info = error.info
            raise ConfigError(
                info.message, where=info.where, accepted=info.accepted, hint=info.hint
            ) from error
    if not old.endswith(".toml") or new != "latest":
        raise ConfigError("a setting is of one pipeline FILE.toml, A", where="--with")
    return side(old, db, "A"), changed(Path(old), settings)


def _compared(
    old: Side, new: Side, terms: Terms, repeats: int | None, across_machines: bool
) -> Comparison:
    """Run what is not stored, and compare."""
    import asyncio

    from accelerate_core.cli.interrupts import stoppable
    from accelerate_core.cli.output import warn
    from accelerate_core.config import Config
    from accelerate_core.measuring import provenance

    from ..gate import live
    from ..gate.matching import check_machines
    from ..gate.verdicts import compare as judged

    if not isinstance(old, Config) and not isinstance(new, Config):
        run = old.summary.run
        if run.id == new.summary.run.id:
            raise ConfigError(
                "A and B are the same run",
                where=f"run {short_id(run.id)}",
                hint="accel report --list shows the runs.",
            )
    fresh = [isinstance(one, Config) for one in (old, new)]
    if any(fresh) and not across_machines:  # before minutes are spent
        for one in (old, new):
            if not isinstance(one, Config):
                check_machines(one.summary.run.host, provenance.machine())

    async def measured(stop: asyncio.Event) -> tuple[RunSummary, RunSummary]:
        if isinstance(old, Config) and isinstance(new, Config):
            return await live.run_in_turns((old, new), repeats, stop, warn)
        return await _measured(old, stop), await _measured(new, stop)

    try:
        before, after = asyncio.run(stoppable(measured, warn))
    except asyncio.CancelledError:
        raise typer.Exit(INTERRUPTED) from None
    for summary, is_fresh in zip((before, after), fresh, strict=True):
        if is_fresh and summary.run.is_interrupted:
            warn("Interrupted: nothing is compared.")
            raise typer.Exit(INTERRUPTED)
    return judged(
        before,
        after,
        terms,
        is_interleaved=all(fresh),
        across_machines=across_machines,
        spreads=next(
            (one.spreads(terms.metrics) for one in (old, new) if not isinstance(one, Config)), None
        ),
    )


async def _measured(side: Side, stop: asyncio.Event) -> RunSummary:
    from accelerate_core.cli.output import warn
    from accelerate_core.config import Config

    from ..gate.live import run_fresh

    return await run_fresh(side, stop, warn) if isinstance(side, Config) else side.summary


def _code(comparison: Comparison, *, is_strict: bool) -> int:
    from ..gate.rows import Verdict

    if comparison.count(Verdict.WORSE):
        return 1
    return 3 if is_strict and comparison.count(Verdict.UNDECIDED) else 0
