# SPDX-License-Identifier: Apache-2.0
"""Hooks of the `connectors` family: telling people and systems outside."""

from typing import Any

from ..markers import hookspec
from ..protocols import Connector, Context


@hookspec(firstresult=True)
def connector_create(settings: Any, ctx: Context) -> Connector:  # type: ignore[empty-body]
    """Return the connector; opens no connection yet."""
