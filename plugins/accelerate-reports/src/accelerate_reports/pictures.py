# SPDX-License-Identifier: Apache-2.0
"""Plots as files: PNG and SVG, in the light colours of the pages."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import Any

from . import vega
from .pages import page_file
from .plots import Plot

#: Of a plot that fits its page, and of the labels beside it.
_WIDTH = 560
_LABELS = 400
_GAP = 40
_MARGIN = 28
_TITLE = 34


def to_svg(plots: Sequence[Plot], *, title: str) -> str:
    """Return the first views of the plots, one below the other, under a title."""
    import vl_convert
    from markupsafe import escape

    colors = _colors()
    parts: list[str] = []
    width, height = 0.0, float(_MARGIN + _TITLE)
    for index, plot in enumerate(plots):
        svg = vl_convert.vegalite_to_svg(_painted(_spec(plot), colors))
        # What one plot calls its gradients another may, too.
        svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>p{index}-", svg)
        size = re.search(r'<svg[^>]*? width="([\d.]+)" height="([\d.]+)"', svg)
        assert size is not None, svg[:200]
        parts.append(svg.replace("<svg ", f'<svg x="{_MARGIN}" y="{height:g}" ', 1))
        width = max(width, float(size[1]))
        height += float(size[2]) + _GAP
    width, height = width + 2 * _MARGIN, height - _GAP + _MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}"'
        f' viewBox="0 0 {width:g} {height:g}"><rect width="100%" height="100%"'
        f' fill="{colors["card"]}"/><text x="{_MARGIN}" y="{_MARGIN + 18}" font-size="20"'
        f' font-weight="bold" font-family="{_FONT}" fill="{colors["text"]}">{escape(title)}'
        f"</text>{''.join(parts)}</svg>\n"
    )


def to_png(plots: Sequence[Plot], *, title: str) -> bytes:
    """Return the same, two pixels for each of CSS."""
    import vl_convert

    png: bytes = vl_convert.svg_to_png(to_svg(plots, title=title), scale=2)
    return png


_FONT = "DejaVu Sans, sans-serif"


def _spec(plot: Plot) -> vega.Spec:
    spec = dict(next(iter(plot.views.values())))
    spec["data"] = {"values": list(plot.data)}
    spec["title"] = {
        "text": plot.title,
        "subtitle": textwrap.wrap(plot.caption, 120),
        "anchor": "start",
        "frame": "bounds",
    }
    if spec.get("width") == "container":
        spec["width"] = _WIDTH
        if "height" not in spec:
            spec["height"] = {"step": 28}
    axis = {**vega.CONFIG["axisY"], "labelLimit": _LABELS}
    title = {**vega.CONFIG["title"], "subtitlePadding": 6, "offset": 16}
    return {
        **spec,
        "config": {**vega.CONFIG, "font": _FONT, "axisY": axis, "title": title},
    }


def _colors() -> dict[str, str]:
    """Return the light colours of the pages by their name; what comes first is light."""
    css = page_file("page.css").partition("@media")[0]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", css))


def _painted(value: Any, colors: dict[str, str]) -> Any:
    """Replace colours by name, which only pages know."""
    if isinstance(value, dict):
        # What was measured is no colour, whatever it is called.
        return {
            key: one if key == "values" else _painted(one, colors) for key, one in value.items()
        }
    if isinstance(value, list):
        return [_painted(one, colors) for one in value]
    if isinstance(value, str):
        return re.sub(r"var\(--([\w-]+)\)", lambda found: colors.get(found[1], found[0]), value)
    return value
