# SPDX-License-Identifier: Apache-2.0
"""A graph while a pass rewrites it: who makes and who reads each tensor, kept current."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..graph import Graph, Node, Shape, Value

if TYPE_CHECKING:
    from accelerate_core.types import Array

#: Operators that keep elements in their order: what they put out lies in the same memory.
VIEWS = frozenset(("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"))


class Rewriter:
    """Answer questions about a graph and replace nodes of it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._makers = graph.producers()
        self._users = graph.users()
        self._outputs = frozenset(graph.outputs)

    def nodes(self, *operators: str) -> list[Node]:
        """Return the nodes of some operators, as they are now."""
        return [node for node in self.graph.nodes if node.op in operators]

    def is_current(self, node: Node) -> bool:
        """Whether a node was not replaced meanwhile."""
        return any(self._makers.get(name) is node for name in node.outputs)

    def maker(self, name: str, *operators: str) -> Node | None:
        """Return the node that makes a tensor, if it is one of some operators."""
        node = self._makers.get(name)
        return node if node and (not operators or node.op in operators) else None

    def users(self, name: str) -> Sequence[Node]:
        """Return the nodes that read a tensor."""
        return self._users.get(name, ())

    def only_user(self, name: str, *operators: str) -> Node | None:
        """Return the one node that reads a tensor, if it is one of some operators.

        None where the tensor is an output of the graph.
        """
        users = self.users(name)
        if len(users) != 1 or name in self._outputs:
            return None
        return users[0] if not operators or users[0].op in operators else None

    def is_output(self, name: str) -> bool:
        """Whether a tensor is an output of the graph."""
        return name in self._outputs

    def shape(self, name: str) -> Shape:
        """Return the shape of a tensor."""
        return self.graph.value(name).shape

    def constant(self, name: str) -> Array | None:
        """Return a constant's value; None for what is computed."""
        return self.graph.constants.get(name)

    def scalar(self, name: str) -> float | None:
        """Return the value of a constant of one element."""
        value = self.graph.constants.get(name)
        return float(value.reshape(())) if value is not None and value.size == 1 else None

    def other(self, node: Node, name: str) -> str | None:
        """Return the other of two inputs; None where both are the same."""
        left, right = node.inputs
        if left == right:
            return None
        return right if left == name else left

    def past_views(self, name: str) -> str:
        """Return the tensor in whose memory another lies."""
        while node := self.maker(name, *VIEWS):
            name = node.inputs[0]
        return name

    def add_constant(self, name: str, value: Array) -> str:
        """Add a constant and return its name."""
        name = self._free(name)
        self.graph.constants[name] = value
        self.graph.values[name] = Value(value.shape, str(value.dtype))
        return name

    def add_value(self, name: str, shape: Shape, dtype: str) -> str:
        """Add a tensor that a new node makes, and return its name."""
        name = self._free(name)
        self.graph.values[name] = Value(shape, dtype)
        return name

    def replace(self, old: Iterable[Node], new: Sequence[Node]) -> None:
        """Put new nodes where the last of the old ones stood."""
        old = list(old)
        self.graph.replace(old, new)
        for node in old:
            for name in node.inputs:
                if name:
                    self._users[name].remove(node)
            for name in node.outputs:
                self._makers.pop(name, None)
        for node in new:
            for name in node.inputs:
                if name:
                    self._users.setdefault(name, []).append(node)
            for name in node.outputs:
                self._makers[name] = node

    def _free(self, name: str) -> str:
        number = 0
        free = name
        while free in self.graph.values or free in self.graph.constants:
            number += 1
            free = f"{name}~{number}"
        return free
