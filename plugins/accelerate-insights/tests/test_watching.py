# SPDX-License-Identifier: Apache-2.0
"""A run against its history: suspected, measured again, stored, told, and what people say of it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
from accelerate_duckdb.store import DuckDbStore
from accelerate_insights.watching.analysis import Watch
from accelerate_insights.watching.plugin import WatchPlugin, WatchSettings

from accelerate_core.cli import main
from accelerate_core.errors import ConfigError
from accelerate_core.events import Regression
from accelerate_core.types import CellStatus, Measurement

from .databases import filled

GOOD, BAD, COMMITS = 10.0, 13.0, ("a" * 40, "b" * 40)
#: As much as real series differ, and the same in every test.
NOISE = (1.0, 1.01, 0.99, 1.005, 0.985, 1.015, 0.995, 1.002)


def levels(*parts: tuple[float, int]) -> list[float]:
    values = [level for level, count in parts for _ in range(count)]
    return [value * NOISE[index % len(NOISE)] for index, value in enumerate(values)]


@pytest.fixture(scope="module")
def slower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database whose last twelve runs are 30% slower, from one commit on."""
    return filled(
        tmp_path_factory.mktemp("slower") / "results.duckdb",
        levels((GOOD, 30), (BAD, 12)),
        commits=[COMMITS[0]] * 30 + [COMMITS[1]] * 12,
        memory_bytes=None,
        inference_time_ms=None,
        name="run",
    )


@pytest.fixture
def path(tmp_path: Path, slower: Path) -> Path:
    """Return a copy of its own for a test."""
    return Path(shutil.copy(slower, tmp_path / "results.duckdb"))


@pytest.fixture
def opened(path: Path) -> Iterator[DuckDbStore]:
    store = DuckDbStore.open(path)
    yield store
    store.close()


def judge(
    store: DuckDbStore, run: str, *, again_ms: float | None = BAD, **settings: Any
) -> tuple[set[str], Sequence[Regression]]:
    """Do what a run's end does: ask, measure again, and ask again."""
    watch, summary = Watch(WatchSettings(**settings)), store.summary(run)
    suspects = set(watch.suspects(summary, store))
    again: list[Measurement] = []
    for one in summary.measurements:
        if one.id in suspects and again_ms is not None:
            again.append(attrs.evolve(one, id=f"{one.id}-again", again_of=one.id))
            again[-1] = attrs.evolve(again[-1], latency_ms=again_ms, samples_ms=(again_ms,) * 5)
            store.save_measurement(again[-1])
    return suspects, watch.conclude(summary, again, store)


def rows(store: DuckDbStore, columns: str) -> tuple[tuple[Any, ...], ...]:
    return tuple(store.query(f"SELECT {columns} FROM performance_regressions ORDER BY id").rows)


def test_what_is_confirmed_is_stored_and_told_with_all_that_people_need(
    opened: DuckDbStore, path: Path
) -> None:
    suspects, (told,) = judge(opened, "run-41")
    assert len(suspects) == 1
    assert (told.last_good_run, told.first_bad_run) == ("run-29", "run-30")
    assert (told.last_good_commit, told.first_bad_commit) == COMMITS
    assert told.model == "minilm" and told.target == "webgpu/ort:chromium" and told.unit == "ms"
    assert told.change == pytest.approx(0.3, abs=0.02)
    assert told.change_low is not None and told.change_high is not None
    assert told.change_low < told.change < told.change_high
    assert told.label.startswith("latency of minilm on webgpu/ort:chromium")
    assert told.see == f"accel regressions show {told.id[:8]} --db {path}" and not told.fails_run
    ((identity, status, again, worse),) = rows(opened, "id, status, was_measured_again, is_worse")
    assert (identity, status, again, worse) == (told.id, "open", True, True)


def test_what_is_known_is_told_once_and_its_numbers_follow(opened: DuckDbStore, path: Path) -> None:
    judge(opened, "run-41")
    ((changed,),) = rows(opened, "updated_at")
    opened.close()
    filled(path, levels((BAD * 1.02, 9)), first=42, name="run", memory_bytes=None)
    store = DuckDbStore.open(path)
    assert judge(store, "run-50") == (set(), [])
    ((again, updated, after),) = rows(store, "was_measured_again, updated_at, after")
    assert again and updated == changed and after == pytest.approx(BAD, rel=0.05)
    store.close()


def test_what_was_not_confirmed_is_neither_stored_nor_told(opened: DuckDbStore) -> None:
    suspects, told = judge(opened, "run-41", again_ms=None)
    assert suspects and not told and rows(opened, "id") == ()
    failed = [
        attrs.evolve(one, id="again", again_of=one.id, status=CellStatus.FAILED, samples_ms=())
        for one in opened.summary("run-41").measurements
    ]
    watch = Watch(WatchSettings())
    assert not watch.conclude(opened.summary("run-41"), failed, opened)


def test_a_steady_or_short_series_is_no_suspect(tmp_path: Path) -> None:
    store = DuckDbStore.open(filled(tmp_path / "r.duckdb", levels((GOOD, 40)), name="run"))
    assert judge(store, "run-39") == (set(), [])
    store.close()
    store = DuckDbStore.open(filled(tmp_path / "short.duckdb", [GOOD, BAD], name="run"))
    assert judge(store, "run-1") == (set(), [])
    store.close()


def test_what_became_better_is_stored_and_nobody_is_told(tmp_path: Path) -> None:
    path = filled(tmp_path / "r.duckdb", levels((BAD, 30), (GOOD, 12)), name="run")
    store = DuckDbStore.open(path)
    assert judge(store, "run-41") == (set(), [])
    assert rows(store, "is_worse, severity, was_measured_again") == ((False, "improvement", False),)
    store.close()


def test_what_was_fixed_and_is_back_is_opened_again_with_a_note(
    opened: DuckDbStore, path: Path
) -> None:
    judge(opened, "run-41")
    ((identity,),) = rows(opened, "id")
    with opened.transaction() as transaction:
        transaction.execute(
            "UPDATE performance_regressions SET status = 'fixed', updated_at ="
            " (SELECT max(timestamp) FROM webnn_webgpu_performance)"
        )
    opened.close()
    filled(path, [GOOD], first=42, name="run", memory_bytes=None)
    store = DuckDbStore.open(path)
    assert judge(store, "run-42") == (set(), [])
    store.close()
    filled(path, [BAD, BAD], first=43, name="run", memory_bytes=None)
    store = DuckDbStore.open(path)
    suspects, (told,) = judge(store, "run-44")
    assert suspects and told.id == identity and told.note == "opened again: back in run run-44"
    assert rows(store, "status, note") == (("open", told.note),)
    store.close()


def test_the_next_change_of_a_series_that_was_fixed_says_so(
    opened: DuckDbStore, path: Path
) -> None:
    judge(opened, "run-41")
    ((identity,),) = rows(opened, "id")
    with opened.transaction() as transaction:
        transaction.execute("UPDATE performance_regressions SET status = 'fixed'")
    opened.close()
    filled(path, levels((GOOD, 30), (BAD, 12)), first=42, name="run", memory_bytes=None)
    store = DuckDbStore.open(path)
    _, (told,) = judge(store, "run-83", again_ms=BAD)
    assert told.id != identity and told.note == f"is back: was fixed as {identity[:8]}"
    store.close()


def test_settings_say_what_fails_a_run(opened: DuckDbStore) -> None:
    _, (told,) = judge(opened, "run-41", fail_on="minor")
    assert told.fails_run


def test_a_metric_nobody_knows_is_refused_before_the_run() -> None:
    with pytest.raises(ConfigError, match="there is no metric 'latency'"):
        WatchPlugin().analysis_create(settings=WatchSettings(metrics=("latency",)))


# --- accel regressions ----------------------------------------------------------------------------


@pytest.fixture
def accel(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs `accel regressions` beside a database with one finding."""
    store = DuckDbStore.open(path)
    judge(store, "run-41")
    store.close()
    monkeypatch.chdir(path.parent)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        code = main(["regressions", *words])
        shown = capsys.readouterr()
        return subprocess.CompletedProcess(words, code, shown.out, shown.err)

    return run


Accel = Callable[..., subprocess.CompletedProcess[str]]


def test_the_list_names_cause_numbers_and_state(accel: Accel) -> None:
    done = accel()
    assert done.returncode == 0, done.stderr
    assert "latency of minilm on webgpu/ort:chromium fp32 batch 1" in done.stdout
    assert "+30%" in done.stdout and "[open]" in done.stdout
    assert "1 regression with 1 cause" in done.stdout
    assert "b" * 7 in done.stdout  # the commit
    ((alert,),) = [json.loads(accel("list", "--json").stdout)]
    (finding,) = alert["findings"]
    assert finding["first_bad_commit"] == COMMITS[1] and finding["status"] == "open"


def test_a_status_is_changed_with_a_note_by_the_beginning_of_an_id(accel: Accel) -> None:
    ((alert,),) = [json.loads(accel("--json").stdout)]
    identity = alert["findings"][0]["id"]
    for word, status in (("ack", "acknowledged"), ("wontfix", "wont_fix"), ("open", "open")):
        done = accel(word, identity[:6], "--note", f"because {word}")
        assert done.returncode == 0 and f"-> {status}" in done.stdout
        shown = json.loads(accel("show", identity[:6], "--json").stdout)
        assert (shown["status"], shown["note"]) == (status, f"because {word}")
    assert accel("fix", identity[:6]).returncode == 0
    assert "No regressions." in accel().stdout
    assert "[fixed: because open]" in accel("list", "--all").stdout
    shown = accel("show", identity).stdout
    assert "yes, and it stayed" in shown and f"{COMMITS[0]} .. {COMMITS[1]}" in shown


def test_an_id_nobody_has_and_a_time_that_is_none_are_refused(accel: Accel) -> None:
    done = accel("show", "nothing")
    assert done.returncode == 2 and "no finding is called 'nothing'" in done.stderr
    assert accel("fix", "zzz").returncode == 2
    assert accel("--since", "yesterday").returncode == 2


def test_without_a_database_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["regressions"]) == 1
    assert main(["regressions", "ack", "x"]) == 1
    assert "no such database" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_status_waits_for_the_run_that_holds_the_file(accel: Accel, path: Path) -> None:
    import threading

    ((alert,),) = [json.loads(accel("--json").stdout)]
    holder = DuckDbStore.open(path)
    ending = threading.Timer(1.0, holder.close)
    ending.start()
    done = accel("ack", alert["findings"][0]["id"])
    ending.join()
    assert done.returncode == 0 and "waiting for it" in done.stderr
    assert "-> acknowledged" in done.stdout
