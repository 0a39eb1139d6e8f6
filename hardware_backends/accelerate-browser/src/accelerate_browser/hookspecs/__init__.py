# SPDX-License-Identifier: Apache-2.0
"""The hook families that this distribution opens: how browsers start, and what runs in pages."""

from accelerate_core.hookspecs import Family

LAUNCHERS = Family(
    "launchers",
    "accelerate_browser.launchers",
    "accelerate_browser.hookspecs.launcher",
    "launcher_create",
    "launcher",
)

ENGINES = Family(
    "engines",
    "accelerate_browser.engines",
    "accelerate_browser.hookspecs.engine",
    "engine_create",
    "engine",
)

__all__ = ["ENGINES", "LAUNCHERS"]
