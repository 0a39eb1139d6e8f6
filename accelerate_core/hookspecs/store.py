# SPDX-License-Identifier: Apache-2.0
"""Hooks of the `stores` family: remembering runs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..markers import hookspec
from ..protocols import Context, Records, Store, TableSet


@hookspec(firstresult=True)
def store_create(settings: Any, ctx: Context, tables: Sequence[TableSet]) -> Store:  # type: ignore[empty-body]
    """Open the store, with the tables other plugins contribute; StoreError when that fails."""


@hookspec(firstresult=True)
def store_look(settings: Any, ctx: Context, tables: Sequence[TableSet]) -> Records:  # type: ignore[empty-body]
    """Return what answers for a store that is there, also while another process writes it."""


@hookspec
def store_listener(store: Store) -> Mapping[str, Callable[[Any], None]]:  # type: ignore[empty-body]
    """Return what to call with events, by their kind, to keep something of them in the store."""


@hookspec
def store_tables() -> Sequence[TableSet]:  # type: ignore[empty-body]
    """Return tables to keep in whichever store is used; any plugin may implement this."""
