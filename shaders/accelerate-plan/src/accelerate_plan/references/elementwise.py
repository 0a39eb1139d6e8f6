# SPDX-License-Identifier: Apache-2.0
"""References of what works on elements, with broadcasting by strides."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..codes import Binary, BinaryI32, Compare, Unary
from ..params import Value
from . import reference
from .reading import integer, integers, number

if TYPE_CHECKING:
    from accelerate_core.types import Array

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1 + np.tanh(0.5 * x))


def _softplus(x: Array) -> Array:
    return np.logaddexp(0.0, x)


def _where_negative(x: Array, scale: float, value: Array) -> Array:
    return np.where(x < 0, scale * value, x)


def _below_0(x: Array) -> Array:
    return np.minimum(x, 0.0)


#: f(x, alpha, beta)
UNARY: Mapping[Unary, Callable[[Array, float, float], Array]] = {
    Unary.IDENTITY: lambda x, a, b: x,
    Unary.RELU: lambda x, a, b: np.maximum(x, 0),
    Unary.GELU: lambda x, a, b: 0.5 * x * (1 + _erf(x / math.sqrt(2))),
    Unary.GELU_TANH: lambda x, a, b: (
        0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    ),
    Unary.SILU: lambda x, a, b: x * _sigmoid(x),
    Unary.QUICK_GELU: lambda x, a, b: x * _sigmoid(1.702 * x),
    Unary.TANH: lambda x, a, b: np.tanh(x),
    Unary.SIGMOID: lambda x, a, b: _sigmoid(x),
    Unary.ABS: lambda x, a, b: np.abs(x),
    Unary.NEG: lambda x, a, b: -x,
    Unary.EXP: lambda x, a, b: np.exp(x),
    Unary.LOG: lambda x, a, b: np.log(x),
    Unary.SQRT: lambda x, a, b: np.sqrt(x),
    Unary.RSQRT: lambda x, a, b: 1 / np.sqrt(x),
    Unary.RECIPROCAL: lambda x, a, b: 1 / x,
    Unary.SQUARE: lambda x, a, b: x * x,
    Unary.ERF: lambda x, a, b: _erf(x),
    Unary.SIN: lambda x, a, b: np.sin(x),
    Unary.COS: lambda x, a, b: np.cos(x),
    Unary.FLOOR: lambda x, a, b: np.floor(x),
    Unary.CEIL: lambda x, a, b: np.ceil(x),
    Unary.ROUND: lambda x, a, b: np.round(x),
    Unary.SIGN: lambda x, a, b: np.sign(x),
    Unary.AFFINE: lambda x, a, b: a * x + b,
    Unary.CLIP: lambda x, a, b: np.clip(x, a, b),
    Unary.POW: lambda x, a, b: np.power(x, a),
    Unary.LEAKY_RELU: lambda x, a, b: _where_negative(x, a, x),
    Unary.ELU: lambda x, a, b: _where_negative(x, a, np.expm1(_below_0(x))),
    Unary.SELU: lambda x, a, b: b * _where_negative(x, a, np.expm1(_below_0(x))),
    Unary.CELU: lambda x, a, b: _where_negative(x, a, np.expm1(_below_0(x) / a)),
    Unary.HARD_SIGMOID: lambda x, a, b: np.clip(a * x + b, 0, 1),
    Unary.HARD_SWISH: lambda x, a, b: x * np.clip(x / 6 + 0.5, 0, 1),
    Unary.SOFTPLUS: lambda x, a, b: _softplus(x),
    Unary.SOFTSIGN: lambda x, a, b: x / (1 + np.abs(x)),
    Unary.MISH: lambda x, a, b: x * np.tanh(_softplus(x)),
    Unary.TAN: lambda x, a, b: np.tan(x),
    Unary.ATAN: lambda x, a, b: np.arctan(x),
}

BINARY: Mapping[Binary, Callable[[Array, Array], Array]] = {
    Binary.ADD: np.add,
    Binary.SUB: np.subtract,
    Binary.MUL: np.multiply,
    Binary.DIV: np.divide,
    Binary.POW: np.power,
    Binary.MAX: np.maximum,
    Binary.MIN: np.minimum,
    Binary.FMOD: np.fmod,
    Binary.PRELU: lambda a, b: np.where(a < 0, a * b, a),
}


COMPARE: Mapping[Compare, Callable[[Array, Array], Array]] = {
    Compare.EQUAL: np.equal,
    Compare.NOT_EQUAL: np.not_equal,
    Compare.LESS: np.less,
    Compare.LESS_OR_EQUAL: np.less_equal,
    Compare.GREATER: np.greater,
    Compare.GREATER_OR_EQUAL: np.greater_equal,
}

#: On int64, wrapped to i32 afterwards.
BINARY_I32: Mapping[BinaryI32, Callable[[Array, Array], Array]] = {
    BinaryI32.ADD: np.add,
    BinaryI32.SUB: np.subtract,
    BinaryI32.MUL: np.multiply,
    BinaryI32.DIV: lambda a, b: (a - np.fmod(a, b)) // b,
    BinaryI32.POW: lambda a, b: _whole_power(a, b),
    BinaryI32.MAX: np.maximum,
    BinaryI32.MIN: np.minimum,
    BinaryI32.FMOD: np.fmod,
    BinaryI32.MOD: np.mod,
    **{BinaryI32(code): function for code, function in COMPARE.items()},
    BinaryI32.AND: np.logical_and,
    BinaryI32.OR: np.logical_or,
    BinaryI32.XOR: np.logical_xor,
}


def _whole_power(a: Array, b: Array) -> Array:
    fraction = np.where(np.abs(a) == 1, np.where(b % 2 == 0, 1, a), 0)
    return np.where(b < 0, fraction, np.power(a, np.maximum(b, 0)))


@reference("unary")
def unary(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y`: a function of every element of `x`."""
    function = UNARY[Unary(integer(params, "operation"))]
    x = operands["x"].astype(np.float64)
    return {"y": function(x, number(params, "alpha"), number(params, "beta"))}


@reference("binary")
def binary(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y`: a function of the elements of `a` and `b` that meet, in the 4-axis shape."""
    function = BINARY[Binary(integer(params, "operation"))]
    a, b = (strided(operands[name], params, name).astype(np.float64) for name in "ab")
    return {"y": function(a, b)}


def strided(value: Array, params: Mapping[str, Value], name: str) -> Array:
    """Return an operand as a kernel sees it: by `shape` and `<name>_strides`, in elements."""
    strides = [value.itemsize * one for one in integers(params, f"{name}_strides")]
    flat = np.ascontiguousarray(value).reshape(-1)
    return np.lib.stride_tricks.as_strided(flat, integers(params, "shape"), strides)


@reference("compare")
def compare(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y`: 1 where a comparison of `a` and `b` holds, else 0, in the 4-axis shape."""
    function = COMPARE[Compare(integer(params, "operation"))]
    return {"y": function(*(strided(operands[name], params, name) for name in "ab")).astype("i4")}


@reference("binary_i32")
def binary_i32(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y`: a function of the whole numbers of `a` and `b` that meet, in the 4-axis shape."""
    function = BINARY_I32[BinaryI32(integer(params, "operation"))]
    a, b = (strided(operands[name], params, name).astype(np.int64) for name in "ab")
    return {"y": function(a, b).astype(np.int64).astype(np.int32)}


@reference("select")
def select(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y`: elements of `a` where `condition` is not 0, else of `b`."""
    condition, a, b = (strided(operands[name], params, name) for name in ("condition", "a", "b"))
    return {"y": np.where(condition != 0, a, b)}


@reference("cast_i32")
def cast_i32(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y`: `x` without its fraction, in the range of i32."""
    limits = np.iinfo(np.int32)
    x = np.trunc(operands["x"].astype(np.float64))
    return {"y": np.clip(x, limits.min, limits.max).astype(np.int32)}


@reference("cast_f32")
def cast_f32(params: Mapping[str, Value], operands: Mapping[str, Array]) -> dict[str, Array]:
    """Return `y`: the numbers of `x`, scaled and shifted."""
    # As f32 first: no larger number is between an i32 and the f32 nearest to it.
    x = operands["x"].astype(np.float32).astype(np.float64)
    return {"y": number(params, "alpha") * x + number(params, "beta")}
