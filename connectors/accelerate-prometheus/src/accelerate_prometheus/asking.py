# SPDX-License-Identifier: Apache-2.0
"""Asks a Prometheus what was measured over time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from accelerate_core.errors import ConnectorError

from .access import Access
from .web import Client

#: Values that are asked for of each series; Prometheus gives at most 11,000.
_POINTS = 200
_HINTS = {
    400: "Give a metric as Prometheus calls it, with labels in braces where some are wanted.",
    404: "Set --url to where Prometheus is, without /api.",
}


@attrs.frozen(kw_only=True)
class Series:
    """Hold what one series was over time."""

    labels: Mapping[str, str]
    points: tuple[tuple[datetime, float], ...]  #: oldest first, UTC; never empty


def history(
    url: str, selector: str, since: timedelta, access: Access, *, now: datetime | None = None
) -> list[Series]:
    """Return the series of a selector, at most 200 values of each; ConnectorError.

    "Range queries" of Prometheus' HTTP API. Each value is the last of its part of the time, so that
    one measurement a day is found as well as one every second.
    """
    end = now or datetime.now(UTC)
    step_s = max(1, round(since.total_seconds() / _POINTS))
    client = Client(url, access, "prometheus")
    try:
        answer = client.send(
            "GET",
            "/api/v1/query_range",
            params={
                "query": f"last_over_time({selector}[{step_s}s])",
                "start": str((end - since).timestamp()),
                "end": str(end.timestamp()),
                "step": str(step_s),
            },
            hints=_HINTS,
        )
    finally:
        client.close()
    try:
        found = [_series(one) for one in answer.json()["data"]["result"]]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError):
        raise ConnectorError(
            "what answers is no Prometheus", where="prometheus", hint=_HINTS[404], retryable=False
        ) from None
    return [one for one in found if one.points]


def _series(one: Any) -> Series:
    points = (
        (datetime.fromtimestamp(moment, UTC), float(value)) for moment, value in one["values"]
    )
    return Series(
        labels={str(name): str(value) for name, value in one["metric"].items()},
        points=tuple(point for point in points if not math.isnan(point[1])),
    )
