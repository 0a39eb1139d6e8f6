# SPDX-License-Identifier: Apache-2.0
"""Pages that need no network: templates, scripts and the policy that lets only those run.

Whoever extends `base.html.j2` hands over text and plots; text from outside goes through Jinja's
escaping or into a JSON block.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from . import vega
from .files import replace_file
from .plots import Plot


def render_page(
    template: str,
    plots: Sequence[Plot],
    *,
    cache_dir: Path,
    scripts: Sequence[str] = (),
    values: Mapping[str, Any],
) -> str:
    """Return a page from a template's text, with its plots and whatever `scripts` it runs.

    The plot library is bundled once and kept in `cache_dir`.
    """
    import jinja2
    from markupsafe import Markup

    run = [*scripts]
    if plots:
        run = [plot_library(cache_dir), page_file("plots.js"), *run]
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FunctionLoader(page_file),
    )
    figures = {plot.id: {"data": plot.data, "views": plot.views} for plot in plots}
    drawn = json.dumps(
        {"config": vega.CONFIG, "figures": figures}, allow_nan=False, separators=(",", ":")
    )
    return environment.from_string(template).render(
        **values,
        plots=plots,
        css=Markup(page_file("page.css")),
        # A browser ends a script at the first "</script", even inside a JSON string.
        plots_json=Markup(drawn.replace("<", "\\u003c")),
        scripts=[Markup(script) for script in run],
        script_hashes=Markup(" ".join(map(_csp_hash, run))),
    )


def plot_library(cache_dir: Path) -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script; bundling takes seconds, once."""
    import vl_convert

    kept = cache_dir / f"vega-embed-{metadata.version('vl-convert-python')}.js"
    try:
        return kept.read_text(encoding="utf-8")
    except FileNotFoundError:
        # Vega-Embed alone: what it needs comes with it, and nothing else becomes global.
        script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
        replace_file(kept, script)
        return script


def page_file(name: str) -> str:
    """Return one of the files that pages are made of."""
    return resources.files(__package__).joinpath("page", name).read_text(encoding="utf-8")


def _csp_hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
