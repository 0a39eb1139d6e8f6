# SPDX-License-Identifier: Apache-2.0
"""Every table and column is described, and nothing else is."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path

import pytest
from accelerate_duckdb.dictionary import Column, describe

from accelerate_core.errors import PluginError
from accelerate_core.host import Host
from accelerate_core.protocols import Migration, TableSet

ENERGY = TableSet(
    namespace="energy",
    migrations=(Migration(version=1, sql="CREATE TABLE energy_samples (taken DATE, j DOUBLE)"),),
    meanings={"energy_samples": "One row for each sample.", "energy_samples.j": "Energy [J]"},
)


def test_every_table_and_column_of_what_is_installed_has_a_meaning(tmp_path: Path) -> None:
    described = describe(Host(state_dir=tmp_path).tables())
    assert {"core", "story", "chaos", "kernels"} <= {table.namespace for table in described}
    nameless = [
        f"{table.name}.{name}"
        for table in described
        for name, meaning in (("", table.meaning), *((c.name, c.meaning) for c in table.columns))
        if not meaning
    ]
    assert not nameless


def test_the_dictionary_names_nothing_that_is_not_there() -> None:
    text = (resources.files("accelerate_duckdb") / "schema/dictionary.toml").read_text("utf-8")
    columns = {table.name: {column.name for column in table.columns} for table in describe()}
    written = {name: set(own) - {"*", "like"} for name, own in tomllib.loads(text).items()}
    assert set(written) == set(columns)
    assert {name: own - columns[name] for name, own in written.items() if own - columns[name]} == {}


def test_units_and_what_nobody_described_show() -> None:
    *_, own = describe([ENERGY])
    assert (own.name, own.namespace, own.is_view) == ("energy_samples", "energy", False)
    assert own.columns == (
        Column("taken", "DATE", None, None),
        Column("j", "DOUBLE", "J", "Energy"),
    )


def test_a_view_means_what_the_table_it_is_like_means() -> None:
    (latest,) = (table for table in describe() if table.name == "latest_measurements")
    meanings = {column.name: column.meaning for column in latest.columns}
    assert meanings["browser"] == "Browser that ran"
    assert meanings["timestamp"] == "When the latest measurement began"


def test_a_namespace_may_not_cover_a_view() -> None:
    with pytest.raises(PluginError, match="the store's own"):
        from accelerate_duckdb.migrations import check_contributed

        check_contributed([TableSet(namespace="latest", migrations=())])
