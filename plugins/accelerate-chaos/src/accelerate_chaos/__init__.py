# SPDX-License-Identifier: Apache-2.0
"""Real faults on real browsers, and a checker that no request is lost, wrong or doubled."""

from __future__ import annotations

from collections.abc import Sequence

from accelerate_core import hookimpl
from accelerate_core.protocols import TableSet

__all__ = ["ChaosTables"]


class ChaosTables:
    """Contribute the tables `chaos_rows` and `chaos_faults` to the store."""

    name = "chaos"

    @hookimpl
    def store_tables(self) -> Sequence[TableSet]:
        """Return the tables of this distribution."""
        from .store import TABLES

        return (TABLES,)
