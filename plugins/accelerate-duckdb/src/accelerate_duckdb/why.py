# SPDX-License-Identifier: Apache-2.0
"""`accel why JOB`: show what a job went through, also while its process runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accelerate_core.errors import ConfigError, ErrorInfo, StoreError

if TYPE_CHECKING:
    from accelerate_core.durable.stories import KeptStory

app = typer.Typer(rich_markup_mode=None)

_LISTED = 20
_COLUMNS = "job_id, run_id, model, finished_at, attempts, worker_id, latency_ms, error, story"


@app.command()
def why(
    job: Annotated[
        str | None, typer.Argument(help="The job's id or how it begins.", metavar="JOB")
    ] = None,
    db: Annotated[Path, typer.Option(help="The database file.")] = Path("results.duckdb"),
    is_last: Annotated[bool, typer.Option("--last", help="The latest one.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a job that failed, was retried or hedged went through; without JOB, list them."""
    if job is not None and is_last:
        raise ConfigError("JOB and --last exclude each other")
    if job is None and not is_last:
        stories = _stories(db, "", _LISTED)
        if as_json:
            typer.echo(json.dumps([_plain(one) for one in stories], indent=2))
        else:
            _print_list(stories)
        return
    from accelerate_core.durable.stories import timeline

    found = _find(db, job)
    typer.echo(json.dumps(_plain(found), indent=2) if as_json else "\n".join(timeline(found)))


def _find(db: Path, job: str | None) -> KeptStory:
    stories = _stories(db, job or "", _LISTED)
    ids = tuple(dict.fromkeys(one.job_id for one in stories))
    if not ids:
        raise StoreError(
            f"no story of a job that begins with {job!r}" if job else "no story is kept",
            where=str(db),
            hint="Stories are kept of jobs that failed, were retried or hedged: accel why lists "
            "them.",
        )
    if job and len(ids) > 1:
        raise ConfigError(f"{len(ids)} jobs begin with {job!r}", where=str(db), accepted=ids[:10])
    return stories[0]


def _stories(db: Path, prefix: str, limit: int) -> list[KeptStory]:
    """Return the latest stories of jobs whose id begins so, newest first."""
    from accelerate_core.durable.stories import KeptStory
    from accelerate_core.fleet.instructions import Chapter
    from accelerate_core.serial import from_plain

    from .client import query

    known = query(db, "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'story_jobs'")
    if known.rows[0][0] == 0:
        return []
    table = query(
        db,
        f"SELECT {_COLUMNS} FROM story_jobs WHERE starts_with(job_id, ?) "
        "ORDER BY number DESC LIMIT ?",
        [prefix, limit],
    )
    found = []
    for *plain, error, story in table.rows:
        job_id, run_id, model, finished_at, attempts, worker_id, latency_ms = plain
        found.append(
            KeptStory(
                job_id=job_id,
                run_id=run_id,
                model=model,
                finished_at=finished_at.replace(tzinfo=UTC),
                attempts=attempts,
                worker_id=worker_id,
                latency_ms=latency_ms,
                error=from_plain(json.loads(error), ErrorInfo) if error else None,
                story=from_plain(json.loads(story), tuple[Chapter, ...]),
            )
        )
    return found


def _plain(kept: KeptStory) -> dict[str, Any]:
    from accelerate_core.serial import to_plain

    story = [
        {"after_ms": one.at_ns / 1e6, "what": one.what, "detail": one.detail} for one in kept.story
    ]
    return {**to_plain(kept), "story": story, "outcome": kept.outcome, "advice": list(kept.advice)}


def _print_list(stories: Sequence[KeptStory]) -> None:
    from accelerate_core.durable.stories import SHORT

    for one in stories:
        error = f": {one.error.message}" if one.error else ""
        when = f"{one.finished_at:%Y-%m-%d %H:%M:%S}"
        typer.echo(f"{one.job_id[:SHORT]}  {when}  {one.model}  {one.outcome}{error}")
    if not stories:
        typer.echo("no story is kept: no job failed, was retried or hedged")
