# SPDX-License-Identifier: Apache-2.0
"""A model graph with every shape known: what fusions rewrite and lowerings read. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from accelerate_core.errors import Unsupported

if TYPE_CHECKING:
    from accelerate_core.types import Array

Shape = tuple[int, ...]


@attrs.frozen(kw_only=True)
class Node:
    """Apply an operator. Ours, made by fusions, have the prefix `plan.`: `plan.Linear`."""

    op: str  #: ONNX name; with its domain unless that is ONNX's own: "com.microsoft.MatMulNBits"
    inputs: tuple[str, ...]  #: "" for a missing optional one
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = attrs.field(factory=dict)  #: plain Python and numpy values
    label: str = ""  #: where in the model: a block's name, else the node's

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute or a default."""
        return self.attributes.get(name, default)


@attrs.frozen
class Value:
    """Describe a tensor."""

    shape: Shape
    dtype: str  #: numpy name


@attrs.define
class Graph:
    """Hold nodes in an order that may be run, and what is known about their tensors."""

    name: str
    nodes: list[Node]
    values: dict[str, Value]  #: of every tensor, constants included
    constants: dict[str, Array]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def value(self, name: str) -> Value:
        """Return what is known of a tensor; Unsupported when its shape could not be told."""
        try:
            return self.values[name]
        except KeyError:
            raise Unsupported(
                f"the shape of {name} is not known before the model runs",
                where=self.name,
                hint="Shapes that depend on values are for the engine ort; auto takes it for them.",
            ) from None

    def producers(self) -> dict[str, Node]:
        """Return the node that makes each tensor."""
        return {name: node for node in self.nodes for name in node.outputs if name}

    def users(self) -> dict[str, list[Node]]:
        """Return the nodes that read each tensor; a node that reads it twice is there twice."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in node.inputs:
                if name:
                    found.setdefault(name, []).append(node)
        return found

    def replace(self, old: Iterable[Node], new: Sequence[Node]) -> None:
        """Put new nodes where the last of the old ones stood."""
        gone = {id(node) for node in old}
        places = [i for i, node in enumerate(self.nodes) if id(node) in gone]
        kept = [
            list(new) if i == places[-1] else [] if id(node) in gone else [node]
            for i, node in enumerate(self.nodes)
        ]
        self.nodes = [node for group in kept for node in group]

    def sort(self) -> None:
        """Put nodes behind what they read, and otherwise leave their order."""
        makers = self.producers()
        done: set[int] = set()
        ordered: list[Node] = []
        for node in self.nodes:
            waiting = [node]
            while waiting:
                last = waiting[-1]
                needed = [makers[name] for name in last.inputs if name in makers]
                missing = [one for one in needed if id(one) not in done]
                if missing:
                    waiting += missing
                    continue
                waiting.pop()
                if id(last) not in done:
                    done.add(id(last))
                    ordered.append(last)
        self.nodes = ordered

    def prune(self) -> None:
        """Drop nodes and constants that nothing needs."""
        needed = set(self.outputs)
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if needed.intersection(node.outputs):
                kept.append(node)
                needed.update(name for name in node.inputs if name)
        self.nodes = kept[::-1]
        self.constants = {name: one for name, one in self.constants.items() if name in needed}
