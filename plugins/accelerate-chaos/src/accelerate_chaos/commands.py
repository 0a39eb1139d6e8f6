# SPDX-License-Identifier: Apache-2.0
"""`accel chaos`: inject real faults, and check that no request is lost, wrong or answered twice."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(rich_markup_mode=None)


@app.command()
def chaos(
    scenario: Annotated[
        str, typer.Argument(help="A fault, a scenario, or all.", metavar="SCENARIO")
    ],
    strategy: Annotated[
        list[str] | None, typer.Option(help="Recovery strategy, or all. Repeatable.")
    ] = None,
    browser: Annotated[
        list[str] | None, typer.Option(help="Browser to run on. Repeatable; first is best.")
    ] = None,
    backend: Annotated[str, typer.Option(help="Backend in the pages, or backend/engine.")] = "wasm",
    requests: Annotated[
        int | None, typer.Option(min=1, help="Requests of each row: 100, or 50 of all.")
    ] = None,
    rate: Annotated[float, typer.Option(min=0.01, help="Requests a second.")] = 20.0,
    deadline: Annotated[float, typer.Option(min=0.01, help="Seconds until one is late.")] = 5.0,
    every: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds between two faults: 3, or 2 of all.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Workers at once.")] = 3,
    size: Annotated[
        int | None,
        typer.Option(
            min=0, help="Longer runs: 64 products of such matrices. 96 of all, or 0, a tiny net."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model to run instead, by reference: file:, dir:, package:.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the schedule and of what it hits.")] = 0,
    db: Annotated[Path | None, typer.Option(help="Store rows in this DuckDB file.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a report, and its pictures beside it as PNG.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print rows as JSON.")] = False,
) -> None:
    """Inject real faults into real browsers, and check that no request is lost or wrong.

    Ctrl-C ends cleanly and keeps what was seen. Exit code: 0 every rule held, 1 one was broken,
    2 usage, 130 interrupted.
    """
    from .campaign import Wanted, execute

    is_all = scenario == "all"
    wanted = Wanted(
        scenario=scenario,
        strategies=tuple(strategy or ("immediate",)),
        browsers=tuple(browser or ("chromium",)),
        backend=backend,
        requests=requests or (50 if is_all else 100),
        rate=rate,
        deadline_s=deadline,
        every_s=every or (2.0 if is_all else 3.0),
        workers=workers,
        # What takes a moment can be hit by a fault; rows of `all` compare recoveries.
        size=size if size is not None else 96 if is_all else 0,
        model=model,
        seed=seed,
    )
    raise typer.Exit(execute(wanted, db=db, html=html, as_json=as_json))
