# SPDX-License-Identifier: Apache-2.0
"""Where a model's time goes, kernel by kernel: totals, and a trace for chrome://tracing. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ..types import Cell, KernelTime

Profiles = Mapping[Cell, tuple[KernelTime, ...]]


@attrs.frozen(kw_only=True)
class KernelShare:
    """Sum up the dispatches of one kernel."""

    kernel: str
    count: int
    total_ms: float
    share: float  #: of all kernels' time, 0 to 1
    gflops_per_second: float | None  #: None where its operations were not counted


def by_kernel(profile: Sequence[KernelTime]) -> tuple[KernelShare, ...]:
    """Return the kernels of a run, the one that takes longest first."""
    groups: dict[str, list[KernelTime]] = {}
    for one in profile:
        groups.setdefault(one.kernel, []).append(one)
    whole_ms = sum(one.ms for one in profile)
    shares = (_share(kernel, group, whole_ms) for kernel, group in groups.items())
    return tuple(sorted(shares, key=lambda one: -one.total_ms))


def trace(profiles: Profiles) -> dict[str, Any]:
    """Return a trace in the Trace Event Format: a process per cell, an event per dispatch.

    Only durations are known, so the dispatches of a run are laid end to end.
    """
    events: list[dict[str, Any]] = []
    for number, (cell, profile) in enumerate(profiles.items(), 1):
        events.append(
            {"ph": "M", "name": "process_name", "pid": number, "args": {"name": str(cell)}}
        )
        at_us = 0.0
        for one in profile:
            event = {"name": one.kernel, "cat": "kernel", "ph": "X", "pid": number, "tid": 1}
            length_us = one.ms * 1e3
            told = {"label": one.label, "flops": one.flops}
            events.append({**event, "ts": at_us, "dur": length_us, "args": told})
            at_us += length_us
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def _share(kernel: str, group: Sequence[KernelTime], whole_ms: float) -> KernelShare:
    total_ms = sum(one.ms for one in group)
    counted = [one for one in group if one.flops]
    counted_ms = sum(one.ms for one in counted)
    return KernelShare(
        kernel=kernel,
        count=len(group),
        total_ms=total_ms,
        share=total_ms / whole_ms if whole_ms else 0.0,
        gflops_per_second=sum(one.flops for one in counted) / counted_ms / 1e6
        if counted_ms
        else None,
    )
