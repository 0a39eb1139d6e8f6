# SPDX-License-Identifier: Apache-2.0
"""Find attention: two products around a softmax, and the moving of heads around those."""

from __future__ import annotations

import math
from collections.abc import Iterator

import attrs

from ..graph import Graph, Node, Shape
from .masks import Masks
from .matching import VIEWS, Rewriter
from .strided import Strided, factor_of, trace


@attrs.frozen(kw_only=True)
class _Sizes:
    batch: int
    heads: int
    q_length: int
    kv_length: int

    @property
    def scores(self) -> Shape:
        return (self.batch, self.heads, self.q_length, self.kv_length)


@attrs.frozen(kw_only=True)
class _Scores:
    """What the softmax is taken of: `scale * q k + masks`."""

    product: Node
    scale: float
    masks: tuple[tuple[str, Shape], ...]  #: each with the shape it is broadcast to


def fuse_attention(graph: Graph) -> None:
    """Make `plan.Attention` (q, k, v, mask or "") of attention in any arrangement.

    Its inputs are read by the strides in its attributes, so nothing is transposed for it; it puts
    out [batch, q_length, heads, v_size].
    """
    rewriter = Rewriter(graph)
    masks = Masks(rewriter)
    for softmax in rewriter.nodes("Softmax"):
        _fuse(rewriter, masks, softmax)


def _fuse(rewriter: Rewriter, masks: Masks, softmax: Node) -> None:
    rank = len(rewriter.shape(softmax.inputs[0]))
    if rank < 3 or softmax.attribute("axis", -1) % rank != rank - 1:
        return
    mix = _mixing(rewriter, softmax.outputs[0])
    scores = _scores(rewriter, masks, softmax.inputs[0])
    if mix is None or scores is None:
        return
    sizes = _sizes(rewriter, softmax, mix)
    lead = rewriter.shape(scores.product.outputs[0])[:-2]
    heads = lead[-1] if len(lead) >= 2 else sizes.heads
    if sizes.heads % heads:
        return
    query, key, value = scores.product.inputs[0], scores.product.inputs[1], mix.inputs[1]
    size, v_size = rewriter.shape(query)[-1], rewriter.shape(value)[-1]
    q = _rows(rewriter, query, (sizes.batch, sizes.heads, sizes.q_length, size))
    k = _columns(rewriter, key, (sizes.batch, heads, sizes.kv_length, size))
    v = _rows(rewriter, value, (sizes.batch, heads, sizes.kv_length, v_size))
    if v is not None and v.factor != 1:  # the kernel scales scores only
        v = Strided.contiguous(value, rewriter.shape(value)).reshaped(v.shape)
    mask = masks.join(scores.masks, sizes.scores)
    if q is None or k is None or v is None or mask is None:
        return
    if q.shape[1] != sizes.heads or k.shape[1] != v.shape[1]:
        return
    old, output, after = _result(rewriter, mix, sizes, v_size)
    new = Node(
        op="plan.Attention",
        inputs=(q.base, k.base, v.base, mask.base),
        outputs=(output,),
        attributes={
            "batch": sizes.batch,
            "heads": sizes.heads,
            "kv_heads": k.shape[1],
            "q_length": sizes.q_length,
            "kv_length": sizes.kv_length,
            "head_size": size,
            "v_size": v_size,
            "q_strides": _batch_row_head(q),
            "k_strides": _batch_row_head(k),
            "v_strides": _batch_row_head(v),
            "mask_strides": mask.strides,
            "causal": mask.is_causal,
            "scale": scores.scale * q.factor * k.factor,
        },
        label=mix.label,
    )
    rewriter.replace(old, [*mask.nodes, new, *after])


def _scores(rewriter: Rewriter, masks: Masks, name: str) -> _Scores | None:
    """Go from the softmax back to the product of queries and keys."""
    node = rewriter.maker(name)
    if node is None:
        return None
    if node.op == "MatMul":
        return _Scores(product=node, scale=1.0, masks=())
    if node.op in VIEWS:
        return _scores(rewriter, masks, node.inputs[0])
    shape = rewriter.shape(name)
    if node.op in ("Mul", "Div") and (factor := factor_of(rewriter, name)):
        found = _scores(rewriter, masks, factor[0])
        # What is scaled behind a mask scales the mask, too.
        if found is None or found.masks:
            return None
        return attrs.evolve(found, scale=found.scale * factor[1])
    if node.op == "Add":
        for source, mask in (node.inputs, node.inputs[::-1]):
            if rewriter.shape(source) == shape and (found := _scores(rewriter, masks, source)):
                return attrs.evolve(found, masks=(*found.masks, (mask, shape)))
    if node.op == "Where" and (hidden := masks.of_where(node)):
        source, mask = hidden
        if rewriter.shape(source) == shape and (found := _scores(rewriter, masks, source)):
            return attrs.evolve(found, masks=(*found.masks, (mask, shape)))
    return None


def _mixing(rewriter: Rewriter, shares: str) -> Node | None:
    """Return the product of the softmax and the values."""
    users = rewriter.users(shares)
    if {user.op for user in users} == {"IsNaN", "Where"} and len(users) == 2:
        # Rows that see nothing are made 0: the kernel does so by itself.
        where = next(user for user in users if user.op == "Where")
        if rewriter.scalar(where.inputs[1]) == 0 and where.inputs[2] == shares:
            shares = where.outputs[0]
    while view := rewriter.only_user(shares, *VIEWS):
        shares = view.outputs[0]
    node = rewriter.only_user(shares, "MatMul")
    return node if node and node.inputs[0] == shares else None


def _sizes(rewriter: Rewriter, softmax: Node, mix: Node) -> _Sizes:
    """Return sizes; where batch and heads are one axis, what follows may tell them apart.

    What is in front of batch, heads and rows (windows of an image) are more batches.
    """
    *lead, rows, columns = rewriter.shape(softmax.inputs[0])
    batch, heads = math.prod(lead[:-1]), lead[-1]
    view = rewriter.only_user(mix.outputs[0], "Reshape")
    if len(lead) == 1 and view:
        shape = rewriter.shape(view.outputs[0])
        if len(shape) == 4 and shape[0] * shape[1] == heads and shape[2] == rows:
            batch, heads = shape[:2]
    return _Sizes(batch=batch, heads=heads, q_length=rows, kv_length=columns)


def _rows(rewriter: Rewriter, name: str, shape: Shape) -> Strided | None:
    """Return a tensor as [batch, heads, rows, size], heads that are repeats of others left out.

    None where that is no walk over memory, or one whose last axis is not contiguous.
    """
    factor = 1.0
    while scaled := factor_of(rewriter, name):
        name, factor = scaled[0], factor * scaled[1]
    batch, heads, rows, size = shape
    best: Strided | None = None
    for one in _before_views(rewriter, name):
        found = trace(rewriter, one)
        if found.shape == shape:
            best = found
        if len(found.shape) == 5 and found.strides[2] == 0:
            _, groups, repeats, *_ = found.shape
            if found.shape == (batch, groups, repeats, rows, size) and groups * repeats == heads:
                strides = (*found.strides[:2], *found.strides[3:])
                best = attrs.evolve(found, shape=(batch, groups, rows, size), strides=strides)
    best = best or trace(rewriter, name).reshaped(shape)
    if best is None or (best.strides[-1] != 1 and size != 1):
        return None
    return attrs.evolve(best, factor=best.factor * factor)


def _columns(rewriter: Rewriter, name: str, shape: Shape) -> Strided | None:
    """Return a tensor [..., size, rows] as [batch, heads, rows, size]."""
    factor = 1.0
    while scaled := factor_of(rewriter, name):
        name, factor = scaled[0], factor * scaled[1]
    rank = len(rewriter.shape(name))
    swap = (*range(rank - 2), rank - 1, rank - 2)
    node = rewriter.maker(name, "Transpose")
    if node and tuple(node.attribute("perm", ())) == swap:
        found = _rows(rewriter, node.inputs[0], shape)
    else:
        found = trace(rewriter, name).transposed(swap).reshaped(shape)
        if found and found.strides[-1] != 1 and shape[-1] != 1:
            found = None
    return found and attrs.evolve(found, factor=found.factor * factor)


def _before_views(rewriter: Rewriter, name: str) -> Iterator[str]:
    yield name
    while node := rewriter.maker(name, *VIEWS):
        name = node.inputs[0]
        yield name


def _result(
    rewriter: Rewriter, mix: Node, sizes: _Sizes, v_size: int
) -> tuple[list[Node], str, list[Node]]:
    """Return nodes to replace, the tensor that attention puts out, and nodes to put behind it."""
    by_head = (sizes.batch, sizes.heads, sizes.q_length, v_size)
    by_row = (sizes.batch, sizes.q_length, sizes.heads, v_size)
    old, last = [mix], mix.outputs[0]
    view = rewriter.only_user(last, *VIEWS)
    if view and rewriter.shape(last) != by_head == rewriter.shape(view.outputs[0]):
        old, last = [mix, view], view.outputs[0]
    turn = rewriter.only_user(last, "Transpose")
    shape = rewriter.shape(last)
    front = len(shape) - 3
    if turn and math.prod(shape[:front]) == sizes.batch and shape[front:] == by_head[1:]:
        order = (*range(front), front + 1, front, front + 2)
        if tuple(turn.attribute("perm") or ()) == order:
            return [*old, turn], turn.outputs[0], []
    last = mix.outputs[0]
    if sizes.heads == 1 or sizes.q_length == 1:
        return [mix], last, []
    value = rewriter.graph.value(last)
    rows = rewriter.add_value(f"{last}/rows", by_row, value.dtype)
    label = mix.label
    turned = rewriter.add_value(f"{last}/heads", by_head, value.dtype)
    back = {"perm": (0, 2, 1, 3)}
    return (
        [mix],
        rows,
        [
            Node(op="Transpose", inputs=(rows,), outputs=(turned,), attributes=back, label=label),
            Node(op="Reshape", inputs=(turned,), outputs=(last,), label=label),
        ],
    )


def _batch_row_head(one: Strided) -> tuple[int, int, int, int]:
    batch, head, row, _ = one.strides
    return (batch, row, head, 0)


def flops(node: Node) -> int:
    """Return the multiplications and additions of a `plan.Attention`."""
    names = ("batch", "heads", "q_length", "kv_length")
    products = math.prod(int(node.attributes[one]) for one in names)
    return 2 * products * int(node.attributes["head_size"] + node.attributes["v_size"])
