# SPDX-License-Identifier: Apache-2.0
"""Models become plans, once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from accelerate_plan import importing, planning, storing
from accelerate_plan.catalogue import load_catalogue
from accelerate_plan.choosing import guess
from accelerate_plan.compiler import compile_graph, uncovered
from accelerate_plan.fusions import fuse
from accelerate_plan.importing import import_onnx
from accelerate_plan.kernels import Device
from accelerate_plan.plan import Plan, read_plan
from accelerate_plan.planning import plan_for
from accelerate_plan.tuning_book import Book

from accelerate_core.errors import Unsupported
from accelerate_core.host import Host
from accelerate_core.types import ModelSpec

from .conftest import random

Make = Callable[..., ModelSpec]
DEVICE = Device(is_software=True)
TEXT = """(float[batch, 5] x) => (float[batch, 7] y)
{ a = MatMul(x, w)  b = Add(a, c)  y = Relu(b) }"""
CONSTANTS = {"w": random(5, 7), "c": random(7)}


def plan_of(spec: ModelSpec, host: Host) -> Plan:
    return read_plan(host.context.assets.path(spec.assets[0].sha256).read_bytes())


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the names of models that are really compiled."""
    names: list[str] = []
    before = importing.import_onnx

    def count(spec: ModelSpec, *others: Any) -> Any:
        names.append(spec.name)
        return before(spec, *others)

    monkeypatch.setattr(importing, "import_onnx", count)
    return names


def test_a_model_becomes_a_plan_with_its_weights(host: Host, model: Make) -> None:
    spec = model(TEXT, CONSTANTS)
    made = plan_for(spec, {"batch": 3, "unrelated": 4}, DEVICE, host.context)
    assert made.format == "plan" and made.name == spec.name and made.sha256 != spec.sha256
    assert [(one.name, one.dtype, one.shape) for one in (*made.inputs, *made.outputs)] == [
        ("x", "float32", (3, 5)),
        ("y", "float32", (3, 7)),
    ]
    plan = plan_of(made, host)
    assert [one.name for one in plan.pipelines] == ["linear/universal"]
    assert plan.weights_sha256 == made.assets[1].sha256
    assert plan.weights_bytes == made.assets[1].size_bytes > 4 * 7 * 6
    assert plan.about["dimensions"] == {"batch": 3} and plan.about["model"] == spec.sha256


def test_what_was_compiled_is_found_again(host: Host, model: Make, once: list[str]) -> None:
    spec = model(TEXT, CONSTANTS)
    first = plan_for(spec, {"batch": 3}, DEVICE, host.context)
    again = plan_for(attrs.evolve(spec, name="renamed"), {"batch": 3}, DEVICE, host.context)
    assert once == ["test"]
    assert again == attrs.evolve(first, name="renamed")


@pytest.mark.parametrize("what", ["sizes", "device", "compiler", "kernels", "measured"])
def test_whatever_a_plan_depends_on_makes_another(
    what: str, host: Host, model: Make, once: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = model(TEXT, CONSTANTS)
    plan_for(spec, {"batch": 3}, DEVICE, host.context)
    sizes, device = {"batch": 3}, DEVICE
    match what:
        case "sizes":
            sizes = {"batch": 4}
        case "device":
            device = attrs.evolve(DEVICE, limits={"maxBufferSize": 1 << 30})
        case "compiler":
            monkeypatch.setattr(planning, "_compiler", lambda: "another")
        case "kernels":
            catalogue = load_catalogue(host.context.plugins)
            linear = catalogue.kernels["linear"]
            changed = tuple(
                attrs.evolve(one, source=one.source + "// changed") for one in linear.variants
            )
            kernels = {**catalogue.kernels, "linear": attrs.evolve(linear, variants=changed)}
            other = attrs.evolve(catalogue, kernels=kernels)
            monkeypatch.setattr(planning, "load_catalogue", lambda _: other)
        case "measured":
            monkeypatch.setattr(Book, "digest", property(lambda _: "measured since"))
    plan_for(spec, sizes, device, host.context)
    assert len(once) == 2


def test_weights_of_two_sizes_are_kept_once(host: Host, model: Make) -> None:
    spec = model(TEXT, CONSTANTS)
    one, two = (plan_for(spec, {"batch": n}, DEVICE, host.context) for n in (2, 30))
    assert one.assets[1] == two.assets[1] and one.assets[0] != two.assets[0]


def test_weights_are_packed_for_the_first_size_only(
    host: Host, model: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed: list[str] = []
    store = storing.store_weights
    monkeypatch.setattr(
        storing, "store_weights", lambda made, to: (packed.append(""), store(made, to))[1]
    )
    for size in (2, 30):
        plan_for(model(TEXT, CONSTANTS), {"batch": size}, DEVICE, host.context)
    other = {name: value + 1 for name, value in CONSTANTS.items()}
    plan_for(model(TEXT, other), {"batch": 2}, DEVICE, host.context)
    assert len(packed) == 2


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("fault", ["gone", "damaged"])
def test_a_plan_whose_files_suffered_is_made_again(
    number: int, fault: str, host: Host, model: Make, once: list[str]
) -> None:
    spec = model(TEXT, CONSTANTS)
    first = plan_for(spec, {"batch": 3}, DEVICE, host.context)
    path = host.context.assets.path(first.assets[number].sha256)
    data = path.read_bytes()
    path.unlink()
    if fault == "damaged":
        path.write_bytes(bytes(len(data)))
    again = plan_for(spec, {"batch": 3}, DEVICE, host.context)
    assert again == first and len(once) == 2
    assert path.read_bytes() == data


@pytest.mark.parametrize("text", ["", "{}", '{"value": 1, "assets": []}', "\udcff"])
def test_an_index_that_suffered_is_made_again(
    text: str, host: Host, model: Make, once: list[str]
) -> None:
    spec = model(TEXT, CONSTANTS)
    first = plan_for(spec, {"batch": 3}, DEVICE, host.context)
    entries = sorted((host.context.cache_dir / "plans").iterdir())
    assert len(entries) == 2  # of the plan, and of its weights
    for entry in entries:
        entry.write_text(text, errors="surrogateescape")
    assert plan_for(spec, {"batch": 3}, DEVICE, host.context) == first
    assert len(once) == 2
    for entry in entries:
        assert json.loads(entry.read_text())["assets"]


def test_a_touched_file_with_the_same_bytes_is_still_good(
    host: Host, model: Make, once: list[str]
) -> None:
    spec = model(TEXT, CONSTANTS)
    made = plan_for(spec, {"batch": 3}, DEVICE, host.context)
    os.utime(host.context.assets.path(made.assets[1].sha256), (1, 1))
    plan_for(spec, {"batch": 3}, DEVICE, host.context)
    assert len(once) == 1


def test_operators_that_no_kernel_does_are_named(host: Host, model: Make, tmp_path: Path) -> None:
    spec = model(
        "(float[5] x) => (int64[1, n] y, float[5] z) { a = Relu(x)  y = NonZero(a)  z = Tanh(x) }"
    )
    graph = import_onnx(spec, {}, host.context.assets, tmp_path)
    fuse(graph)
    assert [operator for operator, _ in uncovered(graph)] == ["NonZero"]
    with pytest.raises(Unsupported, match=r"no kernel does NonZero \(1 of 3 nodes\)") as caught:
        plan_for(spec, {}, DEVICE, host.context)
    assert "model test, node y" in str(caught.value) and "auto" in str(caught.value)
    assert not (host.context.cache_dir / "plans").exists()


def test_a_weight_larger_than_a_binding_is_refused_by_name(
    host: Host, model: Make, tmp_path: Path
) -> None:
    spec = model(TEXT, CONSTANTS)
    graph = import_onnx(spec, {"batch": 1}, host.context.assets, tmp_path)
    device = attrs.evolve(DEVICE, limits={"maxStorageBufferBindingSize": 256})
    catalogue = load_catalogue(host.context.plugins)
    with pytest.raises(Unsupported, match=r"linear.w of .* has 320 bytes"):
        compile_graph(graph, catalogue, device, guess)


def test_half_weights_stay_halves(host: Host, model: Make) -> None:
    spec = model(
        "(float[3, 64] x) => (float[3, 64] y) "
        "{ a = Cast <to = 10> (x)  b = MatMul(a, w)  y = Cast <to = 1> (b) }",
        {"w": random(64, 64).astype(np.float16)},
        precision="fp16",
    )
    made = plan_for(spec, {}, DEVICE, host.context)
    plan = plan_of(made, host)
    assert [one.name.split("/")[0] for one in plan.pipelines] == ["linear_f16"]
    assert plan.weights_bytes == 2 * 64 * 64
