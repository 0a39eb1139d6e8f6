# SPDX-License-Identifier: Apache-2.0
"""`accel recommend`: which browser, backend, precision and batch a model should use."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(rich_markup_mode=None)


@app.command()
def recommend(
    model: Annotated[
        str | None, typer.Argument(help="What runs call it; all models without.", metavar="MODEL")
    ] = None,
    task: Annotated[str | None, typer.Option(help="For all models of this task.")] = None,
    objective: Annotated[
        str, typer.Option(help="latency, throughput, memory, reliability or balanced.")
    ] = "latency",
    since: Annotated[str, typer.Option(help="How far back: 24h, 7d, 4w, all.")] = "30d",
    save: Annotated[
        bool, typer.Option("--save", help="Keep it in the table browser_recommendations.")
    ] = False,
    db: Annotated[Path, typer.Option(help="The database file.")] = Path("results.duckdb"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Rank browsers, backends, engines, precisions and batches by what was measured of them.

    What cannot be told apart from the best is "as good". Software adapters and hardware, and two
    machines, are never compared. Exit code: 0, also for "not enough data"; 2 usage, or an unknown
    name.
    """
    from accelerate_core.cli.output import console, print_json

    from ..advising.recommending import keep
    from ..advising.showing_recommendations import print_recommendations
    from ..facade import Insights
    from .wording import as_typed

    with as_typed():
        found = Insights(db).get_browser_recommendations(
            task, model=model, objective=objective, time_range=since
        )
    if save:
        from accelerate_duckdb.store import DuckDbStore

        store = DuckDbStore.open(db)
        try:
            keep(store, found)
        finally:
            store.close()
    if as_json:
        print_json(found.to_dict())
    elif not found.answers:
        typer.echo(
            f"Not enough data: nothing was measured within {since}. Further back: --since all"
        )
    else:
        print_recommendations(console(), found)
