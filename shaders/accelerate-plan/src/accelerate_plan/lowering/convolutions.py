# SPDX-License-Identifier: Apache-2.0
"""Convolutions that stayed such, what unfolds the others, and pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..codes import Pool
from ..graph import Node
from ..windows import Window, window_of
from .base import Lowering, lowers


@lowers("plan.Unfold")
def unfold(low: Lowering, node: Node) -> None:
    """Lay out what a window sees: one step, with x read by strides."""
    window: Window = node.attributes["window"]
    params = {
        "x_strides": node.attributes["strides"],
        "batch": node.attributes["batch"],
        "channels": node.attributes["channels"],
        **_params(window),
    }
    operands = {"x": low.operand(node.inputs[0]), "y": low.result(node)}
    low.out.step("unfold", operands, params, label=node.label)


@lowers("Conv")
def conv(low: Lowering, node: Node) -> None:
    """Convolve directly: channels in groups, or an input too large to be unfolded."""
    weight = low.constant(node.inputs[1])
    if weight is None:
        raise low.refuse(node, "its weight is computed")
    batch, channels = low.shape(node.inputs[0])[:2]
    bias = node.inputs[2] if len(node.inputs) > 2 else ""
    operands = {
        "x": low.operand(node.inputs[0]),
        "w": low.operand(node.inputs[1]),
        "y": low.result(node),
    }
    if bias:
        operands["bias"] = low.operand(bias)
    params = {
        "batch": batch,
        "channels": channels,
        "out_channels": weight.shape[0],
        "groups": node.attribute("group", 1),
        "has_bias": bool(bias),
        **_params(_window(low, node, weight.shape[2:])),
    }
    flops = 2 * math.prod(low.shape(node.outputs[0])) * math.prod(weight.shape[1:])
    low.out.step("conv2d", operands, params, label=node.label, flops=flops)


@lowers("MaxPool", "AveragePool")
def pool(low: Lowering, node: Node) -> None:
    """Take the largest number or the mean of what a window sees."""
    if len([one for one in node.outputs if one]) > 1:
        raise low.refuse(node, "it also puts out indices")
    operation = Pool.MAX if node.op == "MaxPool" else Pool.AVERAGE
    if node.op == "AveragePool" and node.attribute("count_include_pad", 0):
        if node.attribute("ceil_mode", 0):
            raise low.refuse(node, "it counts padding, and ceil_mode adds more of it")
        operation = Pool.AVERAGE_PADDED
    batch, channels = low.shape(node.inputs[0])[:2]
    operands = {"x": low.operand(node.inputs[0]), "y": low.result(node)}
    params = {
        "images": batch * channels,
        "operation": operation,
        **_params(_window(low, node, node.attribute("kernel_shape"))),
    }
    low.out.step("pool", operands, params, label=node.label)


def _window(low: Lowering, node: Node, kernel: Sequence[int]) -> Window:
    shape, result = low.shape(node.inputs[0]), low.shape(node.outputs[0])
    window = window_of(node, shape, result, kernel)
    if window is None:
        raise low.refuse(node, f"it slides over {len(shape) - 2} axes, not 1 or 2")
    return window


def _params(window: Window) -> dict[str, int]:
    """Return a window as kernels call it."""
    return {
        "height": window.size[0],
        "width": window.size[1],
        "kernel_height": window.kernel[0],
        "kernel_width": window.kernel[1],
        "out_height": window.places[0],
        "out_width": window.places[1],
        "stride_y": window.stride[0],
        "stride_x": window.stride[1],
        "dilation_y": window.dilation[0],
        "dilation_x": window.dilation[1],
        "pad_y": window.pad[0],
        "pad_x": window.pad[1],
    }
