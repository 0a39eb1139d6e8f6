# SPDX-License-Identifier: Apache-2.0
"""When to try again. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ..errors import ConnectorError

#: Seconds until the second try; each further pause is twice as long, up to the longest.
FIRST_S, LONGEST_S = 0.5, 300.0
#: Whoever asks for a longer pause, or an endless one, is asked again after this.
LONGEST_ASKED_S = 86_400.0
#: Answers that mean "not now": time-out, conflict of two writers, too early, too many, and 5xx.
_NOT_NOW = frozenset((408, 409, 423, 425, 429))
_MEANINGS = {
    400: "it does not understand the request",
    401: "it does not know who this is",
    403: "this may not be done with these credentials",
    404: "there is no such place",
    413: "the message is too large",
    429: "too many requests",
}


def pause_s(failures: int, luck: float, retry_after: float | None = None) -> float:
    """Return how long to wait after so many failures in a row; `luck` is from 0 to 1.

    Full jitter over the upper half (Brooker, "Exponential backoff and jitter", 2015): processes
    that failed together do not come back together. Never less than the other side asked for.
    """
    longest = min(LONGEST_S, FIRST_S * 2.0 ** min(failures - 1, 32))
    return max(longest * (0.5 + luck / 2), min(retry_after or 0.0, LONGEST_ASKED_S))


def refused(
    status: int,
    message: str,
    *,
    where: str,
    headers: Mapping[str, str] | None = None,
    hint: str | None = None,
    now: datetime | None = None,
) -> ConnectorError:
    """Return the typed error for an HTTP status, with what `Retry-After` asks for (RFC 9110)."""
    known = {name.lower(): value for name, value in (headers or {}).items()}
    meaning = _MEANINGS.get(status, "it failed" if status >= 500 else "it refused")
    return ConnectorError(
        f"answered {status}, {meaning}: {message}" if message else f"answered {status}, {meaning}",
        where=where,
        hint=hint,
        retryable=status in _NOT_NOW or status >= 500,
        retry_after=retry_after_s(known.get("retry-after"), now or datetime.now(UTC)),
    )


def retry_after_s(text: str | None, now: datetime) -> float | None:
    """Return the seconds that `Retry-After` says, a number or a date; None without."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
            seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
