# SPDX-License-Identifier: Apache-2.0
"""The thread that writes a journal. What queues up during an fsync shares the next one."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from ...errors import AccelerateError, StoreError
from .files import JournalFile, explain
from .frames import Record, What

_log = logging.getLogger("accelerate.journal")

T = TypeVar("T")

#: So many operations share an fsync at most, so that the first does not wait for ever.
_BATCH = 1024
#: A smaller file is not worth compacting.
_COMPACT_BYTES = 4 << 20
#: Bytes of open jobs and answers nobody fetched from which on no job is accepted.
MOST_BYTES = 1 << 30


class Journal:
    """Write records that survive this process, and read them.

    Thread-safe. Every future resolves once the disk has what it is about; StoreError when it
    cannot be written, and nothing of it counts then.
    """

    def __init__(
        self, file: JournalFile, let_go: Callable[[], None], *, most_bytes: int = MOST_BYTES
    ) -> None:
        self.path: Path = file.path
        self._file = file
        self._let_go = let_go
        self._most_bytes = most_bytes
        self._look_at = max(_COMPACT_BYTES, 2 * file.ledger.live_bytes)
        self._queue: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None]
        self._queue = queue.SimpleQueue()
        self._guard = threading.Lock()
        self._is_closed = False
        self._is_dirty = False
        self._failed: StoreError | None = None
        self._thread = threading.Thread(target=self._run, name="accelerate-journal", daemon=True)
        self._thread.start()

    # --- what callers use ---------------------------------------------------------------------

    def write(self, record: Record, value: Record | None = None) -> Future[bool]:
        """Write a record, and before it the value it refers to where that is new.

        False when it may not be written: a second answer to a job, or one after it was forgotten.
        """
        return self._ask(lambda: self._write(record, value))

    def read(self, job: str) -> Future[tuple[Record, Record | None] | None]:
        """Return a job's answer, else the job itself; with the value it refers to."""
        return self._ask(lambda: self._read(job))

    def jobs(self) -> Future[Mapping[str, bool]]:
        """Return the jobs that are not forgotten, in order, and whether they have an answer."""
        return self._ask(
            lambda: {
                job: entry.outcome is not None for job, entry in self._file.ledger.jobs.items()
            }
        )

    def close(self) -> None:
        """Write what is queued and let another process have the file. Safe to call twice."""
        with self._guard:
            if self._is_closed:
                return
            self._is_closed = True
            self._queue.put(None)
        self._thread.join()
        self._file.close()
        self._let_go()

    # --- the thread ---------------------------------------------------------------------------

    def _ask(self, work: Callable[[], T]) -> Future[T]:
        answer: Future[T] = Future()
        with self._guard:
            if self._is_closed:
                raise StoreError("the journal is closed", where=str(self.path))
            self._queue.put((work, answer))
        return answer

    def _run(self) -> None:
        is_open = True
        while is_open:
            batch = [self._queue.get()]
            while len(batch) < _BATCH and not self._queue.empty():
                batch.append(self._queue.get())
            is_open = None not in batch
            # One that was cancelled before its turn is not begun.
            asked = [one for one in batch if one and one[1].set_running_or_notify_cancel()]
            self._answer([(answer, self._try(work)) for work, answer in asked])
            self._compact()

    def _answer(self, found: list[tuple[Future[Any], Any]]) -> None:
        """Bring everything to the disk, then say so."""
        if self._is_dirty and self._failed is None:
            try:
                self._file.sync()
            except OSError as error:
                # What the disk has is unknown from here on; a second fsync would only look well.
                self._failed = explain(error, self.path)
            self._is_dirty = False
        for answer, result in found:
            if (failed := self._failed) is not None:
                answer.set_exception(AccelerateError.from_info(failed.info))
            elif isinstance(result, BaseException):
                answer.set_exception(result)
            else:
                answer.set_result(result)

    def _try(self, work: Callable[[], Any]) -> Any:
        """Return what an operation returns, or the error it raises."""
        try:
            return work()
        except AccelerateError as error:
            return error
        except OSError as error:
            typed = explain(error, self.path)
            typed.__cause__ = error
            return typed
        except Exception as error:
            return error

    def _write(self, record: Record, value: Record | None) -> bool:
        file = self._file
        if not file.ledger.takes(record):
            return False
        if record.what is What.ACCEPTED and file.ledger.live_bytes >= self._most_bytes:
            raise StoreError(
                f"the journal is full: {len(file.ledger.jobs)} jobs are open or their answers "
                f"were not acknowledged ({file.ledger.live_bytes >> 20} MiB)",
                where=str(self.path),
                hint="Acknowledge the answers you have.",
            )
        self._is_dirty = True
        if value is not None and file.ledger.takes(value):
            file.append(value)
        file.append(record)
        return True

    def _read(self, job: str) -> tuple[Record, Record | None] | None:
        ledger = self._file.ledger
        entry = ledger.jobs.get(job)
        if entry is None:
            return None
        value = ledger.values.get(entry.value)
        return self._file.read(entry.live), self._file.read(value) if value else None

    def _compact(self) -> None:
        """Write the file anew once most of it is dead."""
        file = self._file
        if file.size < self._look_at or self._failed is not None:
            return
        if file.ledger.live_bytes <= file.size // 2:
            try:
                self._file = JournalFile.compacted(self.path, (file,))
            except Exception as error:
                # The old file is whole; without its thread nobody would get an answer.
                _log.warning("%s stays as large as it is: %s", self.path, error)
            else:
                file.close()
        self._look_at = max(_COMPACT_BYTES, 2 * self._file.size)
