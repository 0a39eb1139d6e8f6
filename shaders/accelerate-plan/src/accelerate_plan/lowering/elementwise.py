# SPDX-License-Identifier: Apache-2.0
"""Operators that compute each element by itself: arithmetic, functions, casts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs
import numpy as np

from ..codes import Binary, BinaryI32, Compare, Unary
from ..graph import Node
from .arguments import number
from .base import Lowering, lowers
from .movement import rename
from .steps import broadcast, cast, kind_of, shape_of, unary

#: Functions without parameters.
_FUNCTIONS: Mapping[str, Unary] = {
    "Abs": Unary.ABS,
    "Atan": Unary.ATAN,
    "Ceil": Unary.CEIL,
    "Cos": Unary.COS,
    "Erf": Unary.ERF,
    "Exp": Unary.EXP,
    "Floor": Unary.FLOOR,
    "HardSwish": Unary.HARD_SWISH,
    "Log": Unary.LOG,
    "Mish": Unary.MISH,
    "Neg": Unary.NEG,
    "Reciprocal": Unary.RECIPROCAL,
    "Relu": Unary.RELU,
    "Round": Unary.ROUND,
    "Sigmoid": Unary.SIGMOID,
    "Sign": Unary.SIGN,
    "Sin": Unary.SIN,
    "Softplus": Unary.SOFTPLUS,
    "Softsign": Unary.SOFTSIGN,
    "Sqrt": Unary.SQRT,
    "Tan": Unary.TAN,
    "Tanh": Unary.TANH,
}
#: Functions with parameters: the attributes and defaults that are alpha and beta.
_SHAPED: Mapping[str, tuple[Unary, tuple[tuple[str, float], ...]]] = {
    "Celu": (Unary.CELU, (("alpha", 1.0),)),
    "Elu": (Unary.ELU, (("alpha", 1.0),)),
    "HardSigmoid": (Unary.HARD_SIGMOID, (("alpha", 0.2), ("beta", 0.5))),
    "LeakyRelu": (Unary.LEAKY_RELU, (("alpha", 0.01),)),
    "Selu": (Unary.SELU, (("alpha", 1.6732631921768188), ("gamma", 1.0507010221481323))),
}
#: Functions of two numbers: on f32, on i32.
_PAIRS: Mapping[str, tuple[Binary, BinaryI32 | None]] = {
    "Add": (Binary.ADD, BinaryI32.ADD),
    "Div": (Binary.DIV, BinaryI32.DIV),
    "Max": (Binary.MAX, BinaryI32.MAX),
    "Min": (Binary.MIN, BinaryI32.MIN),
    "Mul": (Binary.MUL, BinaryI32.MUL),
    "PRelu": (Binary.PRELU, None),
    "Pow": (Binary.POW, BinaryI32.POW),
    "Sub": (Binary.SUB, BinaryI32.SUB),
}


@lowers(*_FUNCTIONS, "Gelu")
def function(low: Lowering, node: Node) -> None:
    """Apply a function of one number."""
    x = low.operand(node.inputs[0])
    if kind_of(low.out, x) == "i32":
        _integer_function(low, node, x)
        return
    if node.op == "Gelu":
        is_tanh = node.attribute("approximate", "none") == "tanh"
        operation = Unary.GELU_TANH if is_tanh else Unary.GELU
    else:
        operation = _FUNCTIONS[node.op]
    unary(low.out, operation, x, low.result(node), label=node.label)


def _integer_function(low: Lowering, node: Node, x: str) -> None:
    zero = low.out.constant(np.zeros((), np.int32))
    shape = low.shape(node.outputs[0])

    def step(a: str, b: str, code: BinaryI32, y: str) -> None:
        broadcast(low.out, "binary_i32", {"a": a, "b": b}, y, code=code, label=node.label)

    match node.op:
        case "Neg":
            step(zero, x, BinaryI32.SUB, low.result(node))
        case "Abs":
            negative = low.out.tensor(shape, "i32")
            step(zero, x, BinaryI32.SUB, negative)
            step(x, negative, BinaryI32.MAX, low.result(node))
        case "Relu":
            step(x, zero, BinaryI32.MAX, low.result(node))
        case "Sign":
            above, below = (low.out.tensor(shape, "i32") for _ in range(2))
            step(x, zero, BinaryI32.GREATER, above)
            step(x, zero, BinaryI32.LESS, below)
            step(above, below, BinaryI32.SUB, low.result(node))
        case _:
            raise low.refuse(node, "its input is whole numbers")


@lowers(*_SHAPED)
def shaped_function(low: Lowering, node: Node) -> None:
    """Apply a function of one number with parameters."""
    operation, names = _SHAPED[node.op]
    alpha, beta = (*(float(node.attribute(*one)) for one in names), 0.0)[:2]
    x, y = low.operand(node.inputs[0]), low.result(node)
    unary(low.out, operation, x, y, alpha=alpha, beta=beta, label=node.label)


@lowers("Clip")
def clip(low: Lowering, node: Node) -> None:
    """Keep numbers between two others."""
    x = low.operand(node.inputs[0])
    least, most = number(low, node, 1, "min"), number(low, node, 2, "max")
    if kind_of(low.out, x) == "i32":
        for bound, code in ((least, BinaryI32.MAX), (most, BinaryI32.MIN)):
            if bound is not None:
                limit = np.clip(bound, -(2**31), 2**31 - 1)
                operands = {"a": x, "b": low.out.constant(np.array(limit, np.int32))}
                x = low.out.tensor(low.shape(node.outputs[0]), "i32")
                broadcast(low.out, "binary_i32", operands, x, code=code, label=node.label)
        rename(low, node, x)
        return
    limits = np.finfo(np.float32)
    alpha = float(limits.min) if least is None else max(least, float(limits.min))
    beta = float(limits.max) if most is None else min(most, float(limits.max))
    # Where the bounds cross, ONNX takes the upper one; the kernel need not.
    alpha = min(alpha, beta)
    y = low.result(node)
    unary(low.out, Unary.CLIP, x, y, alpha=alpha, beta=beta, label=node.label)


@lowers(*_PAIRS, "Mod")
def arithmetic(low: Lowering, node: Node) -> None:
    """Compute with the numbers of two tensors, broadcast; Max and Min of more."""
    _fold(low, node, node.inputs, low.result)


@lowers("Sum", "Mean")
def total(low: Lowering, node: Node) -> None:
    """Add up tensors, broadcast."""
    add = attrs.evolve(node, op="Add")
    if node.op == "Sum":
        _fold(low, add, node.inputs, low.result)
        return
    shape = low.shape(node.outputs[0])
    summed = _fold(low, add, node.inputs, lambda _: low.out.tensor(shape))
    factor = 1.0 / len(node.inputs)
    unary(low.out, Unary.AFFINE, summed, low.result(node), alpha=factor, label=node.label)


def _fold(low: Lowering, node: Node, names: Sequence[str], result: Callable[[Node], str]) -> str:
    """Apply an operator of two to the first name and each further one; return the last result."""
    found = low.operand(names[0])
    shape = low.shape(names[0])
    if len(names) == 1:
        rename(low, node, found)
    for index, name in enumerate(names[1:], 2):
        shape = np.broadcast_shapes(shape, low.shape(name))
        is_last = index == len(names)
        y = result(node) if is_last else low.out.tensor(shape, kind_of(low.out, found))
        _pair(low, node, found, low.operand(name), y)
        found = y
    return found


def _pair(low: Lowering, node: Node, a: str, b: str, y: str) -> None:
    out = low.out
    kinds = kind_of(out, a), kind_of(out, b)
    if kinds == ("i32", "i32"):
        whole = _PAIRS[node.op][1] if node.op in _PAIRS else _modulus(node)
        if whole is None:
            raise low.refuse(node, "its input is whole numbers")
        broadcast(out, "binary_i32", {"a": a, "b": b}, y, code=whole, label=node.label)
        return
    if kinds[0] == "i32":
        raise low.refuse(node, "it mixes whole numbers and fractions")
    if kinds[1] == "i32":
        made = out.tensor(shape_of(out, b))
        cast(out, "cast_f32", b, made, label=node.label)
        b = made
    if (simple := _with_number(low, node.op, a, b, y)) is not None:
        operation, x, alpha, beta = simple
        unary(out, operation, x, y, alpha=alpha, beta=beta, label=node.label)
        return
    code = _PAIRS[node.op][0] if node.op in _PAIRS else Binary.FMOD
    broadcast(out, "binary", {"a": a, "b": b}, y, code=code, label=node.label)


def _modulus(node: Node) -> BinaryI32:
    return BinaryI32.FMOD if node.attribute("fmod", 0) else BinaryI32.MOD


def _with_number(
    low: Lowering, op: str, a: str, b: str, y: str
) -> tuple[Unary, str, float, float] | None:
    """Return the function of one tensor that a pair is, when one side is a number or both equal."""
    shape = low.out.tensors[y].shape
    if a == b:
        same = {"Mul": (Unary.SQUARE, a, 0.0, 0.0), "Add": (Unary.AFFINE, a, 2.0, 0.0)}
        return same.get(op)
    right, left = _number(low, b), _number(low, a)
    if right is not None and shape_of(low.out, a) == shape:
        match op:
            case "Add":
                return Unary.AFFINE, a, 1.0, right
            case "Sub":
                return Unary.AFFINE, a, 1.0, -right
            case "Mul":
                return Unary.AFFINE, a, right, 0.0
            case "Div" if np.isfinite(np.float32(1.0) / np.float32(right)):
                return Unary.AFFINE, a, 1.0 / right, 0.0
            case "Pow" if right == 2.0:
                return Unary.SQUARE, a, 0.0, 0.0
            case "Pow" if right == 0.5:
                return Unary.SQRT, a, 0.0, 0.0
            case "Pow":
                return Unary.POW, a, right, 0.0
    if left is not None and shape_of(low.out, b) == shape:
        match op:
            case "Add":
                return Unary.AFFINE, b, 1.0, left
            case "Sub":
                return Unary.AFFINE, b, -1.0, left
            case "Mul":
                return Unary.AFFINE, b, left, 0.0
            case "Div" if left == 1.0:
                return Unary.RECIPROCAL, b, 0.0, 0.0
    return None


def _number(low: Lowering, operand: str) -> float | None:
    """Return a constant of one finite element."""
    value = low.out.constants.get(operand)
    if value is None or value.size != 1 or not np.isfinite(value).all():
        return None
    return float(value.reshape(()))


@lowers("Cast", "CastLike")
def cast_(low: Lowering, node: Node) -> None:
    """Change the type: floats to whole numbers are cut towards 0; bool is whether it is not 0."""
    x, wanted = low.operand(node.inputs[0]), low.graph.value(node.outputs[0]).dtype
    stored = kind_of(low.out, x)
    if wanted == "bool" and low.graph.value(node.inputs[0]).dtype != "bool":
        zero = low.out.constant(np.zeros((), np.float32 if stored == "f32" else np.int32))
        operation = "compare" if stored == "f32" else "binary_i32"
        given, y = {"a": x, "b": zero}, low.result(node)
        broadcast(low.out, operation, given, y, code=Compare.NOT_EQUAL, label=node.label)
    elif wanted.startswith("float") == (stored == "f32"):
        rename(low, node, x)
    else:
        operation = "cast_i32" if stored == "f32" else "cast_f32"
        cast(low.out, operation, x, low.result(node), label=node.label)
