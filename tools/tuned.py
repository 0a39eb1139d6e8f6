# SPDX-License-Identifier: Apache-2.0
"""Tune on several adapters and write into `docs/engine.md` where they choose differently.

`python -m tools.tuned [OPERATION ...]`; all operations take half an hour. What was measured is kept
nowhere else.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

import attrs
from accelerate_plan.catalogue import Catalogue, load_catalogue
from accelerate_plan.choosing import choice
from accelerate_plan.commands.working import scratch_host, worker_of
from accelerate_plan.devices import device_of
from accelerate_plan.kernels import Device
from accelerate_plan.showing import constants_text
from accelerate_plan.tuning import speed_workloads, tune
from accelerate_plan.tuning_book import Book, sizes_of
from accelerate_plan.workload import Workload

from accelerate_core.host import Host
from accelerate_core.types import Target

from . import engine

TARGETS = ("webgpu/plan:chromium", "webgpu/plan:firefox")


@attrs.frozen
class Adapter:
    """What was measured on one adapter."""

    device: Device
    book: Book


async def measure(host: Host, text: str, catalogue: Catalogue, names: list[str]) -> Adapter:
    """Return the book of a target's adapter, made anew."""
    async with worker_of(host, Target.parse(text)) as worker:
        device = device_of(worker.info)
        workloads = speed_workloads(catalogue, names)
        book = Book(device.adapter)
        async for one in tune(worker, catalogue, workloads, host.context):
            print(f"{text} {one.workload.operation} {one.workload.label}", file=sys.stderr)
            book = book.with_entries(one.entries)
        return Adapter(device, book)


def table(catalogue: Catalogue, names: list[str], adapters: list[Adapter]) -> str:
    """Return the steps that get different variants, and what the other's choice would cost."""
    heads = ["operation", "case", *(f"`{one}`" for one in TARGETS)]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    steps = list(speed_workloads(catalogue, names))
    different = 0
    for one in steps:
        kernel = catalogue.kernel(one.operation)
        chosen = [choice(each.book, kernel, one.step(), each.device) for each in adapters]
        labels = [_label(each.variant.name, each.constants) for each in chosen]
        if None in [each.measured_ms for each in chosen] or len(set(labels)) == 1:
            continue
        different += 1
        cells = [
            f"{labels[i]} {_ms(each, one, labels[i])}; {_others(each, one, labels, i)}"
            for i, each in enumerate(adapters)
        ]
        lines.append(f"| `{one.operation}` | {one.label} | " + " | ".join(cells) + " |")
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    lines.append(
        f"\n{different} of {len(steps)} speed cases; all others got the same, or only one variant "
        f"can do them. Made on {day} by `python -m tools.tuned`, "
        f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the end."
    )
    return "\n".join(lines)


def _others(adapter: Adapter, one: Workload, labels: list[str], own: int) -> str:
    label = labels[1 - own]
    return f"{label} {_ms(adapter, one, label)}"


def _ms(adapter: Adapter, one: Workload, label: str) -> str:
    for entry in adapter.book.entries:
        is_same = entry.operation == one.operation and entry.sizes == sizes_of(one.params)
        if is_same and _label(entry.variant, entry.constants) == label:
            return f"{entry.best_ms:.3g} ms"
    return "cannot"


def _label(variant: str, constants: Mapping[str, float]) -> str:
    text = constants_text(constants)
    return f"`{variant}`" + (f" ({text})" if text else "")


async def run(names: list[str]) -> str:
    """Return the table of all targets."""
    host = Host()
    catalogue = load_catalogue(host)
    with scratch_host(host) as scratch:
        adapters = [
            await measure(scratch, text, catalogue, names or sorted(catalogue.kernels))
            for text in TARGETS
        ]
    return table(catalogue, names or sorted(catalogue.kernels), adapters)


def main() -> int:
    """Write the section of the page."""
    made = asyncio.run(run(sys.argv[1:]))
    text = engine.PAGE.read_text(encoding="utf-8")
    engine.PAGE.write_text(engine.replaced(text, "tuning", made), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
