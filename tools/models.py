# SPDX-License-Identifier: Apache-2.0
"""Write `docs/models.md` from runs: `python -m tools.models`.

Every part of every family is built from a small random checkpoint and run on each of `TARGETS`. The
page's prose is `tools/models.md`; what is measured replaces its line `<!-- table -->`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import re
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from accelerate_core.errors import AccelerateError, WorkerLost
from accelerate_core.host import Host
from accelerate_core.measuring.numbers import bind_dimensions, relative_l2
from accelerate_core.protocols import Worker
from accelerate_core.types import LoadOptions, ModelSpec, Target, WorkerInfo

from . import families

if TYPE_CHECKING:
    from accelerate_core.types import Array

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/models.md"
TEMPLATE = Path(__file__).with_suffix(".md")
#: Firefox's software adapter (lavapipe) computes several times as fast as Chromium's.
TARGETS = ("cpu", "wasm:chromium-headless-shell", "webgpu:firefox", "webnn:chromium-headless-shell")
PRECISIONS = ("fp16", "int8")
#: As for every fp32 cell of a pipeline.
LIMIT = 1e-3
_RUNS = 5
_LACKING = re.compile(r"on the CPU would run: (.+)")


@attrs.frozen
class Cell:
    """Hold what one part did on one target: how far off, how fast; or why it does not run."""

    error: float | None = None
    time_ms: float | None = None
    reason: str | None = None

    def __str__(self) -> str:
        if self.reason is not None:
            return self.reason
        assert self.error is not None and self.time_ms is not None
        if self.error == 0:
            return f"{self.time_ms:.3g} ms"
        wrong = "" if self.error <= LIMIT else "**wrong** "
        return f"{wrong}{_number(self.error)}, {self.time_ms:.3g} ms"


@attrs.frozen
class Row:
    """Hold one part of one family."""

    family: str
    part: str
    against_transformers: float
    variants: tuple[str, ...]
    cells: tuple[Cell, ...]


@attrs.frozen
class Task:
    """Hold a part that is built, with its inputs and what transformers and native CPU answer."""

    family: str
    spec: ModelSpec
    variants: tuple[str, ...]  #: what each of `PRECISIONS` costs in accuracy, in words
    inputs: Mapping[str, Array]
    expected: Mapping[str, Array]


def build(host: Host, folder: Path) -> Iterator[Task]:
    """Yield every part of every family."""
    write = families.checkpoints()
    for family in families.builders():
        model = write[family](folder / family)
        for reference, spec in families.parts(host, folder / family):
            inputs = families.inputs_of(host, reference, spec)
            variants = tuple(_variant(host, reference, one) for one in PRECISIONS)
            yield Task(family, spec, variants, inputs, families.expected(model, spec, inputs))


def _variant(host: Host, reference: str, precision: str) -> str:
    """Return the largest error of a variant's outputs, or why there is none."""
    try:
        error = host.resolve_model(reference, precision=precision).metadata["error"]
    except AccelerateError as refused:
        return _reason(refused)
    distances = error["relative_l2"]
    return error["reason"] if distances is None else _number(max(distances.values()))


async def run(
    host: Host, tasks: list[Task], text: str, native: list[Mapping[str, Array]]
) -> tuple[list[Cell], WorkerInfo]:
    """Return a cell per task, and what ran them; the first target called fills `native`."""
    cells: list[Cell] = []
    async with contextlib.AsyncExitStack() as stack:
        worker = await stack.enter_async_context(_started(host, text))
        info = worker.info
        for index, task in enumerate(tasks):
            try:
                outputs, time_ms = await _measure(worker, task)
            except AccelerateError as error:
                cells.append(Cell(reason=_reason(error)))
                if isinstance(error, WorkerLost):
                    worker = await stack.enter_async_context(_started(host, text))
                continue
            finally:
                print(".", end="", flush=True, file=sys.stderr)
            if len(native) == index:
                native.append(outputs)
            cells.append(Cell(relative_l2(outputs, native[index]), time_ms))
    return cells, info


async def _measure(worker: Worker, task: Task) -> tuple[dict[str, Any], float]:
    options = LoadOptions(dimensions=bind_dimensions(task.spec, task.inputs))
    handle = await worker.load(task.spec, options)
    results = [await worker.run(handle, task.inputs) for _ in range(1 + _RUNS)]
    await worker.unload(handle)
    times = [one.phases.in_page_ms for one in results[1:]]
    return dict(results[0].outputs), statistics.median(t for t in times if t is not None)


@contextlib.asynccontextmanager
async def _started(host: Host, text: str) -> AsyncIterator[Worker]:
    target = Target.parse(text)
    backend = host.create("backends", target.backend)
    try:
        worker = await backend.start(target, host.context)
        try:
            yield worker
        finally:
            await worker.close()
    finally:
        await backend.close()


def _reason(error: AccelerateError) -> str:
    message = error.info.message
    if lacking := _LACKING.search(message):
        return f"lacks {lacking[1]}"
    return f"{type(error).__name__}: {message.splitlines()[0]}".replace("|", "\\|")


def _number(value: float) -> str:
    return "0" if value == 0 else f"{value:.1e}".replace("e-0", "e-")


def table(rows: list[Row], infos: list[WorkerInfo]) -> str:
    """Return what was measured, as Markdown."""
    heads = ["family", "part", "transformers", *(f"`{one}`" for one in (*TARGETS, *PRECISIONS))]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for row in rows:
        cells = " | ".join(map(str, (*row.cells, *row.variants)))
        error = _number(row.against_transformers)
        lines.append(f"| `{row.family}` | `{row.part}` | {error} | {cells} |")
    lines.append("")
    for text, info in zip(TARGETS, infos, strict=True):
        adapter = attrs.asdict(info.adapter) if info.adapter else {}
        device = " ".join(filter(None, adapter.values())) if text.startswith("webgpu") else ""
        kind = "in software" if info.is_software else f"on the {info.device_type}"
        runs = " ".join(filter(None, (info.target.browser, info.browser_version)))
        facts = ", ".join(filter(None, (runs, info.engine_version, device, kind)))
        lines.append(f"- `{text}`: {facts}")
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    lines.append(
        f"\nMade on {day} by `make families`: {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the end."
    )
    return "\n".join(lines)


async def measure() -> str:
    """Return the table of all parts on all targets."""
    with tempfile.TemporaryDirectory(prefix="families-") as name:
        folder = Path(name)
        # What is built here is of no use to anybody else; browsers are where they always are.
        cache = folder / "cache"
        cache.mkdir()
        (cache / "browsers").symlink_to(Host().context.cache_dir / "browsers")
        host = Host(cache_dir=cache, state_dir=folder / "state")
        tasks = list(build(host, folder))
        native: list[Mapping[str, Array]] = []
        columns, infos = [], []
        for text in TARGETS:
            cells, info = await run(host, tasks, text, native)
            columns.append(cells)
            infos.append(info)
    rows = [
        Row(
            task.family,
            task.spec.metadata["part"],
            relative_l2(native[index], task.expected),
            task.variants,
            tuple(column[index] for column in columns),
        )
        for index, task in enumerate(tasks)
    ]
    return table(rows, infos)


def main() -> int:
    """Write the page."""
    measured = asyncio.run(measure())
    page = TEMPLATE.read_text(encoding="utf-8").replace("<!-- table -->", measured)
    PAGE.write_text(page, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
