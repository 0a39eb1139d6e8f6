# SPDX-License-Identifier: Apache-2.0
"""Words of users to questions: a length of time, the name of something measured."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from accelerate_core.errors import ConfigError, did_you_mean

from ..reading import Results

_RANGE = re.compile(r"(\d+(?:\.\d+)?)\s*([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

#: What names something measured, and its column in `webnn_webgpu_performance`.
NAMED = {"model": "model_name", "task": "model_type", "browser": "browser"}


def since(time_range: str, *, now: datetime | None = None, where: str = "time_range") -> datetime:
    """Return when a range like "7d", "24h", "30m" or "4w" began, in UTC without a zone.

    "all" began with the calendar. ConfigError for anything else, and for a range of nothing.
    """
    now = now or datetime.now(UTC).replace(tzinfo=None)
    if time_range == "all":
        return datetime.min
    match = _RANGE.fullmatch(time_range.strip())
    if match is None or not float(match[1]):
        raise ConfigError(
            f"{time_range!r} is no range of time",
            where=where,
            accepted=('"30m"', '"24h"', '"7d"', '"4w"', '"all"'),
        )
    try:
        return now - timedelta(**{_UNITS[match[2]]: float(match[1])})
    except OverflowError:
        return datetime.min


def check_names(results: Results, *, where: str = "", **names: str | None) -> None:
    """Raise ConfigError for a model, task or browser of which nothing is stored."""
    for kind, name in names.items():
        if name is None:
            continue
        column = NAMED[kind]
        rows = results.query(
            f"SELECT DISTINCT {column} FROM webnn_webgpu_performance"
            f" WHERE {column} IS NOT NULL ORDER BY 1"
        ).rows
        known = [row[0] for row in rows]
        if name not in known:
            raise ConfigError(
                f"nothing is stored of a {kind} {name!r}",
                where=where or kind,
                accepted=known or (f"nothing is stored yet that has a {kind}",),
                hint=did_you_mean(name, known),
            )
