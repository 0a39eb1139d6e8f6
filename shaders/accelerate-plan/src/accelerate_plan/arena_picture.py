# SPDX-License-Identifier: Apache-2.0
"""Draw an arena: what lies where, from which step to which, as SVG. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

import attrs

from .plan import Plan
from .showing import size as size_text

_WIDTH, _PANEL = 1200, 420
_LEFT, _RIGHT, _TOP, _GAP = 90, 20, 64, 60
_CHARACTER = 6.2  #: width of one, at the size of labels
#: Okabe and Ito 2008: told apart by everybody.
_COLOURS = ("#56b4e9", "#e69f00", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7")
_DARK = ("#0072b2", "#d55e00", "#009e73")


@attrs.frozen
class Place:
    """An activation in the arena, as `about["tensors"]` of a plan lists it."""

    name: str
    buffer: int
    offset: int
    size: int
    first: int
    last: int


def places(plan: Plan) -> list[Place]:
    """Return where all activations of a plan lie; empty when the plan does not say."""
    return [Place(*one) for one in plan.about.get("tensors", ())]


def draw(plan: Plan) -> str:
    """Return the arena of a plan: x is the step, y the offset, a panel per buffer."""
    found = places(plan)
    buffers = [(i, one.size) for i, one in enumerate(plan.buffers) if one.role == "arena"]
    height = _TOP + len(buffers) * (_PANEL + _GAP)
    arena, peak = sum(size for _, size in buffers), int(plan.about.get("peak_bytes", 0))
    facts = f"{len(plan.dispatches)} dispatches, {len(found)} tensors, arena {size_text(arena)}"
    if peak:
        facts += f", {arena / peak:.3f} times the peak of what lives at once"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        _text(_LEFT, 26, f"Activations of {plan.name}", size=16, weight="bold"),
        _text(_LEFT, 46, facts),
    ]
    for row, (number, size) in enumerate(buffers):
        mine = [one for one in found if one.buffer == number]
        top = _TOP + row * (_PANEL + _GAP)
        lines += _panel(mine, number, size, len(plan.dispatches), top)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _panel(mine: Sequence[Place], number: int, size: int, steps: int, top: float) -> Iterator[str]:
    wide = _WIDTH - _LEFT - _RIGHT
    # Inputs live from before the first step, outputs until after the last.
    per_step = wide / (steps + 2)
    per_byte = _PANEL / max(size, 1)
    yield f'<rect x="{_LEFT}" y="{top}" width="{wide}" height="{_PANEL}" fill="#f4f4f4"/>'
    for index, one in enumerate(sorted(mine, key=lambda one: (one.first, one.offset))):
        x = _LEFT + (one.first + 1) * per_step
        y = top + _PANEL - (one.offset + one.size) * per_byte
        broad, high = (one.last - one.first + 1) * per_step, max(one.size * per_byte, 0.5)
        colour = _COLOURS[index % len(_COLOURS)]
        what = f"{one.name}: {size_text(one.size)} at {one.offset}, steps {one.first} to {one.last}"
        yield (
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{broad:.1f}" height="{high:.1f}" '
            f'fill="{colour}" stroke="white" stroke-width="0.5">'
            f"<title>{escape(what)}</title></rect>"
        )
        yield from _label(one.name, colour, x, y, broad, high)
    yield from _axes(number, size, steps, top, per_step)


def _label(name: str, colour: str, x: float, y: float, broad: float, high: float) -> Iterator[str]:
    """Yield a name where it fits: along the longer side, cut at its beginning."""
    long, short = max(broad, high), min(broad, high)
    room = int((long - 6) / _CHARACTER)
    if short < 11 or room < 4:
        return
    shown = name if len(name) <= room else "…" + name[-(room - 1) :]
    fill = "white" if colour in _DARK else "black"
    middle_x, middle_y = x + broad / 2, y + high / 2
    turn = f' transform="rotate(-90 {middle_x:.1f} {middle_y:.1f})"' if high > broad else ""
    yield (
        f'<text x="{middle_x:.1f}" y="{middle_y + 4:.1f}" text-anchor="middle" fill="{fill}" '
        f'pointer-events="none"{turn}>{escape(shown)}</text>'
    )


def _axes(number: int, size: int, steps: int, top: float, per_step: float) -> Iterator[str]:
    bottom = top + _PANEL
    for part in range(5):
        y = bottom - part * _PANEL / 4
        yield f'<line x1="{_LEFT - 4}" y1="{y}" x2="{_LEFT}" y2="{y}" stroke="#555"/>'
        yield _text(_LEFT - 7, y + 4, size_text(size * part // 4), anchor="end")
    every = max(1, _round(steps / 12))
    for step in range(0, steps, every):
        x = _LEFT + (step + 1.5) * per_step
        yield f'<line x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 4}" stroke="#555"/>'
        yield _text(x, bottom + 16, str(step), anchor="middle")
    middle = _LEFT + (_WIDTH - _LEFT - _RIGHT) / 2
    yield _text(middle, bottom + 34, f"step (buffer {number}, {size_text(size)})", anchor="middle")
    yield (
        f'<text transform="translate(16 {top + _PANEL / 2}) rotate(-90)" '
        'text-anchor="middle">offset</text>'
    )


def _round(value: float) -> int:
    """Return the next 1, 2 or 5 times a power of ten."""
    power = 1
    while True:
        for digit in (1, 2, 5):
            if digit * power >= value:
                return digit * power
        power *= 10


def _text(
    x: float, y: float, text: str, *, size: int = 11, weight: str = "normal", anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" font-weight="{weight}" '
        f'text-anchor="{anchor}">{escape(text)}</text>'
    )
