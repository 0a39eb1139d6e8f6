# SPDX-License-Identifier: Apache-2.0
"""Make a cell's inputs, and time what the model's processor does to them and to outputs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from ..host import Host
from ..protocols import Processor
from ..types import ModelSpec
from .matrix import Planned
from .numbers import synthetic_inputs

if TYPE_CHECKING:
    from ..types import Array


@attrs.frozen
class Encoded:
    """Hold a cell's inputs, and what made them."""

    inputs: Mapping[str, Array]
    encode_ms: float | None = None
    processor: Processor | None = None

    async def decode_ms(self, outputs: Mapping[str, Array]) -> float | None:
        """Return how long the processor takes to decode outputs; None where there is none."""
        processor = self.processor
        if processor is None:
            return None

        def timed() -> float:
            started = time.perf_counter()
            processor.decode(outputs, self.inputs)
            return (time.perf_counter() - started) * 1e3

        return await asyncio.to_thread(timed)


async def encode(host: Host, planned: Planned, spec: ModelSpec) -> Encoded:
    """Return the inputs of a cell: samples of its processor, else made up."""
    cell = planned.cell
    if spec.processor is None:
        made = await asyncio.to_thread(
            synthetic_inputs, spec, cell.batch_size, cell.sequence_length
        )
        return Encoded(made)
    source = host.source(planned.model.source)
    processor = await asyncio.to_thread(source.processor, spec.processor)
    raw = processor.sample(cell.batch_size, cell.sequence_length)

    def timed() -> Encoded:
        started = time.perf_counter()
        inputs = processor.encode(raw, sequence_length=cell.sequence_length)
        return Encoded(inputs, (time.perf_counter() - started) * 1e3, processor)

    # The first call builds the tokenizer; the second is what a request costs.
    await asyncio.to_thread(timed)
    return await asyncio.to_thread(timed)
