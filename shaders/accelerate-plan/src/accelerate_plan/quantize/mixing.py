# SPDX-License-Identifier: Apache-2.0
"""How many bits each layer gets under a budget for all. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from accelerate_models.quantized import BITS

MOST_BITS = max(BITS)


def wider(bits: int) -> tuple[int, ...]:
    """Return the numbers of bits above one, the least first."""
    return tuple(sorted(one for one in BITS if one > bits))


def mean_bits(bits: Mapping[str, int], sizes: Mapping[str, int]) -> float:
    """Return the bits of codes a weight has on average; scales and zeros come on top."""
    return sum(bits[name] * size for name, size in sizes.items()) / sum(sizes.values())


def spread(
    losses: Mapping[str, Mapping[int, float]], sizes: Mapping[str, int], budget: float
) -> dict[str, int]:
    """Return the bits of each layer: mean at most `budget`, losses small.

    `losses` has what each layer loses at each number of bits, alone; it is taken to add up. Layers
    start at their least bits; the step that saves most loss per bit of memory is taken while one
    fits.
    """
    chosen = {name: min(one) for name, one in losses.items()}
    room = budget * sum(sizes.values()) - sum(chosen[name] * sizes[name] for name in chosen)
    while True:
        steps = [
            ((losses[name][bits] - losses[name][more]) / cost, name, more)
            for name, bits in chosen.items()
            for more in losses[name]
            if more > bits and (cost := (more - bits) * sizes[name]) <= room
        ]
        if not steps or max(steps)[0] <= 0:
            return chosen
        _, name, more = max(steps)
        room -= (more - chosen[name]) * sizes[name]
        chosen[name] = more
