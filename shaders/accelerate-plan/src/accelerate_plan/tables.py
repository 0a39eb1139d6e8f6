# SPDX-License-Identifier: Apache-2.0
"""The table of measured variants, in whichever store is used."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from accelerate_core import hookimpl
from accelerate_core.protocols import Migration, TableSet

if TYPE_CHECKING:
    from accelerate_core.protocols import Store

    from .tuning_book import Measured

_CREATE = """
CREATE TABLE kernels_measured (
    adapter VARCHAR NOT NULL,
    operation VARCHAR NOT NULL,
    sizes VARCHAR NOT NULL,
    variant VARCHAR NOT NULL,
    constants VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    best_ms DOUBLE NOT NULL,
    median_ms DOUBLE NOT NULL,
    spread DOUBLE NOT NULL,
    samples INTEGER NOT NULL,
    method VARCHAR NOT NULL,
    measured_at TIMESTAMP NOT NULL,
    versions VARCHAR NOT NULL
);
"""
_MEANINGS = {
    "kernels_measured": "One row for each measurement of a kernel's variant on an adapter.",
    "kernels_measured.adapter": "The adapter: vendor, architecture, driver",
    "kernels_measured.operation": "What the kernel computes",
    "kernels_measured.sizes": "For which sizes, as JSON",
    "kernels_measured.variant": "Name of the kernel",
    "kernels_measured.constants": "Its constants, as JSON",
    "kernels_measured.source": "Hash of its text",
    "kernels_measured.best_ms": "Fastest sample [ms]",
    "kernels_measured.median_ms": "Median of the samples [ms]",
    "kernels_measured.spread": "Spread of the samples over their median",
    "kernels_measured.samples": "How many there are",
    "kernels_measured.method": "How time was taken",
    "kernels_measured.measured_at": "When",
    "kernels_measured.versions": "Versions of engine and browser",
}
_INSERT = "INSERT INTO kernels_measured VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class KernelTables:
    """Keep what was measured of kernels, beside the results of runs."""

    name = "kernel_tuning"

    @hookimpl
    def store_tables(self) -> Sequence[TableSet]:
        """Return the table `kernels_measured`: every measurement, older ones too."""
        migrations = (Migration(version=1, sql=_CREATE),)
        return (TableSet(namespace="kernels", migrations=migrations, meanings=_MEANINGS),)


def save(store: Store, entries: Iterable[Measured]) -> None:
    """Add measurements to a store, all or none; StoreError when that fails."""
    with store.transaction() as transaction:
        for one in entries:
            row = (
                one.adapter,
                one.operation,
                json.dumps(one.sizes, sort_keys=True),
                one.variant,
                json.dumps(one.constants, sort_keys=True),
                one.source,
                one.best_ms,
                one.median_ms,
                one.spread,
                one.samples,
                one.method,
                one.measured_at,
                json.dumps(one.versions, sort_keys=True),
            )
            transaction.execute(_INSERT, row)
