# SPDX-License-Identifier: Apache-2.0
"""Find linear layers: products with a constant, and what may be done in the same pass."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs
import numpy as np

from ..codes import Activation
from ..graph import Graph, Node
from .matching import VIEWS, Rewriter

if TYPE_CHECKING:
    from accelerate_core.types import Array


#: Weights of more bytes are not put together: a device may bind no more than 128 MiB.
_MOST_BYTES = 64 << 20


def fuse_linear(graph: Graph) -> None:
    """Make `plan.Linear` (x, weight [k, n], bias or "", residual or "") of products with weights.

    Attributes: `activation`, a number of `codes.Activation`; `blocks`, which is 1 here. Layers of
    several blocks put out as many tensors.
    """
    rewriter = Rewriter(graph)
    makers = {"MatMul": _product, "Gemm": _gemm}
    for node in rewriter.nodes(*makers, "plan.Linear"):
        # Layers with packed weights are there already.
        found = makers[node.op](rewriter, node) if node.op in makers else node
        if found:
            _extend(rewriter, found)


def _product(rewriter: Rewriter, node: Node) -> Node | None:
    x, weight = node.inputs
    value = rewriter.constant(weight)
    if value is None or value.dtype.kind != "f" or rewriter.constant(x) is not None:
        return None
    if value.ndim < 2 or math.prod(value.shape[:-2]) != 1 or len(rewriter.shape(x)) < 2:
        return None
    if value.ndim > 2:
        weight = rewriter.add_constant(f"{weight}/2d", value.reshape(value.shape[-2:]))
    return _linear(rewriter, node, x, weight, "")


def _gemm(rewriter: Rewriter, node: Node) -> Node | None:
    x, weight, *rest = node.inputs
    value = rewriter.constant(weight)
    bias = rest[0] if rest else ""
    if value is None or node.attribute("transA", 0):
        return None
    columns = value.shape[0 if node.attribute("transB", 0) else 1]
    if bias and not _is_bias(rewriter.constant(bias), columns):
        return None
    if node.attribute("transB", 0) or node.attribute("alpha", 1.0) != 1:
        alpha = value.dtype.type(node.attribute("alpha", 1.0))
        turned = value.T if node.attribute("transB", 0) else value
        weight = rewriter.add_constant(f"{weight}/turned", turned if alpha == 1 else turned * alpha)
    if bias and node.attribute("beta", 1.0) != 1:
        scaled = rewriter.graph.constants[bias] * np.float32(node.attribute("beta"))
        bias = rewriter.add_constant(f"{bias}/scaled", scaled)
    return _linear(rewriter, node, x, weight, bias)


def _linear(rewriter: Rewriter, node: Node, x: str, weight: str, bias: str) -> Node:
    new = Node(
        op="plan.Linear",
        inputs=(x, weight, bias, ""),
        outputs=node.outputs,
        attributes={"activation": int(Activation.NONE), "blocks": 1},
        label=node.label,
    )
    rewriter.replace([node], [new])
    return new


def _extend(rewriter: Rewriter, linear: Node) -> None:
    """Take bias, activation and residual into a layer, in this order, each where it follows.

    Reshapes in between are passed over: none of the three cares where rows end.
    """
    while True:
        chain = [linear]
        while view := rewriter.only_user(chain[-1].outputs[0], *VIEWS):
            chain.append(view)
        node = rewriter.only_user(chain[-1].outputs[0], "Add", "plan.Activation")
        extended = node and _with(rewriter, linear, chain[-1].outputs[0], node)
        if node is None or extended is None:
            return
        rewriter.replace([*chain, node], [extended])
        linear = extended


def _with(rewriter: Rewriter, linear: Node, name: str, node: Node) -> Node | None:
    """Return a layer that does the next node, too; None where it cannot."""
    x, weight, bias, residual = linear.inputs
    is_active = linear.attributes["activation"] != Activation.NONE
    if residual:
        return None  # it comes last
    if node.op == "plan.Activation":
        if is_active:
            return None
        attributes = {**linear.attributes, "activation": node.attributes["kind"]}
        return attrs.evolve(linear, outputs=node.outputs, attributes=attributes)
    other = rewriter.other(node, name)
    shape = rewriter.shape(node.outputs[0])
    if other is None or rewriter.shape(name) != shape:
        return None
    columns = rewriter.shape(weight)[1]
    value = rewriter.constant(other)
    if _is_bias(value, columns) and shape[-1] == columns and not bias and not is_active:
        return attrs.evolve(
            linear, inputs=(x, weight, _flat(rewriter, other), ""), outputs=node.outputs
        )
    # One dispatch may not have the same memory as input and residual.
    if rewriter.shape(other) == shape and rewriter.past_views(other) != rewriter.past_views(x):
        return attrs.evolve(linear, inputs=(x, weight, bias, other), outputs=node.outputs)
    return None


def _is_bias(value: Array | None, columns: int) -> bool:
    return value is not None and value.size == columns and value.shape[-1:] == (columns,)


def _flat(rewriter: Rewriter, name: str) -> str:
    value = rewriter.graph.constants[name]
    return name if value.ndim == 1 else rewriter.add_constant(f"{name}/1d", value.reshape(-1))


def merge_linear(graph: Graph) -> None:
    """Make one layer of several that read the same tensor and have weights of one shape.

    Its blocks of columns are put out as tensors of their own, so queries, keys and values take
    one dispatch. So are those of a layer whose columns are split.
    """
    rewriter = Rewriter(graph)
    for node in rewriter.nodes("Split"):
        _split(rewriter, node)
    groups: dict[tuple[object, ...], list[Node]] = {}
    for node in rewriter.nodes("plan.Linear"):
        x, weight, _, residual = node.inputs
        if not residual and node.attributes["blocks"] == 1:
            value = graph.constants[weight]
            key = (
                rewriter.past_views(x),
                value.shape,
                value.dtype.str,
                node.attributes["activation"],
                node.attribute("bits"),
                node.attribute("group"),
            )
            groups.setdefault(key, []).append(node)
    for nodes in groups.values():
        size = 4 * math.prod(rewriter.shape(nodes[0].inputs[1]))
        most = max(1, _MOST_BYTES // size)
        for start in range(0, len(nodes), most):
            if len(part := nodes[start : start + most]) > 1:
                rewriter.replace(part, [_merged(rewriter, part)])


def _split(rewriter: Rewriter, split: Node) -> None:
    """Let a layer put out the equal parts that its columns are cut into."""
    shape = rewriter.shape(split.inputs[0])
    old, name = [split], split.inputs[0]
    while (view := rewriter.maker(name, *VIEWS)) and rewriter.only_user(name) is old[-1]:
        old.append(view)
        name = view.inputs[0]
    linear = rewriter.maker(name, "plan.Linear")
    if linear is None or rewriter.only_user(name) is not old[-1] or linear.inputs[3]:
        return
    widths = {rewriter.shape(part)[-1] for part in split.outputs}
    is_last = split.attribute("axis", 0) % len(shape) == len(shape) - 1
    if is_last and len(widths) == 1 and rewriter.shape(name)[-1] == shape[-1]:
        attributes = {**linear.attributes, "blocks": len(split.outputs)}
        new = attrs.evolve(linear, outputs=split.outputs, attributes=attributes)
        rewriter.replace([linear, *old], [new])


def _merged(rewriter: Rewriter, nodes: list[Node]) -> Node:
    weights = [rewriter.graph.constants[node.inputs[1]] for node in nodes]
    biases = [rewriter.constant(node.inputs[2]) for node in nodes]
    name = "+".join(node.inputs[1] for node in nodes)
    bias = ""
    if any(one is not None for one in biases):
        zeros = np.zeros(weights[0].shape[1], np.float32)
        parts = [zeros if one is None else one for one in biases]
        bias = rewriter.add_constant(f"{name}/bias", np.concatenate(parts))
    grids = {
        key: np.concatenate([node.attributes[key] for node in nodes], axis=1)
        for key in ("scales", "zeros")
        if key in nodes[0].attributes
    }
    return Node(
        op="plan.Linear",
        inputs=(
            nodes[0].inputs[0],
            rewriter.add_constant(name, np.concatenate(weights, axis=1)),
            bias,
            "",
        ),
        outputs=tuple(node.outputs[0] for node in nodes),
        attributes={**nodes[0].attributes, **grids, "blocks": len(nodes)},
        label=_joined([node.label for node in nodes]),
    )


def _joined(labels: list[str]) -> str:
    """Return `layer/query+key+value` for labels that begin alike."""
    first, *others = (label.split("/") for label in labels)
    same = 0
    while same < len(first) - 1 and all(first[: same + 1] == one[: same + 1] for one in others):
        same += 1
    rest = "+".join("/".join(one[same:]) for one in (first, *others))
    return "/".join([*first[:same], rest])
