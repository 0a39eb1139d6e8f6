# SPDX-License-Identifier: Apache-2.0
"""The adapters of this machine: find them, choose one, say what it is in WebGPU's words."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from accelerate_core.errors import BackendUnavailable
from accelerate_core.types import AdapterInfo

if TYPE_CHECKING:
    import wgpu

    from . import WgpuSettings

#: What kernels may make use of: wgpu's name -> WebGPU's.
FEATURES: Mapping[str, str] = {
    "shader-f16": "shader-f16",
    "subgroup": "subgroups",
    "timestamp-query": "timestamp-query",
}
#: Adapter types, best first.
_ORDER: Mapping[str, Sequence[str]] = {
    "high-performance": ("DiscreteGPU", "IntegratedGPU", "Unknown", "CPU"),
    "low-power": ("IntegratedGPU", "DiscreteGPU", "Unknown", "CPU"),
}
_APIS = {"vulkan": "Vulkan", "metal": "Metal", "d3d12": "D3D12"}
REMEDY = "Install a Vulkan driver of your GPU, or a software one: apt install mesa-vulkan-drivers"


@functools.cache
def installed() -> tuple[wgpu.GPUAdapter, ...]:
    """Return the adapters of this machine; ImportError or OSError when wgpu cannot be loaded.

    OpenGL is left out: its drivers lack much of what kernels need.
    """
    import wgpu
    from wgpu.backends.wgpu_native.extras import set_instance_extras

    with _no_display_asked():
        # RuntimeError: another user of wgpu in this process was first.
        with contextlib.suppress(RuntimeError):
            set_instance_extras(backends=["Primary"])
        return tuple(wgpu.gpu.enumerate_adapters_sync())


def choose(adapters: Sequence[wgpu.GPUAdapter], settings: WgpuSettings) -> wgpu.GPUAdapter:
    """Return the adapter that settings ask for; BackendUnavailable when there is none."""
    if not adapters:
        raise BackendUnavailable("no adapter was found", where="wgpu", hint=REMEDY)
    able = [
        one
        for one in adapters
        if settings.adapter.lower() in name_of(one).lower() and settings.api in (None, _api_of(one))
    ]
    if not able:
        raise BackendUnavailable(
            "no adapter is what the settings ask for",
            where="backends.wgpu",
            accepted=tuple(f"{name_of(one)} ({_api_of(one)})" for one in adapters),
            hint="Change adapter or api, or leave them out.",
        )
    order = _ORDER[settings.power]
    return min(able, key=lambda one: _rank(order, one.info["adapter_type"]))


def name_of(adapter: wgpu.GPUAdapter) -> str:
    """Return an adapter's name."""
    return str(adapter.info["device"])


def describe(adapter: wgpu.GPUAdapter) -> AdapterInfo:
    """Return what the driver says of an adapter."""
    info = adapter.info
    return AdapterInfo(
        vendor=info["vendor"] or None,
        architecture=info["architecture"] or None,
        device=info["device"] or None,
        description=info["description"] or None,
    )


def is_software(adapter: wgpu.GPUAdapter) -> bool:
    """Whether the processor does an adapter's work."""
    return bool(adapter.info["adapter_type"] == "CPU")


def features_of(device: wgpu.GPUDevice) -> tuple[str, ...]:
    """Return what a device can do, of what kernels may make use of, by WebGPU name."""
    return tuple(sorted(name for theirs, name in FEATURES.items() if theirs in device.features))


def limits_of(device: wgpu.GPUDevice) -> dict[str, int]:
    """Return a device's limits by WebGPU name."""
    return {_camel(name): int(value) for name, value in device.limits.items()}


def _camel(name: str) -> str:
    first, *rest = name.split("-")
    return first + "".join(one.upper() if one[0].isdigit() else one.capitalize() for one in rest)


def _api_of(adapter: wgpu.GPUAdapter) -> str | None:
    found = adapter.info["backend_type"]
    return next((name for name, theirs in _APIS.items() if theirs == found), None)


def _rank(order: Sequence[str], kind: str) -> int:
    return order.index(kind) if kind in order else order.index("Unknown")


@contextlib.contextmanager
def _no_display_asked() -> Iterator[None]:
    """Keep Mesa's device selection from asking a Wayland display that cannot be there.

    It prints an error for each try; what it would change is the order of adapters, and we choose.
    """
    names = {"XDG_RUNTIME_DIR", "NODEVICE_SELECT"}
    if names & set(os.environ):
        yield
        return
    os.environ["NODEVICE_SELECT"] = "1"
    try:
        yield
    finally:
        del os.environ["NODEVICE_SELECT"]
