# SPDX-License-Identifier: Apache-2.0
"""`accel chaos SCENARIO|all`."""

from __future__ import annotations

import typer

app = typer.Typer(invoke_without_command=True, subcommand_metavar="")


@app.callback()
def chaos() -> None:
    """Inject real faults into real browsers, and check that no request is lost or wrong."""
