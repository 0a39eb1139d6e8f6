# SPDX-License-Identifier: Apache-2.0
"""The hook families. A family is a module of specs, an entry-point group and a create hook.

A distribution opens a family of its own with the same class:
`FAMILY = Family("launchers", "accelerate_browser.launchers", __name__)`.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Family:
    """Tie a hook module to the entry-point group its plugins are found in."""

    name: str  #: plural, as in configuration: "schedulers"
    group: str  #: entry-point group
    specs: str  #: dotted name of the module of hook specs
    create: str | None = None  #: hook that hands over the object
    word: str = ""  #: singular, for messages: "scheduler"
    is_collected: bool = False  #: load every installed plugin, not only named ones
    provides: tuple[str, ...] = ()  #: methods the created object must have


CORE_FAMILIES = (
    Family(
        "backends",
        "accelerate_core.backends",
        "accelerate_core.hookspecs.backend",
        "backend_create",
        "backend",
        provides=("discover", "start", "close"),
    ),
    Family(
        "schedulers",
        "accelerate_core.schedulers",
        "accelerate_core.hookspecs.scheduler",
        "scheduler_create",
        "scheduler",
        provides=("pick",),
    ),
    Family(
        "recovery",
        "accelerate_core.recovery",
        "accelerate_core.hookspecs.recovery",
        "recovery_create",
        "recovery strategy",
        provides=("decide",),
    ),
    Family(
        "connectors",
        "accelerate_core.connectors",
        "accelerate_core.hookspecs.connector",
        "connector_create",
        "connector",
        provides=("deliver", "check", "close"),
    ),
    Family(
        "models",
        "accelerate_core.models",
        "accelerate_core.hookspecs.model",
        "model_create",
        "model source",
        is_collected=True,
        provides=("resolve", "processor"),
    ),
    Family(
        "stores",
        "accelerate_core.stores",
        "accelerate_core.hookspecs.store",
        "store_create",
        "store",
        provides=(
            "save_run",
            "save_connection",
            "save_measurement",
            "runs",
            "summary",
            "query",
            "transaction",
            "close",
        ),
    ),
    Family(
        "analyses",
        "accelerate_core.analyses",
        "accelerate_core.hookspecs.analysis",
        "analysis_create",
        "analysis",
        is_collected=True,
        provides=("suspects", "conclude"),
    ),
    Family(
        "reports",
        "accelerate_core.reports",
        "accelerate_core.hookspecs.report",
        "report_create",
        "report",
        provides=("write",),
    ),
    Family(
        "listeners",
        "accelerate_core.listeners",
        "accelerate_core.hookspecs.lifecycle",
        None,
        "listener",
        is_collected=True,
    ),
)

#: Entry name = subcommand, value = a Typer app. No hooks: imported only when invoked.
COMMANDS_GROUP = "accelerate_core.commands"
