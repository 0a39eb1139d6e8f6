# SPDX-License-Identifier: Apache-2.0
"""Models for sound, for detection, and with decoders: by the references, then natively on wgpu.

The checkpoints are small and random, with sizes that no kernel likes.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from accelerate_plan.fusions import fuse
from accelerate_plan.importing import import_onnx
from accelerate_plan.lowering import Lowering
from accelerate_plan.program import Program
from accelerate_plan.testing.numpy_executor import run_program

from accelerate_core.errors import ModelError
from accelerate_core.host import Host
from accelerate_core.measuring.numbers import bind_dimensions, relative_l2
from accelerate_core.protocols import Worker
from accelerate_core.types import LoadOptions, ModelSpec, Target

sys.path.insert(0, str(Path(__file__).parents[4]))
from tools import families

sys.path.pop(0)

if TYPE_CHECKING:
    from accelerate_core.types import Array

#: The parts of each; those of T5, BART and Whisper as a whole are their encoder and decoder.
PARTS = {
    "bart": ("encoder", "decoder"),
    "clap": ("audio",),
    "detr": ("model",),
    "detr-basic": ("model",),
    "llama": ("prefill", "decode"),
    "mistral": ("prefill", "decode"),
    "qwen2": ("prefill", "decode"),
    "t5": ("encoder", "decoder"),
    "wav2vec2": ("model",),
    "wav2vec2-layer": ("model",),
    "whisper": ("encoder", "decoder"),
}
LIMIT = 1e-5
SIZES = {
    "batch": 2,
    "sequence": 5,
    "decoder_sequence": 3,
    "past_sequence": 4,
    "total_sequence": 9,
    "samples": 400,
    "height": 39,
    "width": 50,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def host(folder: Path) -> Host:
    return Host(cache_dir=folder / "cache", state_dir=folder / "state")


@pytest.fixture(scope="module")
def workers(host: Host) -> Iterator[Mapping[str, Worker]]:
    """Our kernels through wgpu, and native CPU beside them."""

    async def start(name: str) -> Worker:
        worker: Worker = await host.create("backends", name).start(Target(name), host.context)
        return worker

    started = {name: asyncio.run(start(name)) for name in ("cpu", "wgpu")}
    yield started
    for worker in started.values():
        asyncio.run(worker.close())


@pytest.fixture(scope="module")
def specs(host: Host, folder: Path) -> Mapping[str, ModelSpec]:
    """Return every part by its name, like whisper/encoder."""
    found: dict[str, ModelSpec] = {}
    for name, parts in PARTS.items():
        families.checkpoints()[name](folder / name)
        for part in parts:
            found[f"{name}/{part}"] = host.resolve_model(f"dir:{folder / name}#{part}")
    return found


ALL = [f"{name}/{part}" for name, parts in PARTS.items() for part in parts]


def two_rows(spec: ModelSpec) -> dict[str, Array]:
    """Return random inputs, the second row two shorter where there is a mask.

    Decoders that continue are padded in front, all others behind.
    """
    rng = np.random.default_rng(3)
    continues = spec.family in ("llama", "mistral", "qwen2")
    values: dict[str, Array] = {}
    for one in spec.inputs:
        shape = [size if isinstance(size, int) else SIZES[size] for size in one.shape]
        if one.dtype == "float32":
            values[one.name] = rng.standard_normal(shape).astype(np.float32)
        elif "mask" in one.name:
            mask = np.ones(shape, np.int64)
            mask[1, :2] = 0
            values[one.name] = mask if continues else np.ascontiguousarray(mask[:, ::-1])
        elif one.name == "position_ids":
            places = np.arange(SIZES["past_sequence"], SIZES["total_sequence"])
            values[one.name] = np.stack([places, places - 2])
        else:
            values[one.name] = rng.integers(5, 30, shape)
    return values


def program_of(spec: ModelSpec, sizes: Mapping[str, int], host: Host, scratch: Path) -> Program:
    graph = import_onnx(spec, sizes, host.context.assets, scratch)
    fuse(graph)
    return Lowering(graph).run()


async def run(worker: Worker, spec: ModelSpec, inputs: Mapping[str, Array]) -> dict[str, Array]:
    options = LoadOptions(dimensions=bind_dimensions(spec, inputs))
    handle = await worker.load(spec, options)
    result = await worker.run(handle, inputs)
    await worker.unload(handle)
    return {name: np.asarray(value) for name, value in result.outputs.items()}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("rows", [1, 2])
async def test_a_model_computes_what_native_cpu_does(
    name: str,
    rows: int,
    workers: Mapping[str, Worker],
    specs: Mapping[str, ModelSpec],
    host: Host,
    tmp_path: Path,
) -> None:
    spec = specs[name]
    one_row = families.inputs_of(host, spec.source, spec) if rows == 1 else None
    inputs = dict(one_row or two_rows(spec))
    wanted = await run(workers["cpu"], spec, inputs)
    sizes = bind_dimensions(spec, inputs)
    check(run_program(program_of(spec, sizes, host, tmp_path), inputs), wanted)
    check(await run(workers["wgpu"], spec, inputs), wanted)


def check(found: Mapping[str, Array], wanted: Mapping[str, Array]) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].shape == value.shape and found[name].dtype == value.dtype
        assert relative_l2({name: found[name]}, {name: value}) < LIMIT, name


def steps(spec: ModelSpec, sizes: Mapping[str, int], host: Host, scratch: Path) -> Counter[str]:
    return Counter(step.operation for step in program_of(spec, sizes, host, scratch).steps)


def test_convolutions_leave_nothing_to_be_turned(
    specs: Mapping[str, ModelSpec], host: Host, tmp_path: Path
) -> None:
    """Channels stay last from one convolution to the next, and to the encoder."""
    whisper = steps(specs["whisper/encoder"], {"batch": 2}, host, tmp_path)
    assert whisper == {"unfold": 2, "linear": 10, "binary": 1, "layer_norm": 5, "attention": 2}
    # What pools reads channels first: one turn before, and one for each that reads it.
    detr = {"batch": 1, "height": 32, "width": 42}
    assert steps(specs["detr-basic/model"], detr, host, tmp_path)["copy"] == 1


def test_a_decoder_is_the_dispatches_it_needs(
    specs: Mapping[str, ModelSpec], host: Host, tmp_path: Path
) -> None:
    sizes = {"batch": 1, "sequence": 1, "past_sequence": 7, "total_sequence": 8}
    counted = steps(specs["llama/decode"], sizes, host, tmp_path)
    # Three layers: a rotation for queries and one for keys, of angles that they share.
    assert counted["rotary"] == 6 and counted["attention"] == 3 and counted["rms_norm"] == 7
    assert counted.total() <= 61


async def test_a_model_of_signals_loads_before_their_length_is_known(
    workers: Mapping[str, Worker], specs: Mapping[str, ModelSpec]
) -> None:
    """One sample, which a backend may guess, is too short for it."""
    spec = specs["wav2vec2/model"]
    handle = await workers["wgpu"].load(spec)
    result = await workers["wgpu"].run(handle, two_rows(spec))
    await workers["wgpu"].unload(handle)
    check(result.outputs, await run(workers["cpu"], spec, two_rows(spec)))


def test_a_signal_too_short_for_a_frame_is_refused(
    specs: Mapping[str, ModelSpec], host: Host, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"too small: nothing is left of them"):
        program_of(specs["wav2vec2/model"], {"batch": 1, "samples": 9}, host, tmp_path)
