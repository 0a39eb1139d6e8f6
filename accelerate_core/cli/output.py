# SPDX-License-Identifier: Apache-2.0
"""How the command speaks: JSON and results on stdout, all else on stderr."""

from __future__ import annotations

import json
import math
import sys
from typing import TYPE_CHECKING, Any

from ..errors import ErrorInfo

if TYPE_CHECKING:
    from rich.console import Console

#: Width where nobody says how wide the output is: a log file, a pipe.
PIPE_WIDTH = 100


def print_json(value: Any) -> None:
    """Print JSON data to stdout; NaN and infinities become strings."""
    print(json.dumps(_finite(value), indent=2, allow_nan=False, ensure_ascii=False))


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value


def console(*, is_stderr: bool = False) -> Console:
    """Return a console that takes text as it is; colours only where NO_COLOR and a tty allow."""
    import os

    from rich.console import Console

    stream = sys.stderr if is_stderr else sys.stdout
    is_sized = stream.isatty() or "COLUMNS" in os.environ
    return Console(
        stderr=is_stderr,
        width=None if is_sized else PIPE_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
    )


def print_error(info: ErrorInfo) -> None:
    """Print an error to stderr: what, where, what is accepted, what to do."""
    from rich.table import Table
    from rich.text import Text

    rows = (
        ("where", info.where),
        ("accepted", ", ".join(info.accepted)),
        ("hint", info.hint),
        ("retry", f"in {info.retry_after:g} s" if info.retry_after is not None else None),
    )
    known = [(label, text) for label, text in rows if text]
    out = console(is_stderr=True)
    out.print(Text.assemble(("error: ", "bold red"), info.message), soft_wrap=not out.is_terminal)
    if not out.is_terminal:
        # A log is searched line by line: nothing is wrapped in it.
        for label, text in known:
            out.print(Text(f"  {label}: {text}"), soft_wrap=True)
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column(overflow="fold")
    for label, text in known:
        grid.add_row(f"  {label}", text)
    out.print(grid)


def warn(text: str) -> None:
    """Print one line to stderr."""
    print(text, file=sys.stderr, flush=True)
