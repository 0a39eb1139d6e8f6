# SPDX-License-Identifier: Apache-2.0
"""Immutable files by content: `<root>/<sha256[:2]>/<sha256>`. The only way models travel."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from .errors import ModelError
from .types import Asset

_BLOCK = 1 << 20
#: So much is handed to the disk at a time: at the end little is left to wait for.
_FLUSH_BYTES = 64 << 20


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, reading a block at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


class AssetStore:
    """Keep immutable files by hash; writes are atomic, so a reader never sees half a file."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, sha256: str) -> Path:
        """Return where an asset lies; ModelError when it is not here."""
        path = self._place(sha256)
        if not path.is_file():
            raise ModelError(
                f"asset {sha256[:12]} is not in the cache",
                where=str(self.root),
                hint="Resolve the model again: its source rebuilds what is missing.",
            )
        return path

    def has(self, asset: Asset) -> bool:
        """Whether an asset is here with the right size; `verify` also reads it."""
        path = self._place(asset.sha256)
        return path.is_file() and path.stat().st_size == asset.size_bytes

    def verify(self, asset: Asset) -> bool:
        """Whether an asset's bytes have its hash; a corrupt one is removed."""
        if not self.has(asset):
            self._place(asset.sha256).unlink(missing_ok=True)
            return False
        if hash_file(self._place(asset.sha256)) == asset.sha256:
            return True
        self._place(asset.sha256).unlink(missing_ok=True)
        return False

    @contextlib.contextmanager
    def writer(self, name: str) -> Iterator[AssetWriter]:
        """Write a new asset; `writer.asset` is set after the block ends well.

        Nothing is left behind when the block raises.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".part-", dir=self.root)
        path = Path(temporary)
        try:
            with os.fdopen(handle, "wb") as file, ThreadPoolExecutor(2) as pool:
                writer = AssetWriter(file, pool)
                yield writer
                writer.settle()
            asset = Asset(writer.sha256, path.stat().st_size, name)
            place = self._place(asset.sha256)
            place.parent.mkdir(exist_ok=True)
            path.replace(place)
            writer.asset = asset
        finally:
            path.unlink(missing_ok=True)

    def put_bytes(self, data: bytes, name: str) -> Asset:
        """Store bytes as an asset."""
        with self.writer(name) as writer:
            writer.write(data)
        return writer.asset

    def put_file(self, source: Path, name: str | None = None) -> Asset:
        """Store a copy of a file, a block at a time; a hard link is never used.

        The source may be edited later, an asset never changes.
        """
        with self.writer(name or source.name) as writer, source.open("rb") as file:
            while block := file.read(_BLOCK):
                writer.write(block)
        return writer.asset

    @contextlib.contextmanager
    def laid_out(self, assets: Sequence[Asset], scratch: Path, *, where: str) -> Iterator[Path]:
        """Yield a folder under `scratch` that holds assets under their own names.

        ONNX Runtime refuses external data behind a symbolic link that leaves the folder: hard
        links, or copies where the file system has none. ModelError, naming `where`, for a name
        that leaves the folder.
        """
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="assets-", dir=scratch) as folder:
            for asset in assets:
                name = PurePosixPath(asset.name)
                if name.is_absolute() or ".." in name.parts:
                    raise ModelError(
                        f"the file name {asset.name!r} leaves the model's folder",
                        where=where,
                        hint="Export the model with its data files beside the graph.",
                    )
                place = Path(folder, name)
                place.parent.mkdir(parents=True, exist_ok=True)
                source = self.path(asset.sha256)
                try:
                    place.hardlink_to(source)
                except OSError:
                    shutil.copyfile(source, place)
            yield Path(folder)

    def _place(self, sha256: str) -> Path:
        return self.root / sha256[:2] / sha256


class AssetWriter:
    """Hash and flush while writing, in threads: each takes longer than making what is written."""

    asset: Asset

    def __init__(self, file: BinaryIO, pool: ThreadPoolExecutor) -> None:
        self._file = file
        self._pool = pool
        self._digest = hashlib.sha256()
        self._hashing: Future[None] | None = None
        self._flushing: Future[None] | None = None
        self._unflushed = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append bytes, which must not change afterwards."""
        self._wait()
        if len(data) >= _BLOCK:
            self._hashing = self._pool.submit(self._digest.update, data)
        else:
            self._digest.update(data)
        self._file.write(data)
        self._unflushed += len(data)
        if self._unflushed >= _FLUSH_BYTES and (self._flushing is None or self._flushing.done()):
            self._flush()

    def settle(self) -> None:
        """Return when everything written is on the disk; OSError when that failed."""
        self._flush()
        if self._flushing is not None:
            self._flushing.result()

    @property
    def sha256(self) -> str:
        """Hash of what was written so far."""
        self._wait()
        return self._digest.hexdigest()

    def _flush(self) -> None:
        if self._flushing is not None:
            self._flushing.result()  # the disk says only once that it is full
        self._file.flush()
        self._unflushed = 0
        self._flushing = self._pool.submit(os.fsync, self._file.fileno())

    def _wait(self) -> None:
        if self._hashing is not None:
            self._hashing.result()
            self._hashing = None
