# SPDX-License-Identifier: Apache-2.0
"""Keep the stories of jobs that failed, were tried again or hedged: the table, and who fills it."""

from __future__ import annotations

import json
from datetime import UTC
from typing import TYPE_CHECKING

from ..errors import StoreError
from ..markers import hookimpl
from ..memory_store import MemoryStore
from ..protocols import Migration, TableSet
from ..serial import to_plain
from .stories import is_eventful

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..events import JobFinished
    from ..protocols import Store

#: Stories a store keeps; the oldest go.
MOST = 10_000

_TABLE = """
CREATE SEQUENCE story_numbers;
CREATE TABLE story_jobs (
    number BIGINT PRIMARY KEY DEFAULT nextval('story_numbers'),
    run_id VARCHAR NOT NULL,
    job_id VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    worker_id VARCHAR,
    finished_at TIMESTAMP NOT NULL,
    attempts INTEGER NOT NULL,
    latency_ms DOUBLE,
    error VARCHAR,
    story VARCHAR NOT NULL
);
"""

_MEANINGS = {
    "story_jobs": "One row for each job that failed, was retried or hedged.",
    "story_jobs.number": "Order in which stories were kept",
    "story_jobs.run_id": "The run, or what else the process was",
    "story_jobs.job_id": "The job",
    "story_jobs.model": "Model it asked for",
    "story_jobs.worker_id": "Worker that answered",
    "story_jobs.finished_at": "When it was answered",
    "story_jobs.attempts": "How often it was tried",
    "story_jobs.latency_ms": "From submitting to the answer [ms]",
    "story_jobs.error": "Kind of the error it ended with; NULL where it was answered",
    "story_jobs.story": "What it went through, as JSON",
}

_INSERT = (
    "INSERT INTO story_jobs (run_id, job_id, model, worker_id, finished_at, attempts, latency_ms, "
    "error, story) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_DELETE = "DELETE FROM story_jobs WHERE number <= (SELECT max(number) - ? FROM story_jobs)"


class StoriesPlugin:
    """Contribute the table `story_jobs` to whichever store is used."""

    name = "stories"

    @hookimpl
    def store_tables(self) -> Sequence[TableSet]:
        """Return the table, one row for each story."""
        migrations = (Migration(version=1, sql=_TABLE),)
        return (TableSet(namespace="story", migrations=migrations, meanings=_MEANINGS),)


class StoryKeeper:
    """Write stories into a store; an observer on the bus, so in a thread of its own."""

    def __init__(self, store: Store, *, most: int = MOST) -> None:
        self._store = store
        self._most = most
        # In memory there is no table, and nobody who could ask later.
        self._is_kept = not isinstance(store, MemoryStore)

    def saw(self, event: JobFinished) -> None:
        """Keep a job's story where it tells something; StoreError once when there is no table."""
        if not self._is_kept or not is_eventful(event.story):
            return
        try:
            with self._store.transaction() as transaction:
                transaction.execute(_INSERT, _row(event))
                transaction.execute(_DELETE, [self._most])
        except StoreError:
            self._is_kept = False
            raise


def _row(event: JobFinished) -> list[object]:
    return [
        event.run_id,
        event.job_id,
        event.model,
        event.worker_id,
        event.at.astimezone(UTC).replace(tzinfo=None),
        event.attempts,
        event.latency_ms,
        json.dumps(to_plain(event.error)) if event.error else None,
        json.dumps(to_plain(event.story)),
    ]
