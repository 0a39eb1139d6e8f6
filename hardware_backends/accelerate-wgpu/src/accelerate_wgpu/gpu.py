# SPDX-License-Identifier: Apache-2.0
"""A device and what plans share on it: pipelines and weights. One thread only."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wgpu
from accelerate_plan.plan import Buffer, Pipeline

from accelerate_core.errors import BackendUnavailable, ModelError, PluginError, WorkerLost

from .adapters import FEATURES
from .quirks import mended

if TYPE_CHECKING:
    from wgpu import GPUAdapter, GPUBindGroupLayout, GPUBuffer, GPUComputePipeline

STORAGE = wgpu.BufferUsage.STORAGE | wgpu.BufferUsage.COPY_DST | wgpu.BufferUsage.COPY_SRC
UNIFORM = wgpu.BufferUsage.UNIFORM | wgpu.BufferUsage.COPY_DST
READBACK = wgpu.BufferUsage.MAP_READ | wgpu.BufferUsage.COPY_DST
_BLOCK_BYTES = 16 << 20
#: What a driver allocates up front for descriptors; the adapter's own limit is no useful number.
_MOST_BINDINGS = 1_000_000


class Gpu:
    """Hold a device, and make each pipeline and each weights buffer once."""

    def __init__(self, adapter: GPUAdapter) -> None:
        """Request a device with all the adapter has; BackendUnavailable when it gives none."""
        try:
            self.device = adapter.request_device_sync(
                required_features=[name for name in FEATURES if name in adapter.features],
                required_limits={**adapter.limits, "max-non-sampler-bindings": _MOST_BINDINGS},
            )
        except (wgpu.GPUError, RuntimeError) as error:
            raise BackendUnavailable(
                f"the adapter {adapter.info['device']} gives no device: {error}",
                where="wgpu",
                hint="Close other programs that use the GPU, or update its driver.",
            ) from error
        self.queue = self.device.queue
        self._layouts: dict[tuple[str, ...], GPUBindGroupLayout] = {}
        self._pipelines: dict[Any, GPUComputePipeline] = {}
        self._weights: weakref.WeakValueDictionary[Any, GPUBuffer] = weakref.WeakValueDictionary()

    def buffer(self, size: int, usage: int = STORAGE) -> GPUBuffer:
        """Return a new buffer; its content is zero."""
        return self.device.create_buffer(size=max(size, 16), usage=usage)

    def filled(self, data: bytes | memoryview, usage: int = STORAGE) -> GPUBuffer:
        """Return a new buffer with these bytes."""
        buffer = self.buffer(len(data), usage)
        if data:
            self.queue.write_buffer(buffer, 0, data)
        return buffer

    def weights(self, sha256: str, part: Buffer, path: Path) -> GPUBuffer:
        """Return a part of a weights file; plans that hold the same part share it."""
        key = (sha256, part.offset, part.size)
        buffer = self._weights.get(key)
        if buffer is None:
            buffer = self.buffer(part.size)
            with path.open("rb") as file:
                file.seek(part.offset)
                for start in range(0, part.size, _BLOCK_BYTES):
                    wanted = min(_BLOCK_BYTES, part.size - start)
                    block = file.read(wanted)
                    if len(block) < wanted:
                        raise ModelError(
                            "the weights are cut off",
                            where=str(path),
                            hint="Resolve the model again: its source rebuilds what is missing.",
                        )
                    self.queue.write_buffer(buffer, start, block)
            self._weights[key] = buffer
        return buffer

    def layout(self, accesses: Sequence[str]) -> GPUBindGroupLayout:
        """Return the layout of a kernel's bindings: the params, then storage."""
        key = tuple(accesses)
        if key not in self._layouts:
            kinds = ["uniform"] + [
                "read-only-storage" if access == "read" else "storage" for access in accesses
            ]
            self._layouts[key] = self.device.create_bind_group_layout(
                entries=[
                    {
                        "binding": number,
                        "visibility": wgpu.ShaderStage.COMPUTE,
                        "buffer": {"type": kind},
                    }
                    for number, kind in enumerate(kinds)
                ]
            )
        return self._layouts[key]

    def pipeline(self, kernel: Pipeline) -> GPUComputePipeline:
        """Return a compiled kernel; PluginError with naga's words when it is not valid."""
        key = (kernel.source, kernel.bindings, tuple(sorted(kernel.constants.items())))
        if key not in self._pipelines:
            try:
                self._pipelines[key] = self.device.create_compute_pipeline(
                    label=kernel.name,
                    layout=self.device.create_pipeline_layout(
                        bind_group_layouts=[self.layout(kernel.bindings)]
                    ),
                    compute={
                        "module": self.device.create_shader_module(
                            label=kernel.name, code=mended(kernel.source)
                        ),
                        "entry_point": "main",
                        "constants": dict(kernel.constants),
                    },
                )
            except wgpu.GPUError as error:
                raise PluginError(
                    f"the kernel {kernel.name} does not compile: {_brief(error)}",
                    where="wgpu (naga)",
                    hint="Mend its .wgsl, or choose another variant.",
                ) from error
        return self._pipelines[key]

    def close(self) -> None:
        """Free everything on the device."""
        self._pipelines.clear()
        self._layouts.clear()
        self.device.destroy()


@contextlib.contextmanager
def typed_errors(what: str) -> Iterator[None]:
    """Turn wgpu's errors into ours; `what` names the model."""
    try:
        yield
    except wgpu.GPUOutOfMemoryError as error:
        raise ModelError(
            f"the GPU has not enough memory: {_brief(error)}",
            where=what,
            hint="Use a smaller batch, a quantized model, or unload other models.",
        ) from error
    except wgpu.GPUValidationError as error:
        if "device is lost" in str(error):
            raise _lost(what, error) from error
        raise PluginError(
            f"the plan breaks a rule of WebGPU: {_brief(error)}",
            where=what,
            hint="This is a fault of a kernel or of the compiler: please report it.",
        ) from error
    except (wgpu.GPUError, RuntimeError) as error:
        raise _lost(what, error) from error


def _lost(what: str, error: Exception) -> WorkerLost:
    return WorkerLost(
        f"the GPU does not answer: {_brief(error)}", where=what, hint="Start another worker."
    )


def _brief(error: Exception) -> str:
    """Return a message without empty lines and the frame around it."""
    lines = [line.rstrip() for line in str(error).splitlines()]
    kept = [line for line in lines if line.strip() and line.strip() != "Caused by:"]
    return "\n".join(line for line in kept if line != "Validation Error")
