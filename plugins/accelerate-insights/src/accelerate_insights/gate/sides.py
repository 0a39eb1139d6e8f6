# SPDX-License-Identifier: Apache-2.0
"""What A and B are: a run that is stored, or a pipeline file that is run now."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from accelerate_core.config import Config, load, parse
from accelerate_core.errors import ConfigError, StoreError
from accelerate_core.serial import from_plain
from accelerate_core.texts import short_id
from accelerate_core.types import Measurement, RunInfo, RunSummary

from ..reading import Database, Results, Where, read_series
from .spread import Spread, of_runs

_LATEST = re.compile(r"latest(?:~(\d+))?")
_HASH = re.compile(r"[0-9a-f]{7,40}(\+changes)?")
_LISTED = 5


@attrs.frozen
class Stored:
    """Hold a stored run, and the database that knows earlier ones."""

    summary: RunSummary
    results: Results

    def spreads(self, metrics: Sequence[str]) -> dict[tuple[str, str], Spread]:
        """Return how much runs differ, by series key and metric, as those up to this one say."""
        keys = tuple(dict.fromkeys(one.series_key for one in self.summary.measurements))
        found: dict[tuple[str, str], Spread] = {}
        for series in read_series(self.results, Where(series_keys=keys), metrics):
            runs = [point.run_id for point in series.points]
            if self.summary.run.id in runs:  # else it is of another machine
                earlier = series.points[: runs.index(self.summary.run.id) + 1]
                if (spread := of_runs([point.value for point in earlier])) is not None:
                    found[series.key, series.metric.name] = spread
        return found


def side(word: str, db: Path, where: str) -> Config | Stored:
    """Return what a word names: a pipeline file, a database's latest run, or a run in `db`.

    ConfigError or StoreError when there is no such thing; nothing is started.
    """
    path = Path(word)
    if path.suffix == ".toml":
        return load(path)
    if path.is_file():
        return stored(Database(path), "latest", where)
    return stored(Database(db), word, where)


def stored(results: Results, word: str, where: str) -> Stored:
    """Return a run: `latest`, `latest~1`, an id or its beginning, or a commit's latest run."""
    table = results.query("SELECT record FROM runs ORDER BY started_at DESC, sequence DESC")
    runs = [from_plain(json.loads(record), RunInfo) for (record,) in table.rows]
    run = _find(runs, word, where)
    table = results.query(
        "SELECT record FROM webnn_webgpu_performance WHERE run_id = ? ORDER BY id", [run.id]
    )
    measured = [from_plain(json.loads(record), Measurement) for (record,) in table.rows]
    return Stored(RunSummary(run=run, measurements=tuple(measured)), results)


def _find(runs: Sequence[RunInfo], word: str, where: str) -> RunInfo:
    """Return the run that a word names, of runs in order, the newest first."""
    if not runs:
        raise StoreError("no run is stored", where=where)
    if latest := _LATEST.fullmatch(word):
        back = int(latest[1] or 0)
        if back < len(runs):
            return runs[back]
        count = "is only 1 run" if len(runs) == 1 else f"are only {len(runs)} runs"
        raise ConfigError(f"there {count}", where=f"{where} {word}")
    found = [run for run in runs if run.id.startswith(word)]
    # A commit with changes in it is not that commit.
    commit = word if _HASH.fullmatch(word) else _commit(word)
    found = found or [run for run in runs if commit and _is_of(run, commit)][:1]
    if len(found) == 1:
        return found[0]
    raise ConfigError(
        f"{len(found)} runs begin with {word!r}" if found else f"no run is called {word!r}",
        where=where,
        accepted=("latest", "latest~1", "FILE.toml", *(short_id(run.id) for run in runs[:_LISTED])),
        hint="accel report --list shows the runs.",
    )


def _is_of(run: RunInfo, commit: str) -> bool:
    known = run.project_commit or ""
    return known.startswith(commit) and ("+" in known) == ("+" in commit)


def _commit(word: str) -> str | None:
    """Return the commit that a branch or tag of the project here names."""
    command = ["git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{word}^{{commit}}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def changed(path: Path, settings: Sequence[str]) -> Config:
    """Return a pipeline file with other settings, each as "key.of.table=value" in TOML.

    A number in a key counts tables of a list, from 0. ConfigError for what is no setting.
    """
    load(path)
    data: dict[str, Any] = {
        "name": path.stem,
        **tomllib.loads(path.read_text(encoding="utf-8")),
    }
    for setting in settings:
        key, equals, text = setting.partition("=")
        where = f"--with {setting}"
        if not equals or not key:
            raise ConfigError("not a setting", where=where, accepted=("key.of.table=value",))
        _put(data, key.split("."), _value(text), where)
    return parse(data, where=f"{path} with {', '.join(settings)}")


def _value(text: str) -> Any:
    """Return a TOML value; what is none is text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _put(data: Any, keys: Sequence[str], value: Any, where: str) -> None:
    *parents, last = keys
    for key in parents:
        data = data.setdefault(key, {}) if isinstance(data, dict) else _item(data, key, where)
    if isinstance(data, dict):
        data[last] = value
    else:
        raise ConfigError(f"{last!r} is in no table", where=where)


def _item(data: Any, key: str, where: str) -> Any:
    if isinstance(data, list) and key.isdigit() and int(key) < len(data):
        return data[int(key)]
    accepted = tuple(map(str, range(len(data)))) if isinstance(data, list) else ()
    raise ConfigError(f"there is no {key!r}", where=where, accepted=accepted)
