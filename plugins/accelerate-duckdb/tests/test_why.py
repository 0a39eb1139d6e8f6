# SPDX-License-Identifier: Apache-2.0
"""Stories of real runs, kept in a real file, and `accel why`."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from accelerate_duckdb.store import DuckDbStore

from accelerate_core import config
from accelerate_core.assembly import make_host
from accelerate_core.assets import AssetStore
from accelerate_core.cli.commands import invoke
from accelerate_core.durable.keeper import StoriesPlugin, StoryKeeper
from accelerate_core.errors import StoreError
from accelerate_core.events import JobFinished
from accelerate_core.fleet.instructions import Chapter
from accelerate_core.measuring import pipeline
from accelerate_core.testing.models import tiny_matmul


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    assets = AssetStore(tmp_path / "scratch")
    spec = tiny_matmul(assets)
    (tmp_path / "tiny.onnx").write_bytes(assets.path(spec.assets[0].sha256).read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(folder: Path, **fake: Any) -> pipeline.Outcome:
    made = config.parse(
        {
            "store": {"use": "duckdb", "path": "results.duckdb"},
            "pool": {"recovery": "immediate"},
            "models": [{"name": "tiny", "source": "file:tiny.onnx"}],
            "benchmarks": [{"targets": ["fake"], "repeats": 4}],
            "backends": {"fake": fake},
        }
    )
    host = make_host(made, cache_dir=folder / "cache", state_dir=folder / "state")
    return asyncio.run(pipeline.run(made, host))


def why(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = invoke(["why", *words], is_debug=False)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_job_that_was_retried_tells_what_happened(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run(folder, crash_after=2)
    assert not outcome.summary.is_failed
    code, text, _ = why(capsys, "--last", "--json")
    story = json.loads(text)
    assert code == 0 and story["run_id"] == outcome.summary.run.id
    assert story["attempts"] == 2 and story["error"] is None and story["model"] == "tiny"
    told = [one["what"] for one in story["story"]]
    assert told[0] == "submitted" and told[-1] == "answered"
    assert any(what.startswith("attempt failed") for what in told)
    times = [one["after_ms"] for one in story["story"]]
    assert times[0] == 0 and times == sorted(times)
    code, text, _ = why(capsys, story["job_id"][:6])
    assert code == 0 and f"Job {story['job_id']} of run" in text
    assert "answered by fake-" in text and "planned: it crashed" in text


def test_the_error_of_a_job_names_it_and_why_shows_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = run(folder, fail_every=1).summary.measurements
    assert row.error is not None and row.error.hint is not None
    words = row.error.hint.split("accel why ")[1].split()
    code, text, _ = why(capsys, words[0])
    assert code == 0 and "failed after" in text and "planned: run" in text
    assert text.count("Next: ") >= 1 and "accel why" not in text
    code, text, _ = why(capsys)
    assert code == 0 and text.startswith(words[0])


def test_what_went_well_keeps_no_story(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(folder)
    code, text, _ = why(capsys)
    assert code == 0 and "no story is kept" in text
    code, _, text = why(capsys, "--last")
    assert code == 1 and "no story is kept" in text


def finished(number: int, job_id: str = "") -> JobFinished:
    return JobFinished(
        run_id="r",
        at=datetime.now(UTC),
        job_id=job_id or f"job-{number}",
        model="m",
        worker_id=None,
        latency_ms=None,
        attempts=1,
        story=(Chapter(0, "submitted"), Chapter(number, "attempt failed: crash", "w-1: gone")),
    )


def test_the_latest_are_kept_and_read_while_they_are_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = DuckDbStore.open("results.duckdb", tables=StoriesPlugin().store_tables())
    try:
        keeper = StoryKeeper(store, most=5)
        for number in range(12):
            keeper.saw(finished(number))
        kept = store.query("SELECT job_id FROM story_jobs ORDER BY number")
        assert [job for (job,) in kept.rows] == [f"job-{number}" for number in range(7, 12)]
        code, text, _ = why(capsys, "job-11")  # the store is open
        assert code == 0 and "+0.0 ms  submitted" in text and "The process died" in text
        code, _, text = why(capsys, "job-1")
        assert code == 2 and "2 jobs begin with 'job-1'" in text and "job-11, job-10" in text
        code, _, text = why(capsys, "nobody")
        assert code == 1 and "no story of a job that begins with 'nobody'" in text
        code, _, text = why(capsys, "job-11", "--last")
        assert code == 2 and "exclude each other" in text
    finally:
        store.close()


def test_a_file_without_stories_and_one_that_is_not_there(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    DuckDbStore.open("old.duckdb").close()
    code, text, _ = why(capsys, "--db", "old.duckdb")
    assert code == 0 and "no story is kept" in text
    code, _, text = why(capsys, "--db", "none.duckdb", "--last")
    assert code == 2 and "there is no such database" in text


def test_a_store_without_the_table_is_said_once(folder: Path) -> None:
    store = DuckDbStore.open("results.duckdb")
    try:
        keeper = StoryKeeper(store)
        with pytest.raises(StoreError, match="story_jobs"):
            keeper.saw(finished(1))
        keeper.saw(finished(2))
    finally:
        store.close()
