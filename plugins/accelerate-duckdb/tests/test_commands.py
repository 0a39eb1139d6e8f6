# SPDX-License-Identifier: Apache-2.0
"""`accel query`, and the plugin as the host finds it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import attrs
import pytest
import typer
from accelerate_duckdb import DuckDbPlugin, DuckDbSettings
from accelerate_duckdb.store import DuckDbStore
from typer.testing import CliRunner

from accelerate_core.errors import ConfigError

from . import values


@pytest.fixture
def cli(path: Path) -> typer.Typer:
    """Return the app of the entry point; the database of `path` has a run and a measurement."""
    store = DuckDbStore.open(path)
    store.save_run(attrs.evolve(values.RUN, name="[bold] naïve"))
    store.save_measurement(values.MEASUREMENT)
    store.close()
    (entry,) = entry_points(group="accelerate_core.commands", name="query")
    app: typer.Typer = entry.load()
    return app


def run(cli: typer.Typer, *arguments: str) -> str:
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_table_for_people(cli: typer.Typer, path: Path) -> None:
    out = run(cli, "SELECT name, finished_at, 2.5 AS x FROM runs", "--db", str(path))
    assert "[bold] naïve" in out
    assert "NULL" in out
    assert out.splitlines()[-1].strip() == "1 row"


def test_a_long_row_is_not_cut_in_a_pipe(cli: typer.Typer, path: Path) -> None:
    out = run(cli, "SELECT repeat('x', 500)", "--db", str(path))
    assert "x" * 500 in out


def test_json(cli: typer.Typer, path: Path) -> None:
    sql = (
        "SELECT samples_ms, timestamp, is_cached, 1.50 AS a, 2 AS a, 'nan'::DOUBLE AS nan "
        "FROM webnn_webgpu_performance"
    )
    assert json.loads(run(cli, "--db", str(path), "--json", sql)) == [
        {
            "samples_ms": [10.5, 11.0, 12.25],
            "timestamp": "2026-11-21T12:30:00",
            "is_cached": None,
            "a": "1.50",
            "a_1": 2,
            "nan": None,
        }
    ]


def test_csv(cli: typer.Typer, path: Path) -> None:
    sql = "SELECT 'a,b' AS text, [1, 2] AS list, NULL AS nothing, true AS yes"
    rows = list(csv.reader(run(cli, sql, "--csv", "--db", str(path)).splitlines()))
    assert rows == [["text", "list", "nothing", "yes"], ["a,b", "[1, 2]", "", "true"]]


def test_errors_reach_the_core_typed(cli: typer.Typer, path: Path) -> None:
    with pytest.raises(ConfigError, match="no such database"):
        run(cli, "SELECT 1", "--db", str(path.with_name("other.duckdb")))
    with pytest.raises(ConfigError, match="exclude"):
        run(cli, "SELECT 1", "--json", "--csv", "--db", str(path))


def test_the_plugin_is_found_and_light() -> None:
    (entry,) = entry_points(group="accelerate_core.stores", name="duckdb")
    assert entry.load() is DuckDbPlugin
    script = (
        "import sys, accelerate_duckdb, accelerate_duckdb.commands\n"
        "heavy = {'duckdb', 'numpy', 'sqlite3'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)


@pytest.mark.parametrize("wrong", [{"path": ""}, {"wait_s": -1.0}])
def test_settings_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        DuckDbSettings(**wrong)  # type: ignore[arg-type]
