# SPDX-License-Identifier: Apache-2.0
"""Any measurement there can be. Apart from `values`: child processes do without hypothesis."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import attrs
from hypothesis import strategies as st

from accelerate_core.errors import ErrorInfo
from accelerate_core.types import (
    BROWSERS,
    PRECISIONS,
    TASKS,
    AdapterInfo,
    Cell,
    CellStatus,
    Measurement,
    Phases,
    Target,
    WorkerInfo,
)

_words = st.text(max_size=8)
_moments = st.datetimes(
    min_value=datetime(1970, 1, 2), max_value=datetime(2200, 1, 1), timezones=st.timezones()
)
# Infinity stays equal to itself, NaN does not: it has a test of its own.
_numbers = st.floats(allow_nan=False)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | _words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_words, inner, max_size=2),
    max_leaves=5,
)
_objects = st.dictionaries(_words, _json, max_size=2)


def _maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


_targets = st.builds(
    Target,
    st.sampled_from(["cpu", "wasm", "webgpu", "webnn"]),
    _maybe(st.sampled_from(["ort", "plan"])),
    _maybe(st.sampled_from(BROWSERS)),
)
_workers = st.builds(
    WorkerInfo,
    target=_targets,
    browser_version=_maybe(_words),
    engine_version=_maybe(_words),
    adapter=_maybe(
        st.builds(AdapterInfo, **{f.name: _maybe(_words) for f in attrs.fields(AdapterInfo)})
    ),
    features=st.lists(_words, max_size=2).map(tuple),
    limits=st.dictionaries(_words, st.integers(0, 2**63 - 1), max_size=2),
    is_software=_maybe(st.booleans()),
    is_simulated=st.booleans(),
    device_type=_maybe(_words),
    threads=_maybe(st.integers(0, 512)),
    memory_bytes=_maybe(st.integers(0, 2**40)),
    launch_ms=_maybe(_numbers),
    details=_objects,
)
measurements = st.builds(
    Measurement,
    id=_words,
    run_id=st.just("run-1"),
    cell=st.builds(
        Cell,
        model=_words,
        target=_targets,
        precision=st.sampled_from(PRECISIONS),
        batch_size=st.integers(1, 1024),
        sequence_length=_maybe(st.integers(1, 4096)),
    ),
    status=st.sampled_from(CellStatus),
    started_at=_moments,
    series_key=_words,
    connection_id=_maybe(_words),
    worker=_maybe(_workers),
    model_sha256=_maybe(_words),
    model_family=_maybe(_words),
    task=_maybe(st.sampled_from(TASKS)),
    is_required=st.booleans(),
    fell_back_from=_maybe(_targets),
    samples_ms=st.lists(_numbers, max_size=3).map(tuple),
    inference_samples_ms=st.lists(_numbers, max_size=3).map(tuple),
    phases=st.builds(Phases, **{f.name: _maybe(_numbers) for f in attrs.fields(Phases)}),
    latency_ms=_maybe(_numbers),
    inference_time_ms=_maybe(_numbers),
    throughput_items_per_second=_maybe(_numbers),
    memory_bytes=_maybe(st.integers(0, 2**40)),
    relative_l2=_maybe(_numbers),
    tolerance=_maybe(_numbers),
    error=_maybe(
        st.builds(
            ErrorInfo,
            kind=_words,
            message=_words,
            where=_maybe(_words),
            accepted=st.lists(_words, max_size=2).map(tuple),
        )
    ),
    is_cached=_maybe(st.booleans()),
    provenance=_objects,
)
