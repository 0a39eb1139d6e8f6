# SPDX-License-Identifier: Apache-2.0
"""Keep the stories of jobs that failed, were tried again or hedged: the table, and who fills it."""

from __future__ import annotations

import asyncio
import collections
import json
import logging
from datetime import UTC
from typing import TYPE_CHECKING

from .markers import hookimpl
from .memory_store import MemoryStore
from .protocols import Migration, TableSet
from .serial import to_plain
from .stories import is_eventful

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .events import JobFinished
    from .protocols import Store

_log = logging.getLogger("accelerate.stories")

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


class StoriesPlugin:
    """Contribute the table `story_jobs` to whichever store is used."""

    name = "stories"

    @hookimpl
    def store_tables(self) -> Sequence[TableSet]:
        """Return the table, one row for each story."""
        return (TableSet(namespace="story", migrations=(Migration(version=1, sql=_TABLE),)),)


class StoryKeeper:
    """Write stories into a store, in a thread, several at a time. Use from one event loop.

    A story that cannot be written is logged and hurts nobody.
    """

    def __init__(self, store: Store, *, most: int = MOST) -> None:
        self._store = store
        self._most = most
        self._waiting: collections.deque[JobFinished] = collections.deque(maxlen=most)
        self._writing: asyncio.Task[None] | None = None
        # In memory there is no table, and nobody who could ask later.
        self._is_kept = not isinstance(store, MemoryStore)

    def saw(self, event: JobFinished) -> None:
        """Keep a job's story where it tells something."""
        if not self._is_kept or not is_eventful(event.story):
            return
        self._waiting.append(event)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.ensure_future(asyncio.to_thread(self._write))

    async def settle(self) -> None:
        """Return when every story is written."""
        while self._writing is not None and not (self._writing.done() and not self._waiting):
            await self._writing
            if self._waiting:
                self._writing = asyncio.ensure_future(asyncio.to_thread(self._write))

    def _write(self) -> None:
        try:
            while self._waiting:
                with self._store.transaction() as transaction:
                    while self._waiting:
                        transaction.execute(
                            "INSERT INTO story_jobs (run_id, job_id, model, worker_id, "
                            "finished_at, attempts, latency_ms, error, story) "
                            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                            _row(self._waiting.popleft()),
                        )
                    transaction.execute(
                        "DELETE FROM story_jobs WHERE number <= "
                        "(SELECT max(number) - ? FROM story_jobs)",
                        [self._most],
                    )
        except Exception as error:
            # Also where the plugin is disabled: then there is no table.
            self._is_kept = False
            self._waiting.clear()
            _log.warning("stories of jobs are not kept: %s", error)


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
