# SPDX-License-Identifier: Apache-2.0
"""Hooks of the `stores` family: remembering runs."""

from collections.abc import Sequence
from typing import Any

from ..markers import hookspec
from ..protocols import Context, Store, TableSet


@hookspec(firstresult=True)
def store_create(settings: Any, ctx: Context, tables: Sequence[TableSet]) -> Store:  # type: ignore[empty-body]
    """Open the store, with the tables other plugins contribute; StoreError when that fails."""


@hookspec
def store_tables() -> Sequence[TableSet]:  # type: ignore[empty-body]
    """Return tables to keep in whichever store is used; any plugin may implement this."""
