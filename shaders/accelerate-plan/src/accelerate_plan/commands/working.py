# SPDX-License-Identifier: Apache-2.0
"""Workers for commands: started, used, and gone with everything they wrote."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate_core.errors import ConfigError
from accelerate_core.types import Target

if TYPE_CHECKING:
    from accelerate_core.host import Host
    from accelerate_core.protocols import Worker
    from accelerate_core.types import ModelSpec

    from ..kernels import Device
    from ..program import Program

ACCEPTED = ("wgpu", "webgpu/plan:chromium", "webgpu/plan:firefox")


def plan_target(text: str, *, where: str) -> Target:
    """Return a target that replays plans; ConfigError for any other."""
    target = Target.parse(text)
    if target.is_pattern or not (target.backend == "wgpu" or target.engine == "plan"):
        raise ConfigError(f"{text} replays no plans", where=where, accepted=ACCEPTED)
    return target


@contextlib.asynccontextmanager
async def worker_of(host: Host, target: Target) -> AsyncIterator[Worker]:
    """Yield a worker for a target; BackendUnavailable where it is not to be had."""
    backend = host.create("backends", target.backend)
    try:
        worker = await backend.start(target, host.context)
        try:
            yield worker
        finally:
            await worker.close()
    finally:
        await backend.close()


@contextlib.contextmanager
def scratch_host(host: Host) -> Iterator[Host]:
    """Yield a host that keeps nothing: what is made to be measured is of no use to anybody.

    Browsers are where they always are.
    """
    from accelerate_core.host import Host

    with tempfile.TemporaryDirectory(prefix="accel-kernels-") as name:
        cache = Path(name, "cache")
        cache.mkdir()
        (cache / "browsers").symlink_to(host.context.cache_dir / "browsers")
        yield Host(cache_dir=cache, state_dir=Path(name, "state"))


def resolved(host: Host, reference: str, precision: str) -> ModelSpec:
    """Return the model of a reference, or of the path a user typed."""
    from accelerate_core.cli.bench import reference as to_reference

    return host.resolve_model(to_reference(reference), precision=precision)


def dimensions_of(host: Host, spec: ModelSpec, batch: int, sequence: int | None) -> dict[str, int]:
    """Return the sizes of a model's free dimensions, as its sample of these sizes has them."""
    from accelerate_models.inspection import sample_inputs

    from accelerate_core.measuring.numbers import bind_dimensions

    return bind_dimensions(spec, sample_inputs(spec, host.source(spec.source), batch, sequence))


def compiled(
    host: Host, target: Target, spec: ModelSpec, batch: int, sequence: int | None
) -> ModelSpec:
    """Return a model compiled for a target's adapter; Unsupported where no kernel does it."""
    import asyncio

    from ..devices import device_of
    from ..planning import plan_for

    dimensions = dimensions_of(host, spec, batch, sequence)

    async def device() -> Device:
        with scratch_host(host) as scratch:
            async with worker_of(scratch, target) as worker:
                return device_of(worker.info)

    return plan_for(spec, dimensions, asyncio.run(device()), host.context)


def program_of(host: Host, reference: str, batch: int, sequence: int | None) -> Program:
    """Return a model's steps, before variants are chosen; Unsupported where no kernel does it."""
    from ..fusions import fuse
    from ..importing import import_onnx
    from ..lowering import Lowering

    spec = resolved(host, reference, "fp32")
    sizes = dimensions_of(host, spec, batch, sequence)
    graph = import_onnx(spec, sizes, host.context.assets, host.context.cache_dir / "scratch")
    fuse(graph)
    return Lowering(graph).run()
