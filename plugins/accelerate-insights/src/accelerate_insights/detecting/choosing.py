# SPDX-License-Identifier: Apache-2.0
"""Which detector a pipeline or a command named."""

from __future__ import annotations

from accelerate_core.protocols import Plugins

from ..hookspecs import DETECTORS
from ..hookspecs.detector import Detector


def choose(plugins: Plugins, name: str, min_effect: float, *, where: str) -> Detector:
    """Return an installed detector; it is told the least effect if its settings have one.

    ConfigError for a name nobody has, PluginError for a plugin that makes no detector.
    """
    plugins.add_family(DETECTORS)
    has_effect = plugins.takes("detectors", name, "min_effect", where=where)
    table = {"min_effect": min_effect} if has_effect else {}
    made: Detector = plugins.create("detectors", name, table, where=where)
    return made
