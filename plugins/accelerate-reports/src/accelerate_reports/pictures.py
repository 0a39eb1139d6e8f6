# SPDX-License-Identifier: Apache-2.0
"""Plots as files: PNG and SVG, in the light colours of the pages."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from . import vega
from .pages import page_file
from .plots import Plot

#: A picture's width, as it would be on a page.
WIDTH = 860
_LABELS = 300
_FONT = "DejaVu Sans, sans-serif"


def to_svg(plots: Sequence[Plot], *, title: str = "") -> str:
    """Return the first views of the plots, one below the other."""
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(_page(plots, title))
    return svg


def to_png(plots: Sequence[Plot], *, title: str = "") -> bytes:
    """Return the first views of the plots, one below the other, two pixels for each of CSS."""
    import vl_convert

    png: bytes = vl_convert.vegalite_to_png(_page(plots, title), scale=2)
    return png


def _page(plots: Sequence[Plot], title: str) -> vega.Spec:
    spec: vega.Spec = {
        "vconcat": [_one(plot) for plot in plots],
        "spacing": 36,
        "padding": 20,
        "resolve": {"scale": {"color": "independent", "shape": "independent"}},
        "config": {
            **vega.CONFIG,
            "background": "var(--card)",
            "font": _FONT,
            "title": {**vega.CONFIG["title"], "subtitlePadding": 6, "offset": 14},
        },
    }
    if title:
        spec["title"] = {"text": title, "fontSize": 20, "anchor": "start"}
    light: vega.Spec = _painted(spec, _colors())
    return light


def _one(plot: Plot) -> vega.Spec:
    spec = dict(next(iter(plot.views.values())))
    spec["data"] = {"values": list(plot.data)}
    spec["title"] = {"text": plot.title, "subtitle": _folded(plot.caption), "anchor": "start"}
    if spec.get("width") == "container":
        spec["width"] = WIDTH - _LABELS
    return spec


def _folded(text: str, width: int = 120) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width)


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
        return re.sub(r"var\(--([\w-]+)\)", lambda found: colors[found[1]], value)
    return value
