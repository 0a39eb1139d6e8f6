# SPDX-License-Identifier: Apache-2.0
"""What a lowering gets, and the registry of lowerings by operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from accelerate_core.errors import ModelError, Unsupported

from ..graph import Graph, Node, Shape
from ..program import Program, ProgramBuilder
from .steps import duplicate

if TYPE_CHECKING:
    from accelerate_core.types import Array

Lower: TypeAlias = Callable[["Lowering", Node], None]

#: What turns a node into steps, by operator.
LOWERINGS: dict[str, Lower] = {}


def lowers(*operators: str) -> Callable[[Lower], Lower]:
    """Register a lowering for operators."""

    def register(lower: Lower) -> Lower:
        for one in operators:
            LOWERINGS[one] = lower
        return lower

    return register


class Lowering:
    """Turn a graph into a program, a node at a time."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.out = ProgramBuilder(graph.name)
        self._tensors: dict[str, str] = {}  # the graph's names -> the program's

    def run(self) -> Program:
        """Return the program; Unsupported names the first node that cannot be lowered.

        ModelError where the sizes of the inputs leave a tensor without elements.
        """
        for name in self.graph.inputs:
            value = self.graph.value(name)
            self._tensors[name] = self.out.input(name, value.dtype, value.shape)
        for node in self.graph.nodes:
            if node.op not in LOWERINGS:
                raise self.refuse(node, "no kernel does it")
            self._refuse_nothing(node)
            LOWERINGS[node.op](self, node)
        for name in self.graph.outputs:
            tensor = self.operand(name)
            if tensor in self.out.constants:
                tensor = duplicate(self.out, tensor, label=name)
            self.out.output(name, self.graph.value(name).dtype, tensor)
        return self.out.finish()

    def shape(self, name: str) -> Shape:
        """Return the shape of a tensor of the graph."""
        return self.graph.value(name).shape

    def constant(self, name: str) -> Array | None:
        """Return a constant's value; None for what is computed."""
        return self.graph.constants.get(name)

    def operand(self, name: str) -> str:
        """Return what to bind for a tensor of the graph: a tensor or constant of the program."""
        if name not in self._tensors and name in self.graph.constants:
            self._tensors[name] = self.out.constant(self.graph.constants[name], name=name)
        return self._tensors[name]

    def result(self, node: Node, index: int = 0) -> str:
        """Add a tensor for an output of a node, in memory of its own."""
        name = node.outputs[index]
        value = self.graph.value(name)
        kind = "f32" if value.dtype.startswith("float") else "i32"
        tensor = self.out.tensor(value.shape, kind, name=name)  # type: ignore[arg-type]
        self._tensors[name] = tensor
        return tensor

    def bind(self, name: str, tensor: str) -> None:
        """Say which tensor of the program holds a tensor of the graph."""
        self._tensors[name] = tensor

    def _refuse_nothing(self, node: Node) -> None:
        for name in node.outputs:
            if name and 0 in self.shape(name):
                shape = " x ".join(str(size) for size in self.shape(name))
                raise ModelError(
                    f"these inputs are too small: nothing is left of them ({shape})",
                    where=f"model {self.graph.name}, node {node.label or name}",
                    hint="Give larger sizes to the free dimensions, or longer inputs.",
                )

    def refuse(self, node: Node, why: str) -> Unsupported:
        """Return the error for a node that cannot be lowered."""
        return Unsupported(
            f"{node.op} cannot be compiled: {why}",
            where=f"model {self.graph.name}, node {node.label or node.outputs[0]}",
            hint="Take the engine ort, or auto, which does so by itself.",
        )
