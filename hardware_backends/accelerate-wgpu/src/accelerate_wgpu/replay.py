# SPDX-License-Identifier: Apache-2.0
"""A plan on a device: everything is made when it is loaded, a run only writes, submits, reads."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import wgpu
from accelerate_plan.plan import Buffer, Plan, Slot

from accelerate_core.types import KernelTime

from .conversion import from_device, to_device
from .gpu import READBACK, UNIFORM, Gpu, typed_errors
from .timing import Stopwatch

if TYPE_CHECKING:
    from wgpu import GPUBuffer

    from accelerate_core.types import Array

_ALIGNMENT = 256


@attrs.frozen
class Kept:
    """An output that stayed on the device, in a buffer of its own."""

    buffer: GPUBuffer
    slot: Slot

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the tensor."""
        return self.slot.shape

    def read(self, gpu: Gpu) -> Array:
        """Copy it to the host."""
        size = self.slot.place.size
        with typed_errors(f"kept tensor {self.slot.name}"):
            data = gpu.queue.read_buffer(self.buffer, 0, size) if size else b""
        return from_device(data, self.slot)


@attrs.frozen
class Ran:
    """What a run brought."""

    outputs: Mapping[str, Array]
    kept: Mapping[str, Kept]
    ms: float
    profile: tuple[KernelTime, ...] = ()


class Replay:
    """Hold a plan's buffers and bind groups, and run it. Used by one thread only."""

    def __init__(self, gpu: Gpu, plan: Plan, weights: Path | None, *, is_timed: bool) -> None:
        self._gpu = gpu
        self.plan = plan
        self._buffers = [self._buffer(one, weights) for one in plan.buffers]
        params = gpu.filled(plan.data[: plan.params_bytes], UNIFORM)
        pipelines = [gpu.pipeline(one) for one in plan.pipelines]
        self._steps = []
        for one in plan.dispatches:
            resources = [(params, *one.params)]
            resources += [(self._buffers[b.buffer], b.offset, b.size) for b in one.bindings]
            group = gpu.device.create_bind_group(
                layout=gpu.layout(plan.pipelines[one.pipeline].bindings),
                entries=[
                    {
                        "binding": number,
                        "resource": {"buffer": buffer, "offset": offset, "size": size},
                    }
                    for number, (buffer, offset, size) in enumerate(resources)
                ],
            )
            self._steps.append((pipelines[one.pipeline], group, one.grid))
        self._stopwatch = Stopwatch(gpu, plan) if is_timed else None
        self._inputs = {slot.name: slot for slot in plan.inputs}
        self._places: dict[str, int] = {}  # of outputs in the readback buffer
        size = 0
        for slot in plan.outputs:
            self._places[slot.name] = size
            size += -(-slot.place.size // _ALIGNMENT) * _ALIGNMENT
        self._readback = gpu.buffer(size, READBACK)

    def _buffer(self, one: Buffer, weights: Path | None) -> GPUBuffer:
        if one.role == "weights":
            assert weights is not None and self.plan.weights_sha256 is not None
            return self._gpu.weights(self.plan.weights_sha256, one, weights)
        if one.role == "constants":
            return self._gpu.filled(self.plan.data[one.offset : one.offset + one.size])
        return self._gpu.buffer(one.size)

    def run(self, inputs: Mapping[str, Array | Kept], keep: Collection[str] = ()) -> Ran:
        """Run once; inputs are arrays, or what this device kept of another run.

        ModelError when an integer does not fit 32 bits.
        """
        begin = time.perf_counter()
        encoder = self._gpu.device.create_command_encoder()
        for name, value in inputs.items():
            place = self._inputs[name].place
            target = self._buffers[place.buffer]
            if not isinstance(value, Kept):
                data = to_device(value, self._inputs[name])
                if data.nbytes:
                    self._gpu.queue.write_buffer(target, place.offset, data)
            elif place.size:
                encoder.copy_buffer_to_buffer(value.buffer, 0, target, place.offset, place.size)
        self._encode_steps(encoder)
        kept = {
            slot.name: Kept(self._keep(encoder, slot), slot)
            for slot in self.plan.outputs
            if slot.name in keep
        }
        wanted = [slot for slot in self.plan.outputs if slot.name not in keep]
        for slot in wanted:
            self._copy_out(encoder, slot, self._readback, self._places[slot.name])
        if self._stopwatch:
            self._stopwatch.resolve(encoder)
        self._gpu.queue.submit([encoder.finish()])
        outputs = self._read(wanted)
        profile = self._stopwatch.read() if self._stopwatch else ()
        return Ran(outputs, kept, (time.perf_counter() - begin) * 1e3, profile)

    def _encode_steps(self, encoder: wgpu.GPUCommandEncoder) -> None:
        if self._stopwatch:
            for number, step in enumerate(self._steps):
                writes = self._stopwatch.writes(number)
                _dispatch(encoder.begin_compute_pass(timestamp_writes=writes), [step])
        else:
            _dispatch(encoder.begin_compute_pass(), self._steps)

    def _keep(self, encoder: wgpu.GPUCommandEncoder, slot: Slot) -> GPUBuffer:
        buffer = self._gpu.buffer(slot.place.size)
        self._copy_out(encoder, slot, buffer, 0)
        return buffer

    def _copy_out(
        self, encoder: wgpu.GPUCommandEncoder, slot: Slot, target: GPUBuffer, offset: int
    ) -> None:
        if size := slot.place.size:
            source = self._buffers[slot.place.buffer]
            encoder.copy_buffer_to_buffer(source, slot.place.offset, target, offset, size)

    def _read(self, slots: Collection[Slot]) -> dict[str, Array]:
        # Mapped even when nothing is wanted: a run is over when the device has done it.
        self._readback.map_sync(wgpu.MapMode.READ)
        try:
            data = self._readback.read_mapped(copy=False)
            return {
                slot.name: from_device(data[self._places[slot.name] :][: slot.place.size], slot)
                for slot in slots
            }
        finally:
            self._readback.unmap()


def _dispatch(encoder: wgpu.GPUComputePassEncoder, steps: list[Any]) -> None:
    current = None
    for pipeline, group, grid in steps:
        if pipeline is not current:
            encoder.set_pipeline(pipeline)
            current = pipeline
        encoder.set_bind_group(0, group)
        encoder.dispatch_workgroups(*grid)
    encoder.end()
