# SPDX-License-Identifier: Apache-2.0
"""A pipeline file changed to what was measured as better; and changed back."""

from __future__ import annotations

import difflib
import hashlib
import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import attrs

from accelerate_core.config import Config, load
from accelerate_core.errors import ConfigError, StoreError, Unsupported
from accelerate_core.types import Target

from ..reading import Results
from .asking import since
from .candidates import judged
from .editing import changed
from .proposing import Proposal, Row, proposals

_SUFFIX = ".before-optimize"
_HEADER = "# Kept by accel optimize. SHA-256 of the file that it wrote: "

_QUERY = """
SELECT
    model, task, one.sequence_length, one.platform, one.engine, one.browser, one.precision,
    one.batch_size, one.is_software, one.threads, run_id, is_wrong, latency_ms,
    throughput_items_per_second, one.scenario
FROM (
    SELECT *, unnest(ids) AS id FROM judged
    WHERE is_current AND machine = (SELECT arg_max(machine, last) FROM judged)
) AS one JOIN webnn_webgpu_performance USING (id)
ORDER BY timestamp, id
"""


@attrs.frozen(kw_only=True)
class Optimization:
    """Say what was changed in a file, or would be."""

    path: Path
    proposals: tuple[Proposal, ...]
    notes: tuple[str, ...]  #: what could not be changed
    diff: str  #: unified; empty when nothing is to be changed
    is_written: bool
    backup: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return JSON data."""
        return {
            "path": str(self.path),
            "is_written": self.is_written,
            "backup": None if self.backup is None else str(self.backup),
            "changes": [
                {
                    "key": one.where,
                    "before": one.before,
                    "after": one.after,
                    "why": one.why,
                    "times": attrs.asdict(one.gain.times),
                    "runs": list(one.gain.runs),
                }
                for one in self.proposals
            ],
            "notes": list(self.notes),
            "diff": self.diff,
        }

    def __str__(self) -> str:
        """Return the diff, or that there is none."""
        lines = [self.diff or "nothing to change: no setting was measured as better"]
        return "\n".join([*lines, *self.notes])


def optimize(
    results: Results, path: Path, *, time_range: str = "30d", is_dry: bool = False
) -> Optimization:
    """Change settings of a pipeline file that were measured as slower than others.

    The file is replaced at once or not at all; what it was is kept beside it. ConfigError for a
    file that is no pipeline or a time range that is none, before anything is written.
    """
    begin = since(time_range)
    path = path.resolve()
    config = load(path)
    old = path.read_bytes().decode("utf-8")
    text, done, notes = old, [], []
    for one in proposals(config, _rows(results, config, begin)):
        try:
            text = changed(text, one.key, one.after, one.why)
        except Unsupported as error:
            notes.append(f"{one.where} = {one.after!r} would be better ({one.why}); {error}")
        else:
            done.append(one)
    result = Optimization(
        path=path,
        proposals=tuple(done),
        notes=tuple(notes),
        diff=_diff(old, text, path),
        is_written=False,
    )
    if is_dry or text == old:
        return result
    backup = path.with_name(path.name + _SUFFIX)
    _check(text, path)
    _replace(backup, f"{_HEADER}{_sha256(text)}\n{old}", like=path)
    _replace(path, text, like=path)
    return attrs.evolve(result, is_written=True, backup=backup)


def undo(path: Path) -> Optimization:
    """Put the file back to what it was before; ConfigError when it was changed since."""
    path = path.resolve()
    backup = path.with_name(path.name + _SUFFIX)
    try:
        header, _, old = backup.read_bytes().decode("utf-8").partition("\n")
    except FileNotFoundError:
        raise ConfigError(
            "there is nothing to undo", where=str(path), accepted=("a file it has changed",)
        ) from None
    now = path.read_bytes().decode("utf-8") if path.exists() else ""
    if header != f"{_HEADER}{_sha256(now)}":
        raise ConfigError(
            "the file was changed since",
            where=str(path),
            hint=f"What it was is in {backup.name}, below the first line.",
        )
    _replace(path, old, like=path)
    backup.unlink()
    return Optimization(
        path=path, proposals=(), notes=(), diff=_diff(now, old, path), is_written=True
    )


def _rows(results: Results, config: Config, begin: datetime) -> list[Row]:
    names = [model.name for model in config.models]
    if not names:
        raise ConfigError("there are no models in it", where=config.path, accepted=("[[models]]",))
    condition = f"timestamp >= ? AND model_name IN ({', '.join('?' for _ in names)})"
    metrics = ("latency_ms", "throughput_items_per_second")
    sql = judged(metrics, {"ids": "id"}, condition) + _QUERY
    return [_row(row) for row in results.query(sql, [begin, *names]).rows]


def _row(row: tuple[Any, ...]) -> Row:
    return Row(
        model=row[0],
        task=row[1],
        sequence_length=row[2],
        target=Target(row[3], row[4], row[5]),
        precision=row[6],
        batch_size=row[7],
        is_software=row[8],
        threads=row[9],
        run_id=row[10],
        is_wrong=row[11],
        latency_ms=row[12],
        throughput=row[13],
        scenario=row[14],
    )


def _check(text: str, path: Path) -> None:
    """Raise ConfigError unless the text is a pipeline file, with plugins that take its settings."""
    import tomllib

    from accelerate_core.assembly import check_tables
    from accelerate_core.config import parse
    from accelerate_core.host import Host

    data = {"name": path.stem, **tomllib.loads(text)}
    check_tables(parse(data, where=str(path)), Host())


def _replace(path: Path, text: str, *, like: Path) -> None:
    """Write a file whole or not at all, with the rights of another."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with new.open("wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        if like.exists():
            shutil.copymode(like, new)
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise StoreError(f"cannot be written: {error.strerror}", where=str(path)) from None


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _diff(old: str, new: str, path: Path) -> str:
    lines = difflib.unified_diff(
        old.splitlines(), new.splitlines(), path.name, f"{path.name} (optimized)", n=2, lineterm=""
    )
    return "\n".join(lines)
