# SPDX-License-Identifier: Apache-2.0
"""Turn convolutions into linear layers, with channels last for as long as it goes.

A convolution is a linear layer over unfolded windows. What it puts out has its channels last;
instead of turning that at once, the turning is moved behind the elementwise operators that follow,
and often meets another that undoes it.
"""

from __future__ import annotations

import math

import attrs

from ..graph import Graph, Node, Shape
from ..windows import window_of
from .matching import Rewriter
from .strided import Strided, flat, trace

#: A larger unfolded input is not made: the convolution stays one, and is computed directly.
_UNFOLDED_BYTES = 2**26
_TURN = (0, 2, 1)
_ELEMENTWISE = frozenset(
    {
        "Abs",
        "Add",
        "Ceil",
        "Clip",
        "Div",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Log",
        "Max",
        "Min",
        "Mul",
        "Neg",
        "Reciprocal",
        "Relu",
        "Round",
        "Sigmoid",
        "Softplus",
        "Sqrt",
        "Sub",
        "Tanh",
        "plan.Activation",
        "plan.Affine",
    }
)


def unfold_convolutions(graph: Graph) -> None:
    """Make `plan.Unfold`, MatMul and Add of convolutions that have one group.

    `plan.Unfold` (x) reads x by the strides (batch, channel, row, column) in its attributes, and
    puts out `[batch, places, channels * kernel]`.
    """
    rewriter = Rewriter(graph)
    for node in list(graph.nodes):
        if node.op == "Conv":
            _unfold(rewriter, node)
        elif node.op in _ELEMENTWISE:
            _sink(rewriter, node)
        elif node.op == "Transpose":
            _undo(rewriter, node)


def _unfold(rewriter: Rewriter, node: Node) -> None:
    x, weight_name, *rest = node.inputs
    weight, shape = rewriter.constant(weight_name), rewriter.shape(x)
    result = rewriter.shape(node.outputs[0])
    if weight is None or node.attribute("group", 1) != 1:
        return
    window = window_of(node, shape, result, weight.shape[2:])
    columns, channels = math.prod(weight.shape[1:]), weight.shape[0]
    if window is None or 4 * shape[0] * window.pixels * columns > _UNFOLDED_BYTES:
        return
    made = _Made(rewriter, node)
    windows = made.value("windows", (shape[0], window.pixels, columns))
    if window.is_pixel:
        pixels = made.view(x, "pixels", (shape[0], shape[1], window.pixels))
        made.add("Transpose", (pixels,), windows, perm=_TURN)
    else:
        walk = trace(rewriter, x)
        if walk.factor != 1:
            walk = Strided.contiguous(x, shape)
        strides = walk.strides if len(shape) == 4 else (*walk.strides[:2], 0, walk.strides[2])
        sizes = {"batch": shape[0], "channels": shape[1], "window": window, "strides": strides}
        made.add("plan.Unfold", (walk.base,), windows, **sizes)
    matrix = rewriter.add_constant(f"{weight_name}/columns", weight.reshape(channels, columns).T)
    product = made.value("product", (shape[0], window.pixels, channels))
    made.add("MatMul", (windows, matrix), product)
    if rest and rest[0]:
        total = made.value("sum", (shape[0], window.pixels, channels))
        made.add("Add", (product, rest[0]), total)
        product = total
    made.turn(product)
    made.finish()
    for one in made.nodes:
        if one.outputs == (windows,) and one.op == "Transpose":
            _undo(rewriter, one)


def _sink(rewriter: Rewriter, node: Node) -> None:
    """Move the turning of all that a node reads behind the node."""
    shape = rewriter.shape(node.outputs[0])
    inputs: list[str] = []
    found: set[Shape] = set()
    for name in node.inputs:
        if not name or rewriter.scalar(name) is not None:
            inputs.append(name)
            continue
        source = _turned(rewriter, name)
        if not source or rewriter.shape(name) != shape:
            return
        inputs.append(source)
        found.add(rewriter.shape(source))
    if len(found) != 1:
        return
    made = _Made(rewriter, node)
    result = made.value("rows", found.pop())
    made.nodes.append(attrs.evolve(node, inputs=tuple(inputs), outputs=(result,)))
    made.turn(result)
    made.finish()


def _turned(rewriter: Rewriter, name: str) -> str:
    """Return the rows that a tensor of channels is made of by turning; "" for none."""
    node = rewriter.maker(name, "Reshape", "Transpose")
    if node is not None and node.op == "Reshape":
        node = rewriter.maker(node.inputs[0], "Transpose")
    if node is None or tuple(node.attribute("perm", ())) != _TURN:
        return ""
    return node.inputs[0]


def _undo(rewriter: Rewriter, node: Node) -> None:
    """Make a Reshape of a Transpose that undoes those before it."""
    name = node.outputs[0]
    base = flat(rewriter, name)
    if base != name and base != node.inputs[0]:
        rewriter.replace([node], [attrs.evolve(node, op="Reshape", inputs=(base,), attributes={})])


class _Made:
    """Collect the nodes that take the place of one."""

    def __init__(self, rewriter: Rewriter, node: Node) -> None:
        self._rewriter = rewriter
        self._node = node
        self._dtype = rewriter.graph.value(node.outputs[0]).dtype
        self.nodes: list[Node] = []

    def value(self, name: str, shape: Shape) -> str:
        """Return a new tensor."""
        return self._rewriter.add_value(f"{self._node.outputs[0]}/{name}", shape, self._dtype)

    def add(self, op: str, inputs: tuple[str, ...], output: str, **attributes: object) -> None:
        """Add a node."""
        label = self._node.label
        self.nodes.append(
            Node(op=op, inputs=inputs, outputs=(output,), attributes=attributes, label=label)
        )

    def view(self, x: str, name: str, shape: Shape) -> str:
        """Return a tensor in another shape."""
        if self._rewriter.shape(x) == shape:
            return x
        made = self.value(name, shape)
        self.add("Reshape", (x,), made)
        return made

    def turn(self, rows: str) -> None:
        """Make the replaced node's output of `[batch, pixels, channels]`."""
        (output,) = self._node.outputs
        batch, pixels, channels = self._shape_of(rows)
        if self._rewriter.shape(output) == (batch, channels, pixels):
            self.add("Transpose", (rows,), output, perm=_TURN)
            return
        turned = self.value("turned", (batch, channels, pixels))
        self.add("Transpose", (rows,), turned, perm=_TURN)
        self.add("Reshape", (turned,), output)

    def finish(self) -> None:
        """Put the nodes in place."""
        self._rewriter.replace([self._node], self.nodes)

    def _shape_of(self, name: str) -> tuple[int, int, int]:
        batch, pixels, channels = self._rewriter.shape(name)
        return batch, pixels, channels
