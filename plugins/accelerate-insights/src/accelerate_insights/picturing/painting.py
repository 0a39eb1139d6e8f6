# SPDX-License-Identifier: Apache-2.0
"""Plots to PNG in a process of its own: what draws holds Python's lock for a second.

A run that measures meanwhile would see that in its numbers.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys

import attrs
from accelerate_reports.plots import Plot

from accelerate_core.errors import Unsupported

_TIMEOUT_S = 60.0
#: Lines, bars and letters have some ten, and shades between them.
_COLOURS = 128


def painted(plot: Plot) -> bytes:
    """Return a plot as PNG, about 900 pixels wide, 10 kB; Unsupported when it cannot be drawn."""
    # Alone: neither the user's modules nor the folder this runs in are meant.
    command = [sys.executable, "-I", "-m", __name__]
    plain = json.dumps(attrs.asdict(plot)).encode()
    try:
        done = subprocess.run(command, input=plain, capture_output=True, timeout=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unsupported(f"a picture cannot be drawn: {error}") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise Unsupported(f"a picture cannot be drawn: {' '.join(said)}")
    return done.stdout


def main() -> None:
    """Draw the plot on stdin to stdout."""
    import vl_convert
    from accelerate_reports.pictures import to_svg

    if hasattr(os, "nice"):
        os.nice(10)
    plot = Plot(**json.load(sys.stdin.buffer))
    svg = to_svg([attrs.evolve(plot, title="")], title=plot.title)
    sys.stdout.buffer.write(_packed(vl_convert.svg_to_png(svg, scale=1)))


def _packed(png: bytes) -> bytes:
    """Return a picture in few colours, which looks the same: a fifth of its bytes."""
    from PIL import Image

    packed = io.BytesIO()
    with Image.open(io.BytesIO(png)) as whole:
        few = whole.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    few.save(packed, "PNG", optimize=True)
    return packed.getvalue()


if __name__ == "__main__":
    main()
