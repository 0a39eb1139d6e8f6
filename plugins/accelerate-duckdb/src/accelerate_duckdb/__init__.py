# SPDX-License-Identifier: Apache-2.0
"""Every measurement, remembered in one DuckDB file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from accelerate_core import hookimpl

if TYPE_CHECKING:
    from accelerate_core.protocols import Context, Records, Store, TableSet

__all__ = ["DuckDbPlugin", "DuckDbSettings"]


@attrs.frozen(kw_only=True)
class DuckDbSettings:
    """Say where the database is, and how long to wait for it."""

    #: The database file; made when it is not there, in a folder that is.
    path: str = attrs.field(default="results.duckdb", validator=attrs.validators.min_len(1))
    #: Seconds to wait while another process holds the file.
    wait_s: float = attrs.field(default=10.0, validator=attrs.validators.ge(0))


class DuckDbPlugin:
    """Keep runs and measurements in a DuckDB file with one writer."""

    name = "duckdb"
    settings = DuckDbSettings

    @hookimpl
    def store_create(
        self, settings: DuckDbSettings, ctx: Context, tables: Sequence[TableSet]
    ) -> Store:
        """Open the file, migrate it, and hand over the store; StoreError when that fails."""
        from .store import DuckDbStore

        return DuckDbStore.open(settings.path, wait_s=settings.wait_s, tables=tables)

    @hookimpl
    def store_look(
        self, settings: DuckDbSettings, ctx: Context, tables: Sequence[TableSet]
    ) -> Records:
        """Return what answers for the file; one of an older version is brought forward first."""
        from .recalling import Recalled

        found = Recalled(settings.path, settings.wait_s)
        try:
            is_behind = found.lacks(tables)
        except BaseException:
            found.close()
            raise
        if is_behind:
            found.close()
            self.store_create(settings, ctx, tables).close()
        return found
