# SPDX-License-Identifier: Apache-2.0
"""One journal file: read at opening, appended to, written anew without what is dead."""

from __future__ import annotations

import contextlib
import errno
import logging
import mmap
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from ...errors import StoreError
from . import frames
from .frames import Record, Span, What
from .ledger import Ledger

if TYPE_CHECKING:
    from .frames import Buffer

_log = logging.getLogger("accelerate.journal")

#: What is copied at a time.
_BLOCK = 1 << 20


class JournalFile:
    """Hold a file and what it says. Not thread-safe; OSError as it comes."""

    def __init__(self, path: Path, file: BinaryIO, size: int, ledger: Ledger) -> None:
        self.path = path
        self.ledger = ledger
        self.size = size
        self._file = file

    @classmethod
    def load(cls, path: Path) -> JournalFile:
        """Read a file, or make one; what is damaged is cut off, and kept in `<name>.cut`.

        StoreError for a file of another version, which is left as it is.
        """
        if not path.exists():
            return cls.compacted(path, ())
        file = cast(BinaryIO, path.open("r+b", buffering=0))
        try:
            ledger, size = _scanned(file, path)
            length = file.seek(0, os.SEEK_END)
            if size < length:
                _log.warning(
                    "%s: damaged at byte %d; %d bytes were cut off", path, size, length - size
                )
                _keep(file, size, path.with_suffix(".cut"))
                file.truncate(size)
            if size < frames.HEADER_BYTES:
                size = _write(file, 0, [frames.header()])
            os.fsync(file.fileno())
            return cls(path, file, size, ledger)
        except BaseException:
            file.close()
            raise

    @classmethod
    def compacted(cls, path: Path, sources: Iterable[JournalFile]) -> JournalFile:
        """Write what `sources` still need into a new file at `path`, as a whole or not at all."""
        part = path.with_suffix(".part")
        opened = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        file = cast(BinaryIO, os.fdopen(opened, "r+b", buffering=0))
        try:
            made = cls(path, file, _write(file, 0, [frames.header()]), Ledger())
            for source in sources:
                for span in source.ledger.needed():
                    made._add(source.read(span))
            os.fsync(opened)
            part.replace(path)
            _sync_folder(path.parent)
        except BaseException:
            file.close()
            part.unlink(missing_ok=True)
            raise
        return made

    def append(self, record: Record) -> None:
        """Write a record at the end; nothing of it stays when that fails."""
        pieces = frames.encode(record)
        start = self.size
        try:
            self.size = _write(self._file, start, pieces)
        except OSError:
            self._file.truncate(start)
            raise
        self.ledger.add(record, Span(start, self.size - start))

    def read(self, span: Span) -> Record:
        """Return a record; StoreError when the disk no longer holds what was written."""
        self._file.seek(span.start)
        data = bytearray(span.size)
        filled = 0
        while filled < span.size and (count := self._file.readinto(memoryview(data)[filled:])):  # type: ignore[attr-defined]
            filled += count
        found = frames.read(data, 0) if filled == span.size else None
        if found is None:
            raise StoreError(
                f"the record at byte {span.start} is damaged",
                where=str(self.path),
                hint="The disk changed what was written; look at its health.",
            )
        return found[0]

    def sync(self) -> None:
        """Return when the disk has everything."""
        getattr(os, "fdatasync", os.fsync)(self._file.fileno())

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _add(self, record: Record) -> None:
        """Copy a record, unless another source had the same."""
        known = self.ledger.values if record.what is What.VALUE else self.ledger.jobs
        if (record.value if record.what is What.VALUE else record.job) not in known:
            self.append(record)


def explain(error: OSError, path: Path) -> StoreError:
    """Return the typed error for what the disk said."""
    hints = {
        errno.ENOSPC: "Free disk space.",
        errno.EDQUOT: "Free disk space: the quota is used up.",
        errno.EACCES: "Make the folder writable, or choose another state folder.",
        errno.EPERM: "Make the folder writable, or choose another state folder.",
        errno.EROFS: "The file system is read-only: choose another state folder.",
        errno.EIO: "Look at the health of the disk.",
    }
    return StoreError(
        f"the journal cannot be written: {error.strerror or error}",
        where=str(error.filename or path),
        hint=hints.get(error.errno or 0),
    )


def _scanned(file: BinaryIO, path: Path) -> tuple[Ledger, int]:
    """Return what a file says, and where that ends."""
    ledger = Ledger()
    if file.seek(0, os.SEEK_END) < frames.HEADER_BYTES:
        return ledger, 0
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
        version = frames.version_of(view)
        if version is None:
            return ledger, 0
        if version != frames.VERSION:
            raise StoreError(
                f"this journal has version {version}, and only {frames.VERSION} is known here; "
                "it was left as it is",
                where=str(path),
                hint="Start once more with the release that wrote it, or upgrade accelerate-core.",
            )
        end = frames.HEADER_BYTES
        for record, span in frames.scan(view):
            ledger.add(record, span)
            end = span.end
        return ledger, end


def _write(file: BinaryIO, start: int, pieces: Iterable[Buffer]) -> int:
    """Write pieces at `start` and return where they end."""
    end = file.seek(start)
    for piece in pieces:
        rest = memoryview(piece)
        while rest:
            count = file.write(rest)  # a raw file may write less than it is given
            rest = rest[count:]
            end += count
    return end


def _keep(file: BinaryIO, start: int, place: Path) -> None:
    """Copy the damaged end of a file, where there is room for it."""
    file.seek(start)
    with contextlib.suppress(OSError), place.open("wb") as kept:
        while block := file.read(_BLOCK):
            kept.write(block)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
