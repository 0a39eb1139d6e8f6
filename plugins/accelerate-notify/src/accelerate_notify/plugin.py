# SPDX-License-Identifier: Apache-2.0
"""The connector `notify`. What it needs is imported when it is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accelerate_core import hookimpl
from accelerate_core.protocols import Context, TableSet

from .settings import NotifySettings

if TYPE_CHECKING:
    from .notifier import Notifier


class NotifyPlugin:
    """Tells other connectors what rules say: grouped, at fitting times, and again if need be."""

    name = "notify"
    settings = NotifySettings

    @hookimpl
    def connector_create(self, settings: NotifySettings, ctx: Context) -> Notifier:
        """Return the connector; ConfigError for a template that cannot be filled in."""
        from .notifier import Notifier
        from .rendering import Renderer

        return Notifier(settings, Renderer(settings.templates))


class NotifyTables:
    """Keeps what waits and what was told, in whichever store is used."""

    name = "notify"

    @hookimpl
    def store_tables(self) -> Sequence[TableSet]:
        """Return groups and their alerts."""
        from .stored import TABLES

        return (TABLES,)
