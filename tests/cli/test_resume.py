# SPDX-License-Identifier: Apache-2.0
"""`accel run` killed or interrupted, and started again."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from accelerate_core import config
from accelerate_core.assembly import make_host
from accelerate_core.assets import AssetStore
from accelerate_core.errors import ConfigError
from accelerate_core.measuring import pipeline
from accelerate_core.testing.models import tiny_matmul
from accelerate_core.types import CellStatus

PIPELINE = """
[store]
use = "duckdb"
path = "results.duckdb"

[pool]
durable = true

[[models]]
name = "tiny"
source = "file:tiny.onnx"

[[benchmarks]]
targets = ["fake"]
batch_sizes = [1, 2, 3, 4]
repeats = 5
budget = "60s"

[backends.fake]
latency_ms = {latency_ms}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the working folder, with a model and a pipeline in it."""
    assets = AssetStore(tmp_path / "scratch")
    spec = tiny_matmul(assets)
    (tmp_path / "tiny.onnx").write_bytes(assets.path(spec.assets[0].sha256).read_bytes())
    (tmp_path / "bench.toml").write_text(PIPELINE.format(latency_ms=40))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCELERATE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("ACCELERATE_STATE_DIR", str(tmp_path / "state"))
    return tmp_path


def accel(*words: str) -> list[str]:
    return [str(Path(sys.executable).with_name("accel")), "run", "bench.toml", *words]


def test_a_killed_run_goes_on_where_it_was(folder: Path) -> None:
    process = subprocess.Popen(accel(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(b"[3/4]"):  # two are stored, the third has begun
            break
    process.kill()
    process.communicate()
    again = subprocess.run(accel("--json"), capture_output=True, text=True, timeout=120)
    assert again.returncode == 0, again.stderr
    summary = json.loads(again.stdout)
    run = summary["run"]
    assert f"Continuing run {run['id'][:8]} of" in again.stderr
    assert "2 of 4 cells are measured. --fresh starts anew." in again.stderr
    rows = summary["measurements"]
    assert [row["cell"]["batch_size"] for row in rows] == [1, 2, 3, 4]
    assert {row["run_id"] for row in rows} == {run["id"]}
    (resumed,) = run["resumed_at"]
    assert [row["started_at"] < resumed for row in rows] == [True, True, False, False]
    # It has ended: nothing is left to continue, and that is said.
    (folder / "bench.toml").write_text(PIPELINE.format(latency_ms=40).replace("1, 2, 3, 4", "1"))
    process = subprocess.Popen(accel("--resume"), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stderr is not None
    assert process.stderr.readline().startswith(b"Nothing to continue: ")
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1].decode()
    assert process.returncode == 130, said
    assert "cells measured. The same command goes on where it was." in said


def run(**options: Any) -> pipeline.Outcome:
    made = config.load(Path("bench.toml"))
    return asyncio.run(pipeline.run(made, make_host(made), **options))


def stopped_in(batch_size: int, **options: Any) -> pipeline.Outcome:
    """Run until a cell is being measured, and stop there as Ctrl-C does."""

    async def go() -> pipeline.Outcome:
        stop = asyncio.Event()

        def observe(event: Any) -> None:
            if event.kind == "cell_started" and event.cell.batch_size == batch_size:
                stop.set()

        made = config.load(Path("bench.toml"))
        host = make_host(made)
        return await pipeline.run(made, host, observer=observe, stop=stop, **options)

    return asyncio.run(go())


def states(outcome: pipeline.Outcome) -> list[CellStatus]:
    return [row.status for row in outcome.summary.measurements]


OK, SKIPPED = CellStatus.OK, CellStatus.SKIPPED


def test_an_interrupted_durable_run_goes_on_until_it_ends(folder: Path) -> None:
    (folder / "bench.toml").write_text(PIPELINE.format(latency_ms=1))
    first = stopped_in(3)
    assert states(first) == [OK, OK, SKIPPED, SKIPPED] and first.summary.run.is_interrupted
    second = stopped_in(4)
    assert states(second) == [OK, OK, OK, SKIPPED]
    third = run()
    assert states(third) == [OK] * 4 and not third.summary.run.is_interrupted
    assert third.summary.run.id == first.summary.run.id
    assert third.summary.run.started_at == first.summary.run.started_at
    assert len(third.summary.run.resumed_at) == 2
    assert third.summary.measurements[:3] == second.summary.measurements[:3]
    made = config.load(Path("bench.toml"))
    store = make_host(made).create("stores", "duckdb", {"path": "results.duckdb"}, tables=())
    try:
        assert store.summary(first.summary.run.id) == third.summary
    finally:
        store.close()
    # It has ended: the next one is another run.
    assert run().summary.run.id != first.summary.run.id


def test_another_configuration_or_fresh_is_another_run(folder: Path) -> None:
    text = PIPELINE.format(latency_ms=1)
    (folder / "bench.toml").write_text(text)
    first = stopped_in(2).summary.run.id
    fresh = stopped_in(2, resume=False)
    assert fresh.summary.run.id != first and states(fresh)[0] is OK
    (folder / "bench.toml").write_text(text.replace("repeats = 5", "repeats = 4"))
    other = run()
    assert other.summary.run.id not in (first, fresh.summary.run.id) and states(other) == [OK] * 4
    # Of two that did not end, the later one goes on.
    (folder / "bench.toml").write_text(text + '\n[[reports]]\nuse = "json"\npath = "r.json"\n')
    assert run().summary.run.id == fresh.summary.run.id


def test_what_is_not_durable_goes_on_only_when_asked(folder: Path) -> None:
    text = PIPELINE.format(latency_ms=1).replace("durable = true", "")
    (folder / "bench.toml").write_text(text)
    ended = stopped_in(2)  # its other cells are stored as skipped: it has ended
    assert run(resume=True).summary.run.id != ended.summary.run.id
    asked = stopped_in(2, resume=True)
    assert states(asked) == [OK, SKIPPED, SKIPPED, SKIPPED]
    assert run().summary.run.id != asked.summary.run.id


def test_a_durable_run_needs_a_store(folder: Path) -> None:
    text = PIPELINE.format(latency_ms=1).split("[pool]")[1]
    (folder / "bench.toml").write_text("[pool]" + text)
    done = subprocess.run(accel(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "a durable run needs a store" in done.stderr and "[store]" in done.stderr
    (folder / "bench.toml").write_text("[pool]" + text.replace("durable = true", ""))
    with pytest.raises(ConfigError, match="needs a store"):
        run(resume=True)
