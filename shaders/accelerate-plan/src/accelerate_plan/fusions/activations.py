# SPDX-License-Identifier: Apache-2.0
"""Find activation functions, however an exporter wrote them down, by what they compute.

Exporters write GELU in a dozen ways. So instead of a pattern for each, every closed group of
elementwise nodes that depends on one tensor is tried out on numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs
import numpy as np

from ..codes import Activation
from ..graph import Graph, Node
from ..references.matrices import activate
from .matching import Rewriter

if TYPE_CHECKING:
    from accelerate_core.types import Array

#: The longest form of GELU has 9; the rest leaves room for what else reads the same tensor.
_MOST_NODES = 16
#: Of values around 1, by how exactly the constants are written down.
_TOLERANCE = 1e-5
_TOLERANCE_FLOAT16 = 2e-3
_PROBES = np.linspace(-7.0, 7.0, 57)

_FUNCTIONS: Mapping[str, Callable[..., Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Pow": np.power,
    "Max": np.maximum,
    "Erf": np.vectorize(math.erf, otypes=[np.float64]),
    "Tanh": np.tanh,
    "Sigmoid": lambda x: activate(Activation.SIGMOID, x),
    "Relu": lambda x: activate(Activation.RELU, x),
    "Neg": np.negative,
    "Exp": np.exp,
    "Reciprocal": np.reciprocal,
}
_WHOLE: Mapping[str, Activation] = {
    "Relu": Activation.RELU,
    "Tanh": Activation.TANH,
    "Sigmoid": Activation.SIGMOID,
}
_WANTED = {kind: activate(kind, _PROBES) for kind in Activation if kind is not Activation.NONE}


def fuse_activations(graph: Graph) -> None:
    """Replace groups of nodes that compute an activation by `plan.Activation`, kind as a number."""
    rewriter = Rewriter(graph)
    for node in list(graph.nodes):
        if kind := _single(node):
            _replace_whole(rewriter, node, kind)
    for name in list(graph.values):
        if name not in graph.constants and rewriter.users(name):
            _try(rewriter, name)
    # Last: a sigmoid may be the inside of a SiLU.
    for node in rewriter.nodes(*_WHOLE):
        _replace(rewriter, [node], node.inputs[0], _WHOLE[node.op])


def _single(node: Node) -> Activation | None:
    match node.op:
        case "com.microsoft.Gelu" | "com.microsoft.BiasGelu":
            return Activation.GELU
        case "Gelu":
            is_exact = node.attribute("approximate", "none") == "none"
            return Activation.GELU if is_exact else Activation.GELU_TANH
        case "com.microsoft.FastGelu":
            return Activation.GELU_TANH
        case "com.microsoft.QuickGelu":
            alpha = node.attribute("alpha", 1.702)
            if math.isclose(alpha, 1.702, rel_tol=1e-5):
                return Activation.QUICK_GELU
            return Activation.SILU if alpha == 1 else None
        case "Swish" if node.attribute("alpha", 1.0) == 1:
            return Activation.SILU
    return None


def _try(rewriter: Rewriter, name: str) -> None:
    """Replace the largest group behind a tensor that computes an activation of it."""
    best: tuple[list[Node], Activation] | None = None
    values: dict[str, Array] = {name: _PROBES}
    groups: dict[str, dict[str, Node]] = {name: {}}  # what a tensor is made by, itself included
    for node in _behind(rewriter, name):
        (output,) = node.outputs
        values[output] = _evaluate(rewriter, node, values)
        inside = {key: one for part in node.inputs for key, one in groups.get(part, {}).items()}
        groups[output] = {**inside, output: node}
        group = list(groups[output].values())
        if best and len(group) <= len(best[0]):
            continue
        if _is_closed(rewriter, group) and (kind := _kind(rewriter, group, values[output])):
            best = group, kind
    if best:
        _replace(rewriter, best[0], name, best[1])


def _behind(rewriter: Rewriter, name: str) -> Sequence[Node]:
    """Return elementwise nodes that follow from a tensor, each after those it depends on."""
    reached, nodes = {name}, dict[str, Node]()
    front = [name]
    while front and len(nodes) <= _MOST_NODES:
        for node in rewriter.users(front.pop(0)):
            if node.op in _FUNCTIONS and all(
                one in reached or rewriter.scalar(one) is not None for one in node.inputs
            ):
                nodes[node.outputs[0]] = node
                reached.add(node.outputs[0])
                front.append(node.outputs[0])
    return list(nodes.values())


def _evaluate(rewriter: Rewriter, node: Node, values: Mapping[str, Array]) -> Array:
    inputs = [values[one] if one in values else rewriter.scalar(one) for one in node.inputs]
    with np.errstate(all="ignore"):
        return np.asarray(_FUNCTIONS[node.op](*inputs))


def _is_closed(rewriter: Rewriter, group: Sequence[Node]) -> bool:
    """Whether nothing outside a group reads what is inside, its last node excepted."""
    inside = {id(node) for node in group}
    return all(
        not rewriter.is_output(node.outputs[0])
        and all(id(user) in inside for user in rewriter.users(node.outputs[0]))
        for node in group[:-1]
    )


def _kind(rewriter: Rewriter, group: Sequence[Node], value: Array) -> Activation | None:
    """Return the activation that comes closest, if it comes close."""
    constants = (rewriter.constant(name) for node in group for name in node.inputs)
    is_half = any(one is not None and one.dtype == np.float16 for one in constants)
    errors = {kind: float(np.abs(value - wanted).max()) for kind, wanted in _WANTED.items()}
    best = min(errors, key=lambda kind: errors[kind])
    return best if errors[best] <= (_TOLERANCE_FLOAT16 if is_half else _TOLERANCE) else None


def _replace_whole(rewriter: Rewriter, node: Node, kind: Activation) -> None:
    """Replace an operator that is an activation, of a sum where it has a bias."""
    x, *bias = node.inputs
    if not any(bias):
        _replace(rewriter, [node], x, kind)
        return
    value = rewriter.graph.value(x)
    total = rewriter.add_value(f"{node.outputs[0]}/sum", value.shape, value.dtype)
    add = Node(op="Add", inputs=(x, bias[0]), outputs=(total,), label=node.label)
    active = attrs.evolve(node, op="plan.Activation", inputs=(total,), attributes={"kind": kind})
    rewriter.replace([node], [add, active])


def _replace(rewriter: Rewriter, group: Sequence[Node], name: str, kind: Activation) -> None:
    last = group[-1]
    new = Node(
        op="plan.Activation",
        inputs=(name,),
        outputs=last.outputs,
        attributes={"kind": int(kind)},
        label=last.label,
    )
    rewriter.replace(group, [new])
