# SPDX-License-Identifier: Apache-2.0
"""From a program to a plan: choose variants, place tensors, lay out constants. No I/O."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import numpy as np

from accelerate_core.errors import PluginError, Unsupported

from . import params
from .arena import Life, peak_bytes, plan_arena
from .catalogue import Catalogue
from .kernels import Binding, Device, Kernel, Variant, grid_of, names_of
from .packing import layout_of
from .plan import Buffer, Dispatch, Pipeline, Plan, Slice, Slot
from .program import Port, Program, Step

if TYPE_CHECKING:
    from accelerate_core.types import Array

ALIGNMENT = 256
_LEAST = 16  # bytes of a binding: a vec4
_SMALLER = "Use a smaller batch or a quantized model."

#: Which variant and constants do a step on a device.
Choose: TypeAlias = Callable[[Kernel, Step, Device], tuple[Variant, Mapping[str, float]]]


@attrs.frozen
class Assembled:
    """A plan, and its weights in the order of the weights file: layout and logical value."""

    plan: Plan
    weights: tuple[tuple[str, Array], ...]
    #: Names what is in the weights file and where, without making it.
    weights_digest: str

    def weight_parts(self) -> Iterator[bytes]:
        """Yield the weights file, a weight at a time."""
        for layout, value in self.weights:
            data = layout_of(layout).pack(value)
            yield data
            yield bytes(-len(data) % ALIGNMENT)


def assemble(
    program: Program,
    catalogue: Catalogue,
    device: Device,
    choose: Choose,
    *,
    about: Mapping[str, Any] | None = None,
) -> Assembled:
    """Return the plan of a program for a device.

    PluginError when a step does not keep an operation's contract, Unsupported when no variant can
    do a step on the device or a tensor is larger than a binding may be.
    """
    return _Assembly(program, catalogue, device, choose).run(about or {})


class _Assembly:
    def __init__(
        self, program: Program, catalogue: Catalogue, device: Device, choose: Choose
    ) -> None:
        self._program = program
        self._catalogue = catalogue
        self._device = device
        self._choose = choose
        self._buffers: list[Buffer] = []
        self._pipelines: dict[tuple[Any, ...], int] = {}
        self._pipeline_list: list[Pipeline] = []
        self._params = bytearray()
        self._param_places: dict[bytes, int] = {}
        self._weights = _Store()
        self._constants = _Store()
        self._spares = {"read": 0, "read_write": 0}  # by access: a buffer is bound in one way

    def run(self, about: Mapping[str, Any]) -> Assembled:
        lives = self._lives()
        alignment = int(self._device.limit("minStorageBufferOffsetAlignment"))
        alignment = max(alignment, ALIGNMENT)
        layout = plan_arena(
            lives, alignment=alignment, buffer_bytes=int(self._device.limit("maxBufferSize"))
        )
        self._arena = layout.places
        self._buffers = [Buffer(role="arena", size=size) for size in layout.sizes]
        self._place_constants()
        dispatches = tuple(self._dispatch(step) for step in self._program.steps)
        if any(self._spares.values()):
            self._buffers += [
                Buffer(role="spare", size=max(1, count) * ALIGNMENT)
                for count in self._spares.values()
            ]
        constants = b"".join(
            data + bytes(-len(data) % ALIGNMENT)
            for data in (layout_of(one).pack(value) for one, value in self._constants.items)
        )
        plan = Plan(
            name=self._program.name,
            inputs=tuple(self._slot(port) for port in self._program.inputs),
            outputs=tuple(self._slot(port) for port in self._program.outputs),
            buffers=tuple(
                attrs.evolve(one, offset=one.offset + len(self._params))
                if one.role == "constants"
                else one
                for one in self._buffers
            ),
            pipelines=tuple(self._pipeline_list),
            dispatches=dispatches,
            params_bytes=len(self._params),
            weights_bytes=self._weights.size,
            about={
                **about,
                "peak_bytes": peak_bytes(lives, 1),
                # What `accel plan show` draws: name, buffer, offset, bytes, first and last step.
                "tensors": [
                    [one.name, *layout.places[one.name], one.size_bytes, one.first, one.last]
                    for one in lives
                ],
            },
            data=bytes(self._params) + constants,
        )
        return Assembled(plan, tuple(self._weights.items), self._weights.digest)

    # --- memory -------------------------------------------------------------------------------

    def _lives(self) -> list[Life]:
        """Return the life of every tensor with memory of its own, views counted in."""
        tensors = self._program.tensors
        first: dict[str, int] = {}
        last: dict[str, int] = {}

        def touch(name: str, step: int) -> None:
            root = tensors[name].base or name
            first.setdefault(root, step)
            last[root] = step

        # Inputs are written before the first step, outputs read after the last.
        for port in self._program.inputs:
            touch(port.tensor, -1)
        for number, step in enumerate(self._program.steps):
            for operand in step.operands.values():
                if operand in tensors:
                    touch(operand, number)
        for port in self._program.outputs:
            touch(port.tensor, len(self._program.steps))
        limit = self._device.limit("maxBufferSize")
        for name in first:
            if (size := tensors[name].size_bytes) > limit:
                raise Unsupported(
                    f"the tensor {name} has {size} bytes, a buffer here at most {limit:.0f}",
                    where=f"model {self._program.name}",
                    hint=_SMALLER,
                )
        # Empty tensors get room, too: nothing cannot be bound.
        return [
            Life(
                name=name,
                size_bytes=max(tensors[name].size_bytes, _LEAST),
                first=first[name],
                last=last[name],
            )
            for name in first
        ]

    def _place_constants(self) -> None:
        """Give constants their places, in the order of their first use.

        What kernels read as weights lies in buffers of its own: one buffer cannot be bound `read`
        and `read_write` in one dispatch.
        """
        for step in self._program.steps:
            kernel = self._catalogue.kernel(step.operation)
            for name, operand in step.operands.items():
                if operand in self._program.constants:
                    binding = kernel.binding(name)
                    store = self._weights if binding.role == "constant" else self._constants
                    store.add(operand, binding.layout, self._program.constants[operand])
        limit = int(self._device.limit("maxBufferSize"))
        for store, role in ((self._weights, "weights"), (self._constants, "constants")):
            store.first_buffer = len(self._buffers)
            self._buffers += [
                Buffer(role=role, size=size, offset=offset)  # type: ignore[arg-type]
                for offset, size in store.split(limit)
            ]

    def _slice(self, step: Step, binding: Binding) -> Slice:
        operand = step.operands.get(binding.name)
        if operand is None:
            if not binding.optional:
                raise PluginError(f"{step.operation} misses its operand {binding.name}")
            spare = len(self._buffers) + list(self._spares).index(binding.access)
            self._spares[binding.access] += 1
            return Slice(spare, (self._spares[binding.access] - 1) * ALIGNMENT, ALIGNMENT)
        if operand in self._program.constants:
            store = self._weights if binding.role == "constant" else self._constants
            return self._bindable(store.place(operand, binding.layout), step, binding)
        if binding.role == "constant":
            raise PluginError(f"{step.operation} wants a constant as {binding.name}: {operand}")
        return self._bindable(self._tensor_slice(operand), step, binding)

    def _tensor_slice(self, name: str) -> Slice:
        tensor = self._program.tensors[name]
        number, start = self._arena[tensor.base or name]
        return Slice(number, start + 4 * tensor.offset, tensor.size_bytes)

    def _bindable(self, place: Slice, step: Step, binding: Binding) -> Slice:
        # vec4 views need whole vec4s; what follows belongs to the same tensor or is padding.
        place = attrs.evolve(place, size=max(1, math.ceil(place.size / _LEAST)) * _LEAST)
        what = f"{step.operation}.{binding.name} of {step.label or 'a step'}"
        if place.offset % ALIGNMENT:
            raise PluginError(f"{what} starts at byte {place.offset}, no multiple of {ALIGNMENT}")
        limit = self._device.limit("maxStorageBufferBindingSize")
        if place.size > limit:
            raise Unsupported(
                f"{what} has {place.size} bytes, the device binds at most {limit:.0f}",
                hint=_SMALLER,
            )
        return place

    # --- dispatches ---------------------------------------------------------------------------

    def _dispatch(self, step: Step) -> Dispatch:
        kernel = self._catalogue.kernel(step.operation)
        if unknown := set(step.operands) - {one.name for one in kernel.bindings}:
            raise PluginError(f"{step.operation} has no operands {', '.join(sorted(unknown))}")
        variant, constants = self._choose(kernel, step, self._device)
        bindings = tuple(self._slice(step, binding) for binding in kernel.bindings)
        _refuse_overlaps(kernel, bindings, step)
        block = params.pack(kernel.params, step.params, where=step.operation)
        names = names_of(step.params, constants)
        constants = {**constants, **{name: names[name] for name in variant.specialise}}
        return Dispatch(
            pipeline=self._pipeline(kernel, variant, constants),
            params=(self._param_place(block), len(block)),
            bindings=bindings,
            grid=grid_of(variant, step.params, constants, self._device),
            label=step.label,
            flops=step.flops,
        )

    def _pipeline(self, kernel: Kernel, variant: Variant, constants: Mapping[str, float]) -> int:
        key = (variant.source, tuple(sorted(constants.items())))
        if key not in self._pipelines:
            self._pipelines[key] = len(self._pipeline_list)
            self._pipeline_list.append(
                Pipeline(
                    name=f"{kernel.operation}/{variant.name}",
                    source=variant.source,
                    bindings=tuple(one.access for one in kernel.bindings),
                    constants=constants,
                    features=variant.features,
                )
            )
        return self._pipelines[key]

    def _param_place(self, block: bytes) -> int:
        if block not in self._param_places:
            self._param_places[block] = len(self._params)
            self._params += block + bytes(-len(block) % ALIGNMENT)
        return self._param_places[block]

    def _slot(self, port: Port) -> Slot:
        return Slot(
            name=port.name,
            dtype=port.dtype,
            shape=port.shape,
            stored=self._program.tensors[port.tensor].type,
            place=self._tensor_slice(port.tensor),
        )


class _Store:
    """Constants that lie one after another in a file, equal ones once."""

    def __init__(self) -> None:
        self.items: list[tuple[str, Array]] = []
        self.size = 0
        self._digest = hashlib.sha256()
        self.first_buffer = 0
        self._places: dict[tuple[str, str], tuple[int, int]] = {}  # offset, size in the file
        self._known: dict[tuple[Any, ...], tuple[int, int]] = {}
        self._buffers: list[tuple[int, int]] = []

    def add(self, name: str, layout: str, value: Array) -> None:
        if (name, layout) in self._places:
            return
        if not value.size:
            raise PluginError(f"the constant {name} is empty, and a step reads it")
        digest = hashlib.blake2b(np.ascontiguousarray(value).data, digest_size=16).digest()
        content = (layout, value.dtype.str, value.shape, digest)
        if content not in self._known:
            size = layout_of(layout).size_bytes(value.shape)
            self._known[content] = (self.size, size)
            self.items.append((layout, value))
            self._digest.update(repr(content).encode())
            self.size += math.ceil(size / ALIGNMENT) * ALIGNMENT
        self._places[name, layout] = self._known[content]

    @property
    def digest(self) -> str:
        """Name the contents, in their order."""
        return self._digest.hexdigest()

    def split(self, limit: int) -> list[tuple[int, int]]:
        """Return offset and size of buffers no larger than a limit; none cuts a constant."""
        starts = sorted({place for place in self._known.values()})
        self._buffers = []
        for offset, size in starts:
            end = offset + math.ceil(size / ALIGNMENT) * ALIGNMENT
            if self._buffers and end - self._buffers[-1][0] <= limit:
                self._buffers[-1] = (self._buffers[-1][0], end - self._buffers[-1][0])
            else:
                self._buffers.append((offset, end - offset))
        return self._buffers

    def place(self, name: str, layout: str) -> Slice:
        offset, size = self._places[name, layout]
        for number, (start, length) in enumerate(self._buffers):
            if start <= offset < start + length:
                return Slice(self.first_buffer + number, offset - start, size)
        raise PluginError(f"constant {name} has no place")  # split() covers all


def _refuse_overlaps(kernel: Kernel, bindings: tuple[Slice, ...], step: Step) -> None:
    """Refuse what WebGPU refuses: two writable bindings of a dispatch over the same bytes."""
    writable = sorted(
        (one.buffer, one.offset, one.offset + one.size, binding.name)
        for one, binding in zip(bindings, kernel.bindings, strict=True)
        if binding.access == "read_write"
    )
    for (a, _, end, left), (b, start, _, right) in itertools.pairwise(writable):
        if a == b and start < end:
            raise PluginError(
                f"{step.operation} ({step.label}) gets {left} and {right} over the same memory",
                hint="Copy one of them first, or use an operation that takes the tensor once.",
            )
