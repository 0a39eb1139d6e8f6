# SPDX-License-Identifier: Apache-2.0
"""What was measured of variants, adapter by adapter: values, and the files they are kept in.

A file per adapter under `<state_dir>/tuning`, so that two browsers tuned at once lose nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import cattrs

from .kernels import Kernel, Variant
from .params import Value

_log = logging.getLogger("accelerate.plan")
_CONVERTER = cattrs.Converter(forbid_extra_keys=True)
VERSION = 1
_MINOR = re.compile("^has_|(stride|offset)$")
#: Sizes up to this one are kept apart; larger ones go to the nearest power of two.
_EXACT = 8
#: A step further away than this, in doublings summed over its sizes, was not measured.
_FAR = 3.0


@attrs.frozen(kw_only=True)
class Measured:
    """Hold how long one variant with certain constants took, at certain sizes, on an adapter."""

    adapter: str
    operation: str
    sizes: Mapping[str, int]  #: see `sizes_of`
    variant: str
    constants: Mapping[str, float]
    source: str  #: see `source_of`: another source was not measured
    best_ms: float  #: of one dispatch: what is chosen by
    median_ms: float
    spread: float  #: interquartile range over median
    samples: int
    method: Literal["timestamps", "wall"]
    measured_at: str  #: ISO 8601, UTC
    versions: Mapping[str, str]  #: browser, engine, accelerate-plan

    @property
    def what(self) -> tuple[Any, ...]:
        """What a later measurement of the same replaces."""
        constants = tuple(sorted(self.constants.items()))
        return (self.operation, tuple(sorted(self.sizes.items())), self.variant, constants)


@attrs.frozen
class Book:
    """Hold what was measured on one adapter."""

    adapter: str
    entries: tuple[Measured, ...] = ()

    def with_entries(self, entries: Iterable[Measured]) -> Book:
        """Return the book with more in it; what is measured again is replaced."""
        known = {one.what: one for one in (*self.entries, *entries)}
        return Book(self.adapter, tuple(known.values()))

    @property
    def digest(self) -> str:
        """Name all that a choice depends on: part of the key of a cached plan."""
        facts = sorted(
            json.dumps([one.what, one.source, one.best_ms], sort_keys=True) for one in self.entries
        )
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]

    def near(self, kernel: Kernel, params: Mapping[str, Value]) -> tuple[Measured, ...]:
        """Return what was measured at the sizes nearest to a step's, the fastest first.

        Nothing when all of it is far away, or of sources that have changed since.
        """
        sources = {one.name: source_of(one) for one in kernel.variants}
        wanted = sizes_of(params)
        by_distance: dict[float, list[Measured]] = {}
        for one in self.entries:
            if one.operation == kernel.operation and sources.get(one.variant) == one.source:
                by_distance.setdefault(_distance(one.sizes, wanted), []).append(one)
        nearest = min(by_distance, default=math.inf)
        if nearest > _FAR:
            return ()
        return tuple(sorted(by_distance[nearest], key=lambda one: one.best_ms))


def sizes_of(params: Mapping[str, Value]) -> dict[str, int]:
    """Return the class of a step: its integers, rounded, without what changes its time little."""
    return {
        name: _rounded(value)
        for name, value in params.items()
        if isinstance(value, int) and not _MINOR.search(name)
    }


def source_of(variant: Variant) -> str:
    """Return the name of a variant's WGSL."""
    return hashlib.sha256(variant.source.encode()).hexdigest()[:16]


def _rounded(value: int) -> int:
    return value if value <= _EXACT else 1 << round(math.log2(value))


def _distance(a: Mapping[str, int], b: Mapping[str, int]) -> float:
    if set(a) != set(b):
        return math.inf
    return sum(abs(math.log2(1 + abs(a[name])) - math.log2(1 + abs(b[name]))) for name in a)


# --- files ------------------------------------------------------------------------------------


def read_book(state_dir: Path, adapter: str) -> Book:
    """Return what is known of an adapter; an unreadable file is logged and counts as empty."""
    path = _path(state_dir, adapter)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["version"] != VERSION:
            return Book(adapter)
        return Book(adapter, tuple(_CONVERTER.structure(data["entries"], list[Measured])))
    except FileNotFoundError:
        return Book(adapter)
    except Exception as error:
        _log.warning("%s is ignored, it cannot be read: %s", path, error)
        return Book(adapter)


def write_book(state_dir: Path, book: Book) -> Path:
    """Keep a book and return its file; readers see the old one or the new one."""
    path = _path(state_dir, book.adapter)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {
        "version": VERSION,
        "adapter": book.adapter,
        "entries": _CONVERTER.unstructure(list(book.entries)),
    }
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(data, file, indent=1)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
    return path


def _path(state_dir: Path, adapter: str) -> Path:
    return state_dir / "tuning" / f"{hashlib.sha256(adapter.encode()).hexdigest()[:16]}.json"
