# SPDX-License-Identifier: Apache-2.0
"""Whose journal is whose: one file for each process, and a dead owner's goes to the next one.

<state folder>/journals/lock          held while a process opens its journal
<state folder>/journals/<n>/lock      held by the process that owns the journal
<state folder>/journals/<n>/log
"""

from __future__ import annotations

import shutil
from pathlib import Path

import filelock

from ...errors import StoreError
from .files import JournalFile, explain
from .log import MOST_BYTES, Journal

_OPEN_TIMEOUT_S = 30.0


def open_journal(state_dir: Path, *, most_bytes: int = MOST_BYTES) -> Journal:
    """Return this process's journal, with what dead processes left to be done in it. Blocks.

    StoreError when the folder cannot be written, or a file in it is of another version.
    """
    folder = state_dir / "journals"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with filelock.FileLock(folder / "lock", timeout=_OPEN_TIMEOUT_S):
            return _open(folder, most_bytes)
    except filelock.Timeout:
        raise StoreError(
            f"another process has been opening its journal for {_OPEN_TIMEOUT_S:g} s",
            where=str(folder),
            hint="End that process, if it hangs.",
        ) from None
    except OSError as error:
        raise explain(error, folder) from error


def _open(folder: Path, most_bytes: int) -> Journal:
    taken: list[tuple[Path, filelock.BaseFileLock]] = []
    files: list[JournalFile] = []
    try:
        for place in sorted(folder.iterdir()):
            if place.is_dir() and (lock := _lock(place)) is not None:
                taken.append((place, lock))
        if not taken:
            taken.append(_new(folder))
        files = [JournalFile.load(place / "log") for place, _ in taken]
        own = files[0]
        if any(file.ledger.jobs for file in files[1:]):
            # Until this is done the others are locked and whole, and afterwards they are gone:
            # a job is in two files only while nobody else can have either.
            own = JournalFile.compacted(own.path, files)
            files.append(own)
        for file in files:
            if file is not own:
                file.close()
        for place, lock in taken[1:]:
            shutil.rmtree(place)
            lock.release()
        return Journal(own, taken[0][1].release, most_bytes=most_bytes)
    except BaseException:
        for file in files:
            file.close()
        for _, lock in taken:
            lock.release()
        raise


def _lock(place: Path) -> filelock.BaseFileLock | None:
    """Lock a journal whose owner is dead; None where it lives."""
    lock = filelock.FileLock(place / "lock", thread_local=False)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        return None
    return lock


def _new(folder: Path) -> tuple[Path, filelock.BaseFileLock]:
    number = 0
    while (place := folder / str(number)).exists():
        number += 1
    place.mkdir(mode=0o700)
    lock = _lock(place)
    assert lock is not None  # nobody else looks while the folder is locked
    return place, lock
