# SPDX-License-Identifier: Apache-2.0
"""Tensors as walks over the memory of others: what a kernel that takes strides need not copy."""

from __future__ import annotations

import math

import attrs

from ..graph import Shape
from .matching import VIEWS, Rewriter


@attrs.frozen(kw_only=True)
class Strided:
    """Say where a tensor's elements are: in a contiguous tensor, by strides, times a factor."""

    base: str
    shape: Shape
    strides: tuple[int, ...]  #: elements
    factor: float = 1.0

    @classmethod
    def contiguous(cls, name: str, shape: Shape) -> Strided:
        """Return a tensor as what it is."""
        strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
        return cls(base=name, shape=shape, strides=strides)

    def transposed(self, order: tuple[int, ...]) -> Strided:
        """Return it with its axes in another order."""
        return attrs.evolve(
            self,
            shape=tuple(self.shape[i] for i in order),
            strides=tuple(self.strides[i] for i in order),
        )

    def reshaped(self, shape: Shape) -> Strided | None:
        """Return it in another shape; None where its elements do not lie so, or are others."""
        if 0 in shape or math.prod(shape) != math.prod(self.shape):
            return None
        old: list[tuple[int, int]] = []  # size and stride of axes that lie apart
        for size, step in zip(self.shape, self.strides, strict=True):
            if size == 1:
                continue
            if old and old[-1][1] == step * size:
                old[-1] = (old[-1][0] * size, step)
            else:
                old.append((size, step))
        strides: list[int] = []
        for size in reversed(shape):
            if size == 1:
                strides.append(0)
                continue
            length, step = old.pop()
            if length % size:
                return None
            strides.append(step)
            if length > size:
                old.append((length // size, step * size))
        return attrs.evolve(self, shape=shape, strides=tuple(reversed(strides)))

    def expanded(self, shape: Shape) -> Strided:
        """Return it repeated along its axes of size 1, and along new ones in front."""
        new = len(shape) - len(self.shape)
        old = zip(self.shape, self.strides, shape[new:], strict=True)
        strides = (0,) * new + tuple(0 if n == 1 and n != to else s for n, s, to in old)
        return attrs.evolve(self, shape=shape, strides=strides)


def trace(rewriter: Rewriter, name: str) -> Strided:
    """Return a tensor as a walk over the farthest tensor that holds its elements.

    Factors on the way are collected; a tensor that is computed is itself.
    """
    shape = rewriter.shape(name)
    node = rewriter.maker(name, "Transpose", "Expand", "Mul", "Div", *VIEWS)
    found: Strided | None = None
    if node is None:
        return Strided.contiguous(name, shape)
    if node.op in ("Mul", "Div"):
        factor = factor_of(rewriter, name)
        if factor:
            source, number = factor
            found = trace(rewriter, source)
            found = attrs.evolve(found, factor=found.factor * number)
    elif node.op == "Transpose":
        order = tuple(node.attribute("perm") or range(len(shape))[::-1])
        found = trace(rewriter, node.inputs[0]).transposed(order)
    elif node.op == "Expand":
        found = trace(rewriter, node.inputs[0]).expanded(shape)
    else:
        found = trace(rewriter, node.inputs[0]).reshaped(shape)
    return found or Strided.contiguous(name, shape)


def flat(rewriter: Rewriter, name: str) -> str:
    """Return the farthest tensor that has the same elements in the same order."""
    shape = rewriter.shape(name)
    walk = trace(rewriter, name)
    steps = zip(shape, walk.strides, Strided.contiguous(name, shape).strides, strict=True)
    is_flat = all(size == 1 or one == other for size, one, other in steps)
    is_whole = math.prod(rewriter.shape(walk.base)) == math.prod(shape)
    return walk.base if is_flat and is_whole and walk.factor == 1 else name


def factor_of(rewriter: Rewriter, name: str) -> tuple[str, float] | None:
    """Return what a tensor is a multiple of, and the factor; None where it is no multiple."""
    node = rewriter.maker(name, "Mul", "Div")
    if node is None:
        return None
    left, right = node.inputs
    number = rewriter.scalar(right)
    if number is not None and rewriter.shape(left) == rewriter.shape(name):
        if node.op == "Mul":
            return left, number
        return (left, 1 / number) if number else None
    number = rewriter.scalar(left)
    if number is not None and node.op == "Mul" and rewriter.shape(right) == rewriter.shape(name):
        return right, number
    return None
