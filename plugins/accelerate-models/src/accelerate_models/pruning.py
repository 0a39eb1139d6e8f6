# SPDX-License-Identifier: Apache-2.0
"""Deciding what leaves the cache of models. No I/O.

The asset store is shared with whoever else is at work now. So what was used or written within the
last hour stays, unless all is to go.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import attrs

from accelerate_core.errors import ConfigError

from .kept import Download, Entry, StoredFile

#: Seconds for which nothing is removed.
SPARED_S = 3600.0

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_BYTES = {
    "": 1,
    **{unit: 1000**power for power, unit in enumerate(("B", "KB", "MB", "GB", "TB"))},
    **{unit: 1024**power for power, unit in enumerate(("KiB", "MiB", "GiB", "TiB"), start=1)},
}
_UNITS = {unit.lower(): size for unit, size in _BYTES.items()}
_NUMBER = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[A-Za-z]*)")


@attrs.frozen(kw_only=True)
class Policy:
    """Say what may go besides what is of no use any more."""

    older_than_s: float | None = None  #: models that nobody used for so long
    keep_bytes: int | None = None  #: models used longest ago, until no more than this is left
    is_all: bool = False


@attrs.frozen
class Kept:
    """Hold what the cache has, or what of it is to go."""

    entries: Sequence[Entry] = ()
    files: Sequence[StoredFile] = ()
    downloads: Sequence[Download] = ()

    @property
    def size_bytes(self) -> int:
        """Bytes of files and downloads; the entries themselves are small."""
        files = sum(one.size_bytes for one in self.files)
        return files + sum(one.size_bytes for one in self.downloads)


def plan(kept: Kept, policy: Policy, now: float) -> Kept:
    """Return what is to go: entries, and what no other entry refers to.

    Without a policy that is what is of no use: entries whose sources changed or whose assets are
    gone, and what belongs to nobody. `now` is in seconds since the epoch.
    """
    if policy.is_all:
        return kept
    spared_since = now - SPARED_S
    old_before = now - max(policy.older_than_s or 0.0, SPARED_S)
    unused = sorted(
        (one for one in kept.entries if one.used_at < spared_since), key=lambda one: one.used_at
    )
    removed = [
        one
        for one in unused
        if not one.is_current or (policy.older_than_s is not None and one.used_at < old_before)
    ]
    gone = _without(kept, removed, old_before, spared_since)
    if policy.keep_bytes is not None:
        for one in unused:
            if kept.size_bytes - gone.size_bytes <= policy.keep_bytes:
                break
            if one not in removed:
                removed.append(one)
                gone = _without(kept, removed, old_before, spared_since)
    return gone


def _without(kept: Kept, removed: Sequence[Entry], old_before: float, spared_since: float) -> Kept:
    """Return these entries with what only they refer to, and what nobody has used for long."""
    staying = [one for one in kept.entries if one not in removed]
    used = {asset.sha256 for one in staying for asset in one.assets}
    released = {asset.sha256 for one in removed for asset in one.assets}

    def is_used(download: Download) -> bool:
        return any(one.is_made_of(download.path) for one in staying)

    def limit(is_released: bool) -> float:
        return spared_since if is_released else old_before

    return Kept(
        tuple(removed),
        tuple(
            one
            for one in kept.files
            if one.sha256 not in used and one.written_at < limit(one.sha256 in released)
        ),
        tuple(
            one
            for one in kept.downloads
            if not is_used(one)
            and one.written_at < limit(any(gone.is_made_of(one.path) for gone in removed))
        ),
    )


def parse_age(text: str) -> float:
    """Return the seconds of `30d`, `12h`; ConfigError when it is no such time."""
    match = _NUMBER.fullmatch(text.strip())
    if match is None or match["unit"] not in _SECONDS:
        raise ConfigError(
            f"{text!r} is not a time",
            where="--older-than",
            accepted=("a number and one of s, m, h, d, w: 30d",),
        )
    return float(match["number"]) * _SECONDS[match["unit"]]


def parse_size(text: str) -> int:
    """Return the bytes of `5GB` or `512MiB`; ConfigError when it is no such size."""
    match = _NUMBER.fullmatch(text.strip())
    if match is None or match["unit"].lower() not in _UNITS:
        raise ConfigError(
            f"{text!r} is not a size",
            where="--keep",
            accepted=("a number and one of B, KB, MB, GB, TB, KiB, MiB, GiB, TiB: 5GB",),
        )
    return int(float(match["number"]) * _UNITS[match["unit"].lower()])
