# SPDX-License-Identifier: Apache-2.0
"""A fleet's status as a picture for the terminal; it is readable in 80 columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..metrics import Percentiles
from ..status import Status
from .output import console

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

NOTHING = "Nothing runs here. In another terminal: accel run pipeline.toml"
_STYLES = {
    "healthy": "green",
    "degraded": "yellow",
    "unhealthy": "bold red",
    "closed": "dim",
    "ready": "green",
    "busy": "bold green",
    "starting": "cyan",
    "suspect": "yellow",
    "quarantined": "red",
    "draining": "dim",
}


def picture(statuses: Sequence[Status]) -> RenderableType:
    """Return every fleet, one below the other."""
    from rich.console import Group
    from rich.text import Text

    if not statuses:
        return Text(NOTHING)
    parts: list[RenderableType] = []
    for index, status in enumerate(statuses):
        if index:
            parts.append(Text())
        parts += [_heading(status), *map(_reason, status.health.reasons), _counts(status)]
        if status.health.workers:
            parts.append(_workers(status))
    return Group(*parts)


@contextmanager
def live(read: Callable[[], Sequence[Status]], *, every_s: float = 1.0) -> Iterator[None]:
    """Show on stderr what `read` returns, again and again, while the block runs."""
    from rich.live import Live

    with Live(
        get_renderable=lambda: picture(read()),
        console=console(is_stderr=True),
        refresh_per_second=1 / every_s,
        transient=True,
        # What is logged or printed meanwhile goes above the picture.
        redirect_stdout=True,
        redirect_stderr=True,
    ):
        yield


def _heading(status: Status) -> Text:
    from rich.text import Text

    up = clock((status.at - status.started_at).total_seconds())
    verdict = status.health.status
    return Text.assemble(
        (status.name, "bold"),
        f"  pid {status.pid}  up {up}  ",
        (verdict, _STYLES[verdict]),
        no_wrap=True,
        overflow="ellipsis",
    )


def _reason(text: str) -> Text:
    from rich.text import Text

    return Text(f"  {text}", style="yellow", no_wrap=True, overflow="ellipsis")


def _counts(status: Status) -> Table:
    from rich.table import Table

    jobs, workers = status.jobs, status.workers
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    failed = sum(jobs.failed.values())
    grid.add_row(
        "  jobs",
        f"{jobs.pending} pending  {jobs.answered} answered  {failed} failed{_by(jobs.failed)}"
        f"  {jobs.cancelled} cancelled",
    )
    lost_attempts = sum(jobs.failed_attempts.values())
    if lost_attempts or jobs.hedges or jobs.degradations:
        grid.add_row(
            "  attempts",
            f"{jobs.attempts} made  {jobs.retries} retries  {jobs.hedges} hedges  "
            f"{jobs.failovers} failovers  {jobs.degradations} degraded",
        )
    if jobs.duration is not None:
        grid.add_row("  latency", _percentiles(jobs.duration))
    if jobs.wait is not None:
        grid.add_row("  waited", _percentiles(jobs.wait))
    busy = "" if workers.utilisation is None else f"  {workers.utilisation:.0%} of slots taken"
    mends = f"  {sum(workers.mends.values())} mended" if workers.mends else ""
    lost = sum(workers.losses.values())
    grid.add_row("  workers", f"{workers.live} live  {lost} lost{_by(workers.losses)}{mends}{busy}")
    return grid


def _workers(status: Status) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), expand=True)
    # Only the last column gives way.
    longest = min(34, max(len(one.id) for one in status.health.workers))
    table.add_column("  worker", overflow="ellipsis", no_wrap=True, min_width=longest + 2)
    table.add_column("state", no_wrap=True, min_width=8)
    table.add_column("jobs", justify="right", no_wrap=True, min_width=4)
    table.add_column("epoch", justify="right", no_wrap=True, min_width=5)
    table.add_column("age", justify="right", no_wrap=True, min_width=4)
    table.add_column("models, or what it does", overflow="ellipsis", no_wrap=True, ratio=1)
    for one in status.health.workers:
        table.add_row(
            f"  {one.id}",
            Text(one.state, style=_STYLES.get(one.state, "")),
            f"{one.jobs}/{one.slots}",
            str(one.epoch),
            clock(one.age_s),
            one.doing or ", ".join(map(_short, one.models)) or "-",
        )
    return table


def _short(model: str) -> str:
    """Return the last part of a reference: the rest is the same for most."""
    return model.rstrip("/").rpartition("/")[2] or model


def _by(counts: Mapping[str, int]) -> str:
    if not counts:
        return ""
    most = sorted(counts.items(), key=lambda item: -item[1])[:2]
    return " (" + ", ".join(f"{name} {count}" for name, count in most) + ")"


def _percentiles(of: Percentiles) -> str:
    return "  ".join(
        f"{word} {value:,.{0 if value >= 100 else 1}f} ms"
        for word, value in (("p50", of.p50_ms), ("p90", of.p90_ms), ("p99", of.p99_ms))
    )


def clock(seconds: float) -> str:
    """Return a length of time as 0:42 or 1:02:03."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
