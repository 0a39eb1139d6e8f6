# SPDX-License-Identifier: Apache-2.0
"""How long each dispatch takes on the device, by timestamp queries."""

from __future__ import annotations

from typing import Any

import numpy as np
import wgpu
from accelerate_plan.plan import Plan

from accelerate_core.types import KernelTime

from .gpu import Gpu

#: Queries of a set (WebGPU specification, 20.1); two for each dispatch.
_MOST_QUERIES = 4096
_ITEM_BYTES = 8


class Stopwatch:
    """Time the dispatches of a plan; each in a compute pass of its own."""

    def __init__(self, gpu: Gpu, plan: Plan) -> None:
        from wgpu.backends.wgpu_native import lib

        self._gpu = gpu
        self._plan = plan
        count = 2 * len(plan.dispatches)
        self._sets = [
            gpu.device.create_query_set(type="timestamp", count=min(_MOST_QUERIES, count - start))
            for start in range(0, count, _MOST_QUERIES)
        ]
        usage = wgpu.BufferUsage.QUERY_RESOLVE | wgpu.BufferUsage.COPY_SRC
        self._times = gpu.buffer(count * _ITEM_BYTES, usage)
        # wgpu-native leaves ticks as they are; browsers scale them.
        self._tick_ns = lib.wgpuQueueGetTimestampPeriod(gpu.queue._internal)

    def writes(self, dispatch: int) -> dict[str, Any]:
        """Return where the pass of a dispatch writes its times."""
        number, index = divmod(2 * dispatch, _MOST_QUERIES)
        return {
            "query_set": self._sets[number],
            "beginning_of_pass_write_index": index,
            "end_of_pass_write_index": index + 1,
        }

    def resolve(self, encoder: wgpu.GPUCommandEncoder) -> None:
        """Have the times written where they can be read."""
        for number, one in enumerate(self._sets):
            offset = number * _MOST_QUERIES * _ITEM_BYTES
            encoder.resolve_query_set(one, 0, one.count, self._times, offset)

    def read(self) -> tuple[KernelTime, ...]:
        """Return the times of the run that was submitted last."""
        if not self._plan.dispatches:
            return ()
        ticks = np.frombuffer(self._gpu.queue.read_buffer(self._times), np.uint64)
        pairs = ticks[: 2 * len(self._plan.dispatches)].reshape(-1, 2).astype(np.int64)
        return tuple(
            KernelTime(
                label=one.label,
                kernel=self._plan.pipelines[one.pipeline].name,
                ms=float(end - start) * self._tick_ns / 1e6,
                flops=one.flops,
            )
            for one, (start, end) in zip(self._plan.dispatches, pairs, strict=True)
        )
