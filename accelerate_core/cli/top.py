# SPDX-License-Identifier: Apache-2.0
"""`accel top`."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

app = typer.Typer(rich_markup_mode=None)


@app.command()
def top(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what runs now as JSON, once.")
    ] = False,
    every: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.2, help="How often the picture is drawn.")
    ] = 1.0,
) -> None:
    """Show the fleets that run here: their workers, jobs and health.

    Those are `accel run`, `accel bench` and programs that use the library, of the same user and
    state folder. Ctrl-C ends the view, not what it shows. Where the output is no terminal, what
    runs now is printed once.
    """
    from ..host import Host
    from ..serial import to_plain
    from ..status import read_all
    from .output import console, print_json
    from .top_view import live, picture

    folder = Host().context.state_dir
    if as_json:
        print_json([to_plain(one) for one in read_all(folder)])
    elif not (sys.stdout.isatty() and sys.stderr.isatty()):
        console().print(picture(read_all(folder)))
    else:
        try:
            with live(lambda: read_all(folder), every_s=every):
                while True:
                    time.sleep(3600)
        except KeyboardInterrupt:
            pass
