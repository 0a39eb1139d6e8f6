# SPDX-License-Identifier: Apache-2.0
"""A model as a list of kernel steps over tensors, before memory and variants are chosen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from accelerate_core.errors import PluginError

from .kernels import Scalar
from .params import Value

if TYPE_CHECKING:
    from accelerate_core.types import Array

Shape = tuple[int, ...]
_ITEM_BYTES = 4


@attrs.frozen(kw_only=True)
class Tensor:
    """Describe an activation: contiguous, row-major, 4 bytes an element."""

    name: str
    shape: Shape
    type: Scalar = "f32"
    #: The tensor whose memory it lies in, and where; None for memory of its own. A view may be
    #: bound only where its offset is a multiple of 64 elements.
    base: str | None = None
    offset: int = 0  #: elements

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes of all elements."""
        return self.elements * _ITEM_BYTES


@attrs.frozen(kw_only=True)
class Step:
    """Call one operation."""

    operation: str
    #: Binding name -> tensor or constant. Optional ones may be missing.
    operands: Mapping[str, str]
    params: Mapping[str, Value]
    label: str = ""  #: where in the model: "encoder.layer.3.attention"
    flops: int = 0


@attrs.frozen(kw_only=True)
class Port:
    """An input or output as the caller sees it; on the device it is its tensor."""

    name: str
    dtype: str  #: numpy name; int64 and bool are kept as i32 on the device
    shape: Shape
    tensor: str


@attrs.frozen(kw_only=True)
class Program:
    """Hold a whole model; steps are in an order that may be run."""

    name: str
    tensors: Mapping[str, Tensor]
    constants: Mapping[str, Array]  #: logical values; packed by the binding that uses them
    steps: Sequence[Step]
    inputs: Sequence[Port]
    outputs: Sequence[Port]


class ProgramBuilder:
    """Collect tensors, constants and steps."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.tensors: dict[str, Tensor] = {}
        self.constants: dict[str, Array] = {}
        self.steps: list[Step] = []
        self.inputs: list[Port] = []
        self.outputs: list[Port] = []
        self._numbers = 0

    def tensor(self, shape: Sequence[int], type: Scalar = "f32", *, name: str = "") -> str:
        """Add an activation and return its name."""
        name = self._unique(name or "t")
        self.tensors[name] = Tensor(name=name, shape=tuple(shape), type=type)
        return name

    def view(self, base: str, shape: Sequence[int], offset: int = 0, *, name: str = "") -> str:
        """Add a tensor that lies in another's memory, `offset` elements from its start."""
        root = self.tensors[base]
        made = Tensor(
            name=self._unique(name or "view"),
            shape=tuple(shape),
            type=root.type,
            base=root.base or base,
            offset=root.offset + offset,
        )
        owner = self.tensors[made.base or base]
        if made.offset < 0 or made.offset + made.elements > owner.elements:
            raise PluginError(f"a view of {base} with shape {made.shape} leaves its memory")
        self.tensors[made.name] = made
        return made.name

    def constant(self, value: Array, *, name: str = "") -> str:
        """Add a constant and return its name."""
        name = self._unique(name or "c")
        self.constants[name] = value
        return name

    def step(
        self,
        operation: str,
        operands: Mapping[str, str],
        params: Mapping[str, Value],
        *,
        label: str = "",
        flops: int = 0,
    ) -> None:
        """Add a step; its outputs are among the operands."""
        self.steps.append(
            Step(operation=operation, operands=operands, params=params, label=label, flops=flops)
        )

    def input(self, name: str, dtype: str, shape: Sequence[int]) -> str:
        """Add an input of the model and return its tensor."""
        kind: Scalar = "f32" if dtype.startswith("float") else "i32"
        tensor = self.tensor(shape, kind, name=name)
        self.inputs.append(Port(name=name, dtype=dtype, shape=tuple(shape), tensor=tensor))
        return tensor

    def output(self, name: str, dtype: str, tensor: str) -> None:
        """Make a tensor an output of the model."""
        shape = self.tensors[tensor].shape
        self.outputs.append(Port(name=name, dtype=dtype, shape=shape, tensor=tensor))

    def finish(self) -> Program:
        """Return what was collected."""
        return Program(
            name=self.name,
            tensors=self.tensors,
            constants=self.constants,
            steps=self.steps,
            inputs=self.inputs,
            outputs=self.outputs,
        )

    def _unique(self, name: str) -> str:
        if name not in self.tensors and name not in self.constants:
            return name
        self._numbers += 1
        return self._unique(f"{name}~{self._numbers}")
