# SPDX-License-Identifier: Apache-2.0
"""A program becomes a plan that keeps WebGPU's rules, or is refused with the step's name."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from accelerate_plan.arena import peak_bytes
from accelerate_plan.assemble import ALIGNMENT, Assembled, assemble
from accelerate_plan.catalogue import Catalogue
from accelerate_plan.choosing import guess
from accelerate_plan.kernels import Binding, Device, Kernel, Variant
from accelerate_plan.packing import layout_of
from accelerate_plan.plan import Plan, Slice
from accelerate_plan.program import ProgramBuilder
from hypothesis import given, settings
from hypothesis import strategies as st

from accelerate_core.errors import PluginError, Unsupported


def kernel(name: str, *bindings: Binding, **variant: Any) -> Kernel:
    made = Variant(name="only", source=f"// {name}", grid=("count / 64", "1", "1"), **variant)
    return Kernel(
        operation=name,
        summary=name,
        tolerance=1e-6,
        bindings=bindings,
        params={"count": "u32"},
        variants=(made,),
    )


X, Y = Binding(name="x", role="input"), Binding(name="y", role="output")
W = Binding(name="w", role="constant", layout="columns16")
KERNELS = [
    kernel("unary", X, Y),
    kernel("binary", X, Binding(name="x2", role="input"), Y),
    kernel("linear", X, W, Binding(name="bias", role="constant", optional=True), Y),
    kernel("extra", X, Binding(name="residual", role="input", optional=True), Y),
    kernel("special", X, Y, specialise=("count",)),
]
CATALOGUE = Catalogue(
    {one.operation: one for one in KERNELS}, {}, {one.operation: "test" for one in KERNELS}
)


def assembled(builder: ProgramBuilder, device: Device | None = None, **about: Any) -> Assembled:
    return assemble(builder.finish(), CATALOGUE, device or Device(), guess, about=about)


def weights_file(made: Assembled) -> bytes:
    return b"".join(made.weight_parts())


class Builder(ProgramBuilder):
    """Steps whose params are no matter here."""

    def do(self, operation: str, shape: Sequence[int] = (64,), **operands: str) -> str:
        y = self.tensor(shape)
        self.step(operation, {**operands, "y": y}, {"count": 64}, label=f"the {operation}")
        return y


@pytest.fixture
def builder() -> Builder:
    return Builder("made")


def check_rules(made: Assembled, device: Device) -> None:
    """Check what an interpreter relies on, and what WebGPU refuses."""
    plan = made.plan
    for one in plan.buffers:
        assert 0 < one.size <= device.limit("maxBufferSize") and one.size % 4 == 0
        if one.role == "constants":
            assert plan.params_bytes <= one.offset <= len(plan.data) - one.size
        if one.role == "weights":
            assert one.offset + one.size <= plan.weights_bytes
    assert plan.params_bytes % ALIGNMENT == 0
    assert len(weights_file(made)) == plan.weights_bytes
    for dispatch in plan.dispatches:
        offset, size = dispatch.params
        assert offset % ALIGNMENT == 0 and offset + size <= plan.params_bytes
        ways: dict[int, str] = {}
        accesses = plan.pipelines[dispatch.pipeline].bindings
        writable = []
        for place, access in zip(dispatch.bindings, accesses, strict=True):
            check_place(plan, place)
            assert 0 < place.size <= device.limit("maxStorageBufferBindingSize")
            assert place.offset % ALIGNMENT == 0 and place.size % 16 == 0
            assert ways.setdefault(place.buffer, access) == access, "one buffer, two ways"
            if access == "read_write":
                writable.append((place.buffer, place.offset, place.offset + place.size))
        writable.sort()
        for (a, _, end), (b, start, _) in itertools.pairwise(writable):
            assert a != b or end <= start, "two writable bindings overlap"
    for slot in (*plan.inputs, *plan.outputs):
        check_place(plan, slot.place)


def check_place(plan: Plan, place: Slice) -> None:
    assert place.offset >= 0 and place.offset + place.size <= plan.buffers[place.buffer].size


# --- whole programs -------------------------------------------------------------------------------


@st.composite
def programs(draw: st.DrawFn) -> Builder:
    builder = Builder("random")
    sizes = st.integers(1, 3000)
    tensors = [builder.input("in", "float32", (draw(sizes),))]
    weights = [
        builder.constant(np.full((draw(st.integers(1, 20)), 16), number % 2, np.float32))
        for number in range(draw(st.integers(1, 4)))
    ]
    for _ in range(draw(st.integers(1, 20))):
        operation = draw(st.sampled_from(["unary", "binary", "linear", "extra"]))
        operands = {"x": draw(st.sampled_from(tensors))}
        others = [one for one in tensors if one != operands["x"]]
        if operation == "binary":
            if not others:
                continue
            operands["x2"] = draw(st.sampled_from(others))
        if operation == "linear":
            operands["w"] = draw(st.sampled_from(weights))
            if draw(st.booleans()):
                operands["bias"] = draw(st.sampled_from(weights))
        if operation == "extra" and others and draw(st.booleans()):
            operands["residual"] = draw(st.sampled_from(others))
        tensors.append(builder.do(operation, (draw(sizes),), **operands))
    for number, one in enumerate(draw(st.lists(st.sampled_from(tensors), min_size=1, max_size=3))):
        builder.output(f"out{number}", "float32", one)
    return builder


@settings(max_examples=60)
@given(programs(), st.sampled_from([1 << 14, 1 << 15, 1 << 28]))
def test_every_plan_keeps_the_rules(builder: Builder, limit: int) -> None:
    device = Device(limits={"maxBufferSize": limit, "maxStorageBufferBindingSize": limit})
    made = assembled(builder, device)
    check_rules(made, device)
    assert len(made.plan.dispatches) == len(builder.steps)
    tensors = {row[0]: row[1:] for row in made.plan.about["tensors"]}
    for slot, port in zip(made.plan.outputs, builder.outputs, strict=True):
        buffer, offset, *_ = tensors[port.tensor]
        assert (slot.place.buffer, slot.place.offset) == (buffer, offset)


@settings(max_examples=60)
@given(programs())
def test_nothing_that_is_still_read_is_overwritten(builder: Builder) -> None:
    """Replay on paper: which tensor does each byte range hold when a step reads it?"""
    plan = assembled(builder).plan
    places = {name: (buffer, start) for name, buffer, start, *_ in plan.about["tensors"]}
    holds: dict[int, list[tuple[int, int, str]]] = {}

    def write(name: str) -> None:
        buffer, start = places[name]
        end = start + builder.tensors[name].size_bytes
        kept = [one for one in holds.get(buffer, []) if one[1] <= start or end <= one[0]]
        holds[buffer] = [*kept, (start, end, name)]

    def read(name: str) -> None:
        buffer, start = places[name]
        assert any(one[0] == start and one[2] == name for one in holds[buffer]), name

    for port in builder.inputs:
        write(port.tensor)
    for step in builder.steps:
        for operand, name in step.operands.items():
            if operand != "y" and name in builder.tensors:
                read(name)
        write(step.operands["y"])
    for port in builder.outputs:
        read(port.tensor)


# --- constants ------------------------------------------------------------------------------------


def test_equal_weights_are_kept_once(builder: Builder) -> None:
    x = builder.input("x", "float32", (64,))
    same = [builder.constant(np.ones((4, 16), np.float32)) for _ in range(2)]
    other = builder.constant(np.ones((16, 4), np.float32))  # the same bytes, another shape
    y = builder.do("linear", x=x, w=same[0])
    y = builder.do("linear", x=y, w=same[1])
    builder.output("y", "float32", builder.do("linear", x=y, w=other))
    made = assembled(builder)
    check_rules(made, Device())
    first, second, third = (one.bindings[1] for one in made.plan.dispatches)
    assert first == second != third
    layout = layout_of("columns16")
    assert made.plan.weights_bytes == layout.size_bytes((4, 16)) + layout.size_bytes((16, 4))
    assert weights_file(made)[first.offset :][: first.size] == layout.pack(np.ones((4, 16)))


def test_weights_are_split_and_none_is_cut(builder: Builder) -> None:
    x = builder.input("x", "float32", (64,))
    for number in range(5):  # of 1 KiB each
        w = builder.constant(np.full((16, 16), number, np.float32))
        x = builder.do("linear", x=x, w=w)
    builder.output("y", "float32", x)
    device = Device(limits={"maxBufferSize": 2500, "maxStorageBufferBindingSize": 2048})
    made = assembled(builder, device)
    check_rules(made, device)
    weights = [one for one in made.plan.buffers if one.role == "weights"]
    assert [(one.offset, one.size) for one in weights] == [(0, 2048), (2048, 2048), (4096, 1024)]
    file = weights_file(made)
    for number, dispatch in enumerate(made.plan.dispatches):
        place = dispatch.bindings[1]
        start = made.plan.buffers[place.buffer].offset + place.offset
        values = np.frombuffer(file[start : start + place.size], np.float32)
        np.testing.assert_array_equal(values, number)


def test_small_constants_as_inputs_lie_in_the_data(builder: Builder) -> None:
    x = builder.input("x", "float32", (64,))
    ids = builder.constant(np.arange(6, dtype=np.int64))
    builder.output("y", "float32", builder.do("binary", x=x, x2=ids))
    made = assembled(builder)
    check_rules(made, Device())
    assert made.plan.weights_bytes == 0 and weights_file(made) == b""
    place = made.plan.dispatches[0].bindings[1]
    buffer = made.plan.buffers[place.buffer]
    data = made.plan.data[buffer.offset + place.offset :][:24]
    np.testing.assert_array_equal(np.frombuffer(data, np.int32), np.arange(6))


def test_one_constant_may_be_weight_and_input(builder: Builder) -> None:
    x = builder.input("x", "float32", (64,))
    shared = builder.constant(np.ones((4, 16), np.float32))
    y = builder.do("binary", x=x, x2=shared)
    builder.output("y", "float32", builder.do("linear", x=y, w=shared))
    check_rules(assembled(builder), Device())


# --- pipelines and params -------------------------------------------------------------------------


def test_equal_steps_share_pipeline_and_params(builder: Builder) -> None:
    x = builder.input("x", "float32", (64,))
    for _ in range(3):
        x = builder.do("unary", x=x)
    y = builder.tensor((64,))
    builder.step("unary", {"x": x, "y": y}, {"count": 63})
    builder.output("y", "float32", y)
    plan = assembled(builder, name="n").plan
    assert [one.name for one in plan.pipelines] == ["unary/only"]
    assert [one.params for one in plan.dispatches] == [(0, 16)] * 3 + [(256, 16)]
    assert plan.params_bytes == 512 and plan.about["name"] == "n"
    assert plan.dispatches[0].label == "the unary"


def test_specialised_params_are_constants_of_a_pipeline_each(builder: Builder) -> None:
    x = builder.input("x", "float32", (64,))
    for count in (64, 63, 64):
        y = builder.tensor((64,))
        builder.step("special", {"x": x, "y": y}, {"count": count})
        x = y
    builder.output("y", "float32", x)
    plan = assembled(builder).plan
    assert [dict(one.constants) for one in plan.pipelines] == [{"count": 64}, {"count": 63}]
    assert [one.pipeline for one in plan.dispatches] == [0, 1, 0]


def test_views_are_bound_where_they_begin(builder: Builder) -> None:
    x = builder.input("x", "float32", (256,))
    y = builder.do("unary", x=builder.view(x, (64,), 128))
    builder.output("y", "float32", y)
    builder.output("part", "float32", builder.view(y, (3,), 5))
    plan = assembled(builder).plan
    assert plan.dispatches[0].bindings[0].offset == plan.inputs[0].place.offset + 512
    y_place, part = (one.place for one in plan.outputs)
    assert (part.offset, part.size) == (y_place.offset + 20, 12)


def test_the_arena_is_no_larger_than_what_lives(builder: Builder) -> None:
    x = builder.input("x", "float32", (1024,))
    for _ in range(10):
        x = builder.do("unary", (1024,), x=x)
    builder.output("y", "float32", x)
    plan = assembled(builder).plan
    arena = sum(one.size for one in plan.buffers if one.role == "arena")
    assert arena == plan.about["peak_bytes"] == 2 * 4096


def test_empty_tensors_have_a_place(builder: Builder) -> None:
    """A cache before the first token: no elements, and a binding of none is no binding."""
    x = builder.input("past", "float32", (1, 0, 8))
    builder.output("y", "float32", builder.do("unary", (1, 0, 8), x=x))
    made = assembled(builder)
    check_rules(made, Device())
    assert made.plan.inputs[0].place.size == made.plan.outputs[0].place.size == 0


# --- what is refused ------------------------------------------------------------------------------

SMALL = Device(limits={"maxBufferSize": 1 << 16, "maxStorageBufferBindingSize": 1 << 12})


def twice(builder: Builder, x: str) -> None:
    builder.do("binary", x=x, x2=x)


def in_place(builder: Builder, x: str) -> None:
    builder.step("unary", {"x": x, "y": x}, {"count": 64}, label="the step")


def overlapping_views(builder: Builder, x: str) -> None:
    whole = builder.do("unary", (256,), x=x)
    views = [builder.view(whole, (128,), offset) for offset in (0, 64)]
    builder.do("binary", x=views[0], x2=views[1])


def no_operand(builder: Builder, x: str) -> None:
    builder.do("binary", x=x)


def unknown_operand(builder: Builder, x: str) -> None:
    builder.do("unary", x=x, z=x)


def unknown_operation(builder: Builder, x: str) -> None:
    builder.do("ternary", x=x)


def tensor_as_weight(builder: Builder, x: str) -> None:
    builder.do("linear", x=x, w=builder.do("unary", x=x))


def view_between(builder: Builder, x: str) -> None:
    whole = builder.do("unary", (256,), x=x)
    builder.do("unary", x=builder.view(whole, (64,), 3))


def wrong_params(builder: Builder, x: str) -> None:
    builder.step("unary", {"x": x, "y": builder.tensor((64,))}, {"rows": 1})


def empty_constant(builder: Builder, x: str) -> None:
    builder.do("binary", x=x, x2=builder.constant(np.zeros((0, 4), np.float32)))


def large_binding(builder: Builder, x: str) -> None:
    builder.do("unary", (2000,), x=x)


def large_weight(builder: Builder, x: str) -> None:
    builder.do("linear", x=x, w=builder.constant(np.ones((100, 16), np.float32)))


def large_tensor(builder: Builder, x: str) -> None:
    builder.output("much", "float32", builder.input("many", "float32", (20_000,)))


REFUSED: Mapping[Callable[[Builder, str], None], tuple[type[Exception], str]] = {
    twice: (PluginError, "x and x2 over the same memory"),
    in_place: (PluginError, "the step"),
    overlapping_views: (PluginError, "over the same memory"),
    no_operand: (PluginError, "x2"),
    unknown_operand: (PluginError, "no operands z"),
    unknown_operation: (PluginError, "ternary"),
    tensor_as_weight: (PluginError, "wants a constant as w"),
    view_between: (PluginError, "no multiple of 256"),
    wrong_params: (PluginError, "missing count"),
    empty_constant: (PluginError, "empty"),
    large_binding: (Unsupported, "the unary has 8000 bytes"),
    large_weight: (Unsupported, "linear.w of the linear has 6400 bytes"),
    large_tensor: (Unsupported, "many has 80000 bytes"),
}


@pytest.mark.parametrize("build", REFUSED, ids=lambda build: build.__name__)
def test_what_no_device_or_not_this_one_does_is_refused(
    builder: Builder, build: Callable[[Builder, str], None]
) -> None:
    error, words = REFUSED[build]
    x = builder.input("x", "float32", (64,))
    build(builder, x)
    with pytest.raises(error, match=words):
        assembled(builder, SMALL)


def test_the_peak_counts_inputs_and_outputs(builder: Builder) -> None:
    x = builder.input("x", "float32", (64,))
    builder.output("y", "float32", builder.do("unary", x=x))
    assert assembled(builder).plan.about["peak_bytes"] == 512
    assert peak_bytes([], 1) == 0
