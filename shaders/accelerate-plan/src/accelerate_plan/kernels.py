# SPDX-License-Identifier: Apache-2.0
"""Kernels as values: the contract of an operation and its variants."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import attrs

from accelerate_core.errors import PluginError, Unsupported

from .expressions import evaluate
from .params import Value

Role = Literal["input", "constant", "output"]
Scalar = Literal["f32", "u32", "i32"]


@attrs.frozen(kw_only=True)
class Binding:
    """Describe an operand, bound at `@group(0) @binding(position + 1)`."""

    name: str
    #: input: an activation, declared `read_write` because all activations share buffers, and a
    #: buffer is bound in one way only; constant: a weight, declared `read`; output: `read_write`.
    role: Role
    type: Scalar = "f32"  #: of the logical elements; WGSL may view them as vec4
    layout: str = "plain"  #: how a constant is packed, see `accelerate_plan.packing`
    optional: bool = False  #: a step may leave it out; the kernel learns so by a param

    @property
    def access(self) -> str:
        """How WGSL declares it."""
        return "read" if self.role == "constant" else "read_write"


@attrs.frozen(kw_only=True)
class Variant:
    """Describe one implementation of an operation: one WGSL file."""

    name: str  #: of another plugin than the operation's own: "<plugin>/<name>"
    source: str = attrs.field(repr=False)  #: WGSL; the entry point is `main`
    grid: tuple[str, str, str]  #: workgroups in x, y, z: expressions, rounded up
    when: str = "1"  #: the params it is for
    constants: Mapping[str, float] = attrs.field(factory=dict)  #: WGSL overrides
    #: Other values of constants worth measuring, by name.
    tune: Mapping[str, tuple[float, ...]] = attrs.field(factory=dict)
    #: Scalar params that are WGSL overrides of the same name, too: a pipeline for each value. For
    #: a `switch` of many cases: drivers compile all of them, and software ones may run them all.
    specialise: tuple[str, ...] = ()
    features: tuple[str, ...] = ()  #: of the device: "shader-f16", "subgroups"
    limits: Mapping[str, float] = attrs.field(factory=dict)  #: least limits of the device
    #: Where to guess it before anything was measured: on software adapters, on GPUs, anywhere.
    suits: Literal["software", "hardware", "any"] = "any"


@attrs.frozen(kw_only=True)
class Kernel:
    """Describe an operation: its operands, its params and its variants."""

    operation: str
    summary: str
    tolerance: float  #: normalised RMS error against fp64
    bindings: tuple[Binding, ...]
    params: Mapping[str, str]  #: name -> WGSL type, in the order of `struct Params`
    variants: tuple[Variant, ...] = ()

    def variant(self, name: str) -> Variant:
        """Return a variant by name; PluginError when there is none."""
        for one in self.variants:
            if one.name == name:
                return one
        raise PluginError(
            f"{self.operation} has no variant {name!r}",
            accepted=tuple(one.name for one in self.variants),
        )

    def binding(self, name: str) -> Binding:
        """Return an operand by name; PluginError when there is none."""
        for one in self.bindings:
            if one.name == name:
                return one
        raise PluginError(
            f"{self.operation} has no operand {name!r}",
            accepted=tuple(one.name for one in self.bindings),
        )


@attrs.frozen(kw_only=True)
class Device:
    """What choosing variants and splitting buffers depends on."""

    features: frozenset[str] = frozenset()
    limits: Mapping[str, float] = attrs.field(factory=dict)  #: by WebGPU name; missing: default
    is_software: bool | None = None
    adapter: str = ""  #: key of measured results: vendor, architecture, device, browser engine

    def limit(self, name: str) -> float:
        """Return a limit by its WebGPU name."""
        return self.limits.get(name, DEFAULT_LIMITS[name])


#: The limits every WebGPU device has, where we depend on them (WebGPU specification, 3.6.2).
DEFAULT_LIMITS: Mapping[str, float] = {
    "maxBufferSize": 268435456,
    "maxStorageBufferBindingSize": 134217728,
    "maxStorageBuffersPerShaderStage": 8,
    "maxComputeInvocationsPerWorkgroup": 256,
    "maxComputeWorkgroupSizeX": 256,
    "maxComputeWorkgroupSizeY": 256,
    "maxComputeWorkgroupSizeZ": 64,
    "maxComputeWorkgroupStorageSize": 16384,
    "maxComputeWorkgroupsPerDimension": 65535,
    "minStorageBufferOffsetAlignment": 256,
    "minUniformBufferOffsetAlignment": 256,
}


def names_of(params: Mapping[str, Value], constants: Mapping[str, float]) -> dict[str, float]:
    """Return what expressions may use: scalar params, components (`shape_0`), constants."""
    names: dict[str, float] = {}
    for name, value in params.items():
        if isinstance(value, int | float):
            names[name] = value
        else:
            names.update({f"{name}_{i}": one for i, one in enumerate(value)})
    return names | dict(constants)


def is_for(variant: Variant, params: Mapping[str, Value], device: Device) -> bool:
    """Whether a variant can do a step on a device."""
    return (
        device.features.issuperset(variant.features)
        and all(device.limit(name) >= least for name, least in variant.limits.items())
        and bool(evaluate(variant.when, names_of(params, variant.constants), where=variant.name))
    )


def grid_of(
    variant: Variant, params: Mapping[str, Value], constants: Mapping[str, float], device: Device
) -> tuple[int, int, int]:
    """Return the workgroups of a dispatch; Unsupported when a device cannot count so many."""
    names = names_of(params, constants)
    x, y, z = (max(1, math.ceil(evaluate(one, names, where=variant.name))) for one in variant.grid)
    most = device.limit("maxComputeWorkgroupsPerDimension")
    if max(x, y, z) > most:
        raise Unsupported(
            f"{variant.name} needs {x} x {y} x {z} workgroups, the device allows {most:.0f} a side",
            hint="The variant needs a loop over what one workgroup does not cover.",
        )
    return x, y, z
