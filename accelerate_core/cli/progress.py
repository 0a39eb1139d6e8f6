# SPDX-License-Identifier: Apache-2.0
"""Show a run on stderr while it goes on: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .. import events
from .output import console, warn
from .table import result_line

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

#: While this phase lasts, nothing is drawn between two samples: it would be measured with them.
MEASURING = "measure"
_REDRAW_S = 0.1


class Progress:
    """Print a line when a cell begins and one when it is measured."""

    def __init__(self, *, is_continuing: bool = False) -> None:
        self._is_continuing = is_continuing
        self.total = 0
        self.done = 0

    def __call__(self, event: events.Event) -> None:
        """Take note of an event of the run."""
        match event:
            case events.RunStarted():
                self.total = len(event.cells)
                if event.measured:
                    began = f"{event.run.started_at:%Y-%m-%d %H:%M} UTC"
                    self.say(
                        f"Continuing run {event.run.id[:8]} of {began}: {event.measured} of "
                        f"{event.measured + self.total} cells are measured. --fresh starts anew."
                    )
                elif self._is_continuing:
                    self.say("Nothing to continue: no run of this configuration was cut short.")
            case events.CellStarted() if event.is_again:
                self.say(f"[again] {event.cell}")
            case events.CellStarted():
                self.began(event)
            case events.CellProgress():
                self.advanced(event)
            case events.MeasurementStored() if event.measurement.again_of:
                self.say(f"[again] {result_line(event.measurement)}")
            case events.MeasurementStored():
                self.done += 1
                self.stored(event)
            case events.WorkerGone() if event.error is not None:
                self.say(f"{event.target} was lost: {event.error.message}")

    def began(self, event: events.CellStarted) -> None:
        """Say which cell begins."""
        self.say(f"[{self.done + 1}/{self.total}] {event.cell}")

    def advanced(self, event: events.CellProgress) -> None:
        """Say nothing: a log needs no phases."""

    def stored(self, event: events.MeasurementStored) -> None:
        """Say what was measured."""
        self.say(f"[{self.done}/{self.total}] {result_line(event.measurement)}")

    def say(self, text: str) -> None:
        """Print a line."""
        warn(text)

    def tick(self) -> None:
        """Draw again, where there is something that moves."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class LiveProgress(Progress):
    """Print measured cells as lines, and below them what is going on."""

    def __init__(self, out: Console, *, is_continuing: bool = False) -> None:
        from rich.live import Live

        super().__init__(is_continuing=is_continuing)
        self._out = out
        self._cell: Any = None
        self._phase = ""
        self._of = ""
        self._started = self._cell_started = time.monotonic()
        self._drawn = 0.0
        # No thread of its own: it would take time from what is measured in this process.
        self._live = Live(self._picture(), console=out, auto_refresh=False, transient=True)
        self._live.start()

    def began(self, event: events.CellStarted) -> None:
        """Show the cell."""
        self._cell, self._phase, self._of = event.cell, "", ""
        self._cell_started = time.monotonic()
        self._draw()

    def advanced(self, event: events.CellProgress) -> None:
        """Show the phase; between samples only now and then."""
        self._phase = event.phase
        self._of = f" {event.done}/{event.total}" if event.total else ""
        if time.monotonic() - self._drawn > _REDRAW_S:
            self._draw()

    def stored(self, event: events.MeasurementStored) -> None:
        """Print the result above the bar; the bar ends with the last cell."""
        self.say(result_line(event.measurement))
        if self.done == self.total:
            self.close()

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        from rich.text import Text

        self._out.print(Text(text))

    def tick(self) -> None:
        """Let the clock go on, unless that would disturb a measurement."""
        if self._phase != MEASURING:
            self._draw()

    def close(self) -> None:
        """Remove the bar."""
        self._live.stop()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        self._live.update(self._picture(), refresh=True)

    def _picture(self) -> RenderableType:
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        now = time.monotonic()
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(total=max(1, self.total), completed=self.done, width=24),
            f"{self.done}/{self.total} cells" if self.total else "looking what is here",
            _clock(now - self._started),
        )
        if self._cell is None:
            return bar
        doing = f"{self._phase}{self._of} {_clock(now - self._cell_started)}"
        cell = Text(str(self._cell), no_wrap=True, overflow="ellipsis")
        line = Table.grid(padding=(0, 2), expand=True)
        line.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        line.add_column(justify="right", no_wrap=True)
        line.add_row(cell, Text(doing, style="dim"))
        return Group(line, bar)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"


def make_progress(*, is_continuing: bool) -> Progress:
    """Return what suits stderr; a run that `is_continuing` says also that there was nothing."""
    out = console(is_stderr=True)
    if out.is_terminal:
        return LiveProgress(out, is_continuing=is_continuing)
    return Progress(is_continuing=is_continuing)
