# SPDX-License-Identifier: Apache-2.0
"""Measure what is worth measuring of steps, and return it for the book of an adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime
from importlib import metadata

import attrs

from accelerate_core.protocols import Context, Worker
from accelerate_core.types import WorkerInfo

from .catalogue import Catalogue
from .choosing import candidates
from .devices import device_of
from .measuring import Timing, measure
from .testing.cases import read_cases
from .tuning_book import Measured, sizes_of, source_of
from .workload import Workload, of_case


@attrs.frozen
class Tuned:
    """What was measured of one step: for people, and for the book."""

    workload: Workload
    timings: list[Timing]  #: the fastest first
    entries: list[Measured]


async def tune(
    worker: Worker, catalogue: Catalogue, workloads: Iterable[Workload], ctx: Context
) -> AsyncIterator[Tuned]:
    """Yield what each workload takes with each variant; one class of sizes is measured once.

    A step that only one variant can do is left out: nothing is to be chosen.
    """
    device = device_of(worker.info)
    known: set[tuple[str, tuple[tuple[str, int], ...]]] = set()
    for workload in workloads:
        kind = (workload.operation, tuple(sorted(sizes_of(workload.params).items())))
        choices = list(candidates(catalogue.kernel(workload.operation), workload.step(), device))
        if kind in known or len(choices) < 2:
            continue
        known.add(kind)
        timings = await measure(worker, catalogue, workload, choices, ctx)
        entries = [measured(workload, one, worker.info, device.adapter) for one in timings]
        yield Tuned(workload, timings, entries)


def measured(workload: Workload, timing: Timing, info: WorkerInfo, adapter: str) -> Measured:
    """Return a timing as an entry of the book."""
    variant = timing.choice.variant
    return Measured(
        adapter=adapter,
        operation=workload.operation,
        sizes=sizes_of(workload.params),
        variant=variant.name,
        constants=timing.choice.constants,
        source=source_of(variant),
        best_ms=timing.best_ms,
        median_ms=timing.median_ms,
        spread=timing.spread,
        samples=timing.samples,
        method=timing.method,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=_versions(info),
    )


def speed_workloads(catalogue: Catalogue, operations: Iterable[str]) -> Iterator[Workload]:
    """Yield the `speed` cases of operations."""
    for operation in operations:
        kernel = catalogue.kernel(operation)
        for case in read_cases(kernel, catalogue.folders[operation][0]):
            if case.speed:
                yield of_case(kernel, case)


def _versions(info: WorkerInfo) -> dict[str, str]:
    versions = {
        "accelerate-plan": metadata.version("accelerate-plan"),
        str(info.target): info.browser_version or info.engine_version,
    }
    return {name: one for name, one in versions.items() if one}
