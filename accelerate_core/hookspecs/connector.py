# SPDX-License-Identifier: Apache-2.0
"""Hooks of the `connectors` family: telling people and systems outside."""

from collections.abc import Mapping, Sequence
from typing import Any

from ..events import Attachment, Event
from ..markers import hookspec
from ..protocols import Connector, Context, Store


@hookspec(firstresult=True)
def connector_create(settings: Any, ctx: Context) -> Connector:  # type: ignore[empty-body]
    """Return the connector; opens no connection yet."""


@hookspec
def run_metadata() -> Mapping[str, Any]:  # type: ignore[empty-body]
    """Return what is known of where this process runs: CI provider, branch, job; JSON values."""


@hookspec
def event_attachments(event: Event, store: Store) -> Sequence[Attachment]:  # type: ignore[empty-body]
    """Return files that show what an event says. Called when a connector is about to be told."""
