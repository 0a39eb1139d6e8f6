# SPDX-License-Identifier: Apache-2.0
"""Pictures out of a database, as a file: PNG, SVG, or a page that holds everything."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path

import attrs
import platformdirs
from accelerate_reports.plots import Plot

from accelerate_core.errors import ConfigError, StoreError

from ..reading import Results, Where, check_metrics, read_series
from ..values import METRICS, Series
from . import plots
from .gathering import Line, lines, quantiles, speeds, spots
from .known import Known, detected, merged, stored
from .ratings import Speed

#: By the end of the file's name.
PICTURES = (".png", ".svg", ".html")
#: Changes are looked for in this many series, those that moved most, and their latest points.
LOOKED_AT = 60
_LOOKED_BACK = 240
#: A series of fewer points has no levels that could be told apart.
_FEWEST = 6


@attrs.frozen(kw_only=True)
class Gathered:
    """Hold what pictures and reports are made of."""

    since: datetime  #: UTC, without a zone
    lines: list[Line]
    known: list[Known]
    speeds: list[Speed]
    left_out: int  #: series in which no changes were looked for


def gather(results: Results, days: float, metrics: Sequence[str]) -> Gathered:
    """Ask for everything but points; changes are looked for where values moved most."""
    since = since_days(days)
    found = lines(results, since, metrics)
    worth = [line for line in found if line.count >= _FEWEST]
    worth.sort(key=lambda line: -abs(line.relative) / (line.variation + 0.01))
    looked_at = worth[:LOOKED_AT]
    return Gathered(
        since=since,
        lines=found,
        known=merged(stored(results, since), _look(results, since, looked_at)),
        speeds=speeds(results, since),
        left_out=len(worth) - len(looked_at),
    )


def _look(results: Results, since: datetime, looked_at: Sequence[Line]) -> list[Known]:
    if not looked_at:
        return []
    ids = {line.id for line in looked_at}
    latest: list[Series] = []
    for metric in dict.fromkeys(line.metric.name for line in looked_at):
        keys = tuple({line.key for line in looked_at if line.metric.name == metric})
        latest += [
            one
            for one in read_series(
                results, Where(since=since, series_keys=keys), (metric,), latest=_LOOKED_BACK
            )
            if (one.key, one.machine, metric) in ids
        ]
    return detected(latest)


def draw(results: Results, gathered: Gathered, metrics: Sequence[str]) -> list[Plot]:
    """Return every picture for which there is anything to draw, the most telling first."""
    of = {name: [one for one in gathered.lines if one.metric.name == name] for name in metrics}
    shown = {name: plots.chosen(mine, gathered.known) for name, mine in of.items() if mine}
    every = [line for mine in shown.values() for line in mine]
    # All metrics at once: going through a million measurements takes most of the time.
    at = spots(results, gathered.since, every) if every else {}
    spread = quantiles(results, gathered.since, every, plots.QUANTILES) if every else {}
    made: list[Plot | None] = []
    for name, mine in shown.items():
        left_out = len(of[name]) - len(mine)
        made.append(plots.over_time(mine, at, gathered.known, left_out))
        made.append(plots.distributions(mine, spread, left_out))
    made.append(plots.heat(gathered.speeds))
    for name in metrics:
        if name in ("throughput_items_per_second", "memory_usage_mb"):
            made.append(plots.by_batch(of[name]))
    return [plot for plot in made if plot is not None]


def create_performance_visualization(
    results: Results,
    metrics: Sequence[str] = ("latency_ms",),
    days: float = 30,
    output_file: str | Path = "performance.html",
    cache_dir: Path | None = None,
) -> Path:
    """Write a picture of the last `days` and return its path; see `Insights`."""
    names = check_metrics(metrics)
    path = output_path(output_file, PICTURES)
    gathered = gather(results, days, names)
    if not gathered.lines:
        raise StoreError(
            f"nothing was measured in the last {days:g} days: {', '.join(names)}",
            where="days",
            hint="Ask for more days, or for another metric.",
        )
    drawn = draw(results, gathered, names)
    title = f"{', '.join(METRICS[name].label for name in names)}: the last {days:g} days"
    title = title[0].upper() + title[1:]
    save(path, drawn, title, f"{len(gathered.lines)} series", cache_dir)
    return path


def save(
    path: Path, drawn: Sequence[Plot], title: str, subtitle: str, cache_dir: Path | None = None
) -> None:
    """Write plots to a file of one of `PICTURES`; ConfigError when it cannot be written."""
    match path.suffix:
        case ".png":
            from accelerate_reports.pictures import to_png

            data = to_png(drawn, title=title)
        case ".svg":
            from accelerate_reports.pictures import to_svg

            data = to_svg(drawn, title=title).encode()
        case _:
            from accelerate_reports.pages import render_page

            data = render_page(
                page_template("pictures.html.j2"),
                drawn,
                cache_dir=cache_dir or platformdirs.user_cache_path("accelerate"),
                values={"title": title, "subtitle": subtitle},
            ).encode()
    write(path, data)


def output_path(file: str | Path, endings: Sequence[str], where: str = "output_file") -> Path:
    """Return an absolute path; ConfigError when its ending says nothing or its folder is gone."""
    path = Path(file).expanduser().resolve()
    if path.suffix not in endings:
        raise ConfigError(
            f"the ending {path.suffix or 'of nothing'} names no format",
            where=f"{where} {str(file)!r}",
            accepted=endings,
        )
    if not path.parent.is_dir():
        raise ConfigError(
            "no such directory", where=str(path.parent), hint="Create it, or name another."
        )
    return path


def write(path: Path, data: bytes) -> None:
    """Write a file; ConfigError when it cannot be."""
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror}", where=str(path)) from error


def since_days(days: float) -> datetime:
    """Return when that was; ConfigError for what is no time."""
    if not 0 < days < math.inf:
        raise ConfigError(f"{days:g} is no time", where="days", accepted=("more than 0",))
    # More than a lifetime is all there is.
    return (datetime.now(UTC) - timedelta(days=min(days, 36_500))).replace(tzinfo=None)


def page_template(name: str) -> str:
    """Return a page's template."""
    return resources.files(__package__).joinpath("page", name).read_text(encoding="utf-8")
