# SPDX-License-Identifier: Apache-2.0
"""`accel chaos`: what it refuses before anything starts, and one real row, stored and drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from accelerate_chaos.campaign import Wanted, execute, plans
from accelerate_chaos.records import Row
from accelerate_chaos.store import save

from accelerate_core.errors import ConfigError
from accelerate_core.host import Host

from . import values

SHELL = ("chromium-headless-shell",)


@pytest.mark.parametrize(
    ("wanted", "where"),
    [
        ({"scenario": "browser_crush"}, "chaos"),
        ({"scenario": "partition", "strategies": ("imediate",)}, "--strategy"),
        ({"scenario": "partition", "browsers": ("chromum",)}, "--browser"),
        ({"scenario": "partition", "backend": "wasmm"}, "--backend"),
    ],
)
def test_names_nobody_knows_are_refused(host: Host, wanted: dict[str, str], where: str) -> None:
    with pytest.raises(ConfigError) as refused:
        plans(host, Wanted(**wanted))  # type: ignore[arg-type]
    assert refused.value.info.where == where
    assert refused.value.info.accepted and refused.value.info.hint


def test_a_report_without_a_folder_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folder is not there"):
        execute(
            Wanted(scenario="partition"), db=None, html=tmp_path / "no" / "x.html", as_json=False
        )


def test_all_is_every_scenario_under_every_strategy(host: Host) -> None:
    asked = Wanted(scenario="all", strategies=("all",))
    made = {(plan.scenario, plan.fleet.strategy) for plan in plans(host, asked)}
    scenarios = {scenario for scenario, _ in made}
    strategies = set(host.names("recovery"))
    assert {"browser_crash", "host_crash", "cascade", "partial_result"} <= scenarios
    assert len(scenarios) == 18
    assert made == {(one, other) for one in scenarios for other in strategies}


def test_rows_are_stored_with_their_faults(host: Host, tmp_path: Path) -> None:
    table = {"path": str(tmp_path / "results.duckdb")}
    store = host.create("stores", "duckdb", table, tables=host.tables())
    try:
        save(store, "run", values.row(errors=2))
        save(store, "run", values.row(reason="no GPU"))
        ran, not_run = store.query(
            "SELECT answered, lost, len(errors), reason FROM chaos_rows ORDER BY id"
        ).rows
        assert ran == (8, 0, 2, None)
        assert not_run == (None, None, None, "no GPU")
        faults = store.query("SELECT fault, round(at_s, 2), seen, recovery_ms FROM chaos_faults")
        assert faults.rows == (("browser_crash", 0.45, "pid 1 is gone", [40.0, 90.0]),)
    finally:
        store.close()


def test_one_command_runs_stores_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACCELERATE_STATE_DIR", str(tmp_path / "state"))
    wanted = Wanted(
        scenario="host_crash", browsers=SHELL, requests=4, rate=2.0, every_s=2.0, workers=1
    )
    db, html = tmp_path / "results.duckdb", tmp_path / "chaos.html"
    assert execute(wanted, db=db, html=html, as_json=True) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["verdict"], row["answered"]) == ("held", 4)
    (fault,) = row["faults"]
    assert fault["seen"].endswith("ended with -9") and len(fault["recovery_ms"]) == 1
    assert db.exists() and html.exists()


def test_the_fixture_runs_a_scenario(chaos: Callable[..., Row]) -> None:
    row = chaos("device_lost", browsers=SHELL, workers=1)
    assert row.reason == "wasm holds no GPU device"
