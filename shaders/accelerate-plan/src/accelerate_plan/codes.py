# SPDX-License-Identifier: Apache-2.0
"""What the param `operation` (or `activation`) of a kernel means.

Lowerings write these numbers and references read them; the WGSL of a kernel has the same numbers
in its `switch`. A number never changes its meaning: compiled plans contain them.
"""

from __future__ import annotations

from enum import IntEnum


class Activation(IntEnum):
    """`activation` of `linear` and its kin."""

    NONE = 0
    RELU = 1
    GELU = 2  #: x * (1 + erf(x / sqrt(2))) / 2
    GELU_TANH = 3
    SILU = 4  #: x * sigmoid(x)
    QUICK_GELU = 5  #: x * sigmoid(1.702 x)
    TANH = 6
    SIGMOID = 7


class Unary(IntEnum):
    """`operation` of `unary`: the activations by the same numbers, then the rest of ONNX."""

    IDENTITY = 0
    RELU = 1
    GELU = 2
    GELU_TANH = 3
    SILU = 4
    QUICK_GELU = 5
    TANH = 6
    SIGMOID = 7
    ABS = 8
    NEG = 9
    EXP = 10
    LOG = 11
    SQRT = 12
    RSQRT = 13
    RECIPROCAL = 14
    SQUARE = 15
    ERF = 16
    SIN = 17
    COS = 18
    FLOOR = 19
    CEIL = 20
    ROUND = 21  #: halves to even
    SIGN = 22
    AFFINE = 23  #: alpha * x + beta
    CLIP = 24  #: between alpha and beta
    POW = 25  #: x to the power alpha; as `Binary.POW`
    LEAKY_RELU = 26  #: alpha * x below 0
    ELU = 27  #: alpha * (exp(x) - 1) below 0
    SELU = 28  #: beta times that; ONNX calls beta gamma
    CELU = 29  #: alpha * (exp(x / alpha) - 1) below 0
    HARD_SIGMOID = 30  #: clip(alpha * x + beta, 0, 1)
    HARD_SWISH = 31  #: x * clip(x / 6 + 1 / 2, 0, 1)
    SOFTPLUS = 32
    SOFTSIGN = 33
    MISH = 34  #: x * tanh(softplus(x))
    TAN = 35
    ATAN = 36


class Binary(IntEnum):
    """`operation` of `binary`, on f32."""

    ADD = 0
    SUB = 1
    MUL = 2
    DIV = 3
    POW = 4  #: real where it exists: a negative base takes whole exponents
    MAX = 5
    MIN = 6
    FMOD = 7  #: the sign of a; ONNX's Mod with fmod = 1
    PRELU = 8  #: a * b where a < 0


class BinaryI32(IntEnum):
    """`operation` of `binary_i32`; comparisons and logic give 0 or 1, a true operand is not 0."""

    ADD = 0
    SUB = 1
    MUL = 2
    DIV = 3  #: towards 0
    POW = 4  #: 0 for a negative exponent, unless the base is 1 or -1
    MAX = 5
    MIN = 6
    FMOD = 7  #: the sign of a
    MOD = 8  #: the sign of b
    EQUAL = 9
    NOT_EQUAL = 10
    LESS = 11
    LESS_OR_EQUAL = 12
    GREATER = 13
    GREATER_OR_EQUAL = 14
    AND = 15
    OR = 16
    XOR = 17


class Compare(IntEnum):
    """`operation` of `compare`: f32 to 0 or 1, by the numbers of `BinaryI32`."""

    EQUAL = 9
    NOT_EQUAL = 10
    LESS = 11
    LESS_OR_EQUAL = 12
    GREATER = 13
    GREATER_OR_EQUAL = 14


class Reduce(IntEnum):
    """`operation` of `reduce`."""

    SUM = 0
    MEAN = 1
    MAX = 2
    MIN = 3
    PROD = 4
    L1 = 5
    L2 = 6
    SUM_SQUARE = 7
    LOG_SUM_EXP = 8


class ReduceIndex(IntEnum):
    """`operation` of `reduce_index`: the index of the first extreme value, as i32."""

    ARG_MAX = 0
    ARG_MIN = 1


class Pool(IntEnum):
    """`operation` of `pool`."""

    MAX = 0
    AVERAGE = 1  #: over the elements that are there
    AVERAGE_PADDED = 2  #: padding counted as zeros; ONNX's count_include_pad
