# SPDX-License-Identifier: Apache-2.0
"""Where activations lie: each from the step that writes it to the last that reads it. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs


@attrs.frozen(kw_only=True)
class Life:
    """Say how much memory a tensor needs, and from which step to which (both included)."""

    name: str
    size_bytes: int
    first: int
    last: int


@attrs.frozen
class Layout:
    """Say where each tensor starts: the number of its buffer and an offset in bytes."""

    places: Mapping[str, tuple[int, int]]
    sizes: tuple[int, ...]  #: of the buffers


def peak_bytes(lives: Sequence[Life], alignment: int) -> int:
    """Return the most bytes that live at one step: no layout can need less."""
    changes: dict[int, int] = {}
    for life in lives:
        size = _aligned(life.size_bytes, alignment)
        changes[life.first] = changes.get(life.first, 0) + size
        changes[life.last + 1] = changes.get(life.last + 1, 0) - size
    live = most = 0
    for step in sorted(changes):
        live += changes[step]
        most = max(most, live)
    return most


def plan_arena(lives: Sequence[Life], *, alignment: int, buffer_bytes: int) -> Layout:
    """Give every tensor a place that no other has while it lives.

    Largest first, each in the smallest gap that is free during its life ("greedy by size",
    Pisarchyk and Lee 2020, arXiv:2001.03288); a tensor that fits in no buffer opens another.
    """
    placed: list[list[tuple[int, int, Life]]] = []  # per buffer: start, end, life
    places: dict[str, tuple[int, int]] = {}
    for life in sorted(lives, key=lambda one: (-one.size_bytes, one.first, one.name)):
        size = _aligned(life.size_bytes, alignment)
        starts = [_gap(buffer, life, size) for buffer in placed]
        fits = [i for i, start in enumerate(starts) if start + size <= buffer_bytes]
        if not fits:
            fits = [len(placed)]
            starts.append(0)
            placed.append([])
        number = fits[0]
        placed[number].append((starts[number], starts[number] + size, life))
        places[life.name] = (number, starts[number])
    sizes = tuple(max(end for _, end, _ in buffer) for buffer in placed)
    return Layout(places, sizes)


def _gap(buffer: Sequence[tuple[int, int, Life]], life: Life, size: int) -> int:
    """Return the start of the smallest gap that is free all through a life."""
    taken = sorted(
        (start, end)
        for start, end, other in buffer
        if other.first <= life.last and life.first <= other.last
    )
    best_start, best_room = -1, -1
    free_from = 0
    for start, end in taken:
        room = start - free_from
        if room >= size and (best_room < 0 or room < best_room):
            best_start, best_room = free_from, room
        free_from = max(free_from, end)
    return best_start if best_room >= 0 else free_from


def _aligned(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment
