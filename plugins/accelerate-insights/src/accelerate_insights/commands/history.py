# SPDX-License-Identifier: Apache-2.0
"""`accel history`: what a model took over time, and where it changed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(rich_markup_mode=None)


@app.command()
def history(
    model: Annotated[
        str | None, typer.Argument(help="What runs call it; all models without.", metavar="MODEL")
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="latency_ms, memory_usage_mb, ... Repeatable.", show_default=False),
    ] = None,
    since: Annotated[str, typer.Option(help="How far back: 24h, 7d, 4w, all.")] = "30d",
    browser: Annotated[str | None, typer.Option(help="Of this browser only.")] = None,
    task: Annotated[str | None, typer.Option(help="Of models of this task only.")] = None,
    db: Annotated[Path, typer.Option(help="The database file.")] = Path("results.duckdb"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: points, trends.")] = False,
) -> None:
    """Show what was measured over time: a line for each series, changes of level marked with │.

    Exit code: 0, also when nothing was measured in that time; 2 usage, or an unknown name.
    """
    from accelerate_core.cli.output import console, print_json

    from ..advising.showing_history import print_history
    from ..advising.trends import Trends, trends
    from ..facade import Insights
    from .wording import as_typed

    with as_typed():
        found = Insights(db).get_performance_history(
            task, model=model, browser=browser, time_range=since, metrics=metric or ["latency_ms"]
        )
    analysed = Trends(time_range=since, trends=tuple(trends(found.series)))
    if as_json:
        print_json({**found.to_dict(), "trends": analysed.to_dict()["trends"]})
    elif not analysed.trends:
        typer.echo(f"Nothing was measured within {since}. Longer: --since all")
    else:
        print_history(console(), analysed.trends)
