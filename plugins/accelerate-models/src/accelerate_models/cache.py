# SPDX-License-Identifier: Apache-2.0
"""Remembering what was resolved: an index of specs, and assets that appear together or not at all.

An index entry holds the stamps of every source file and of every asset. While they all stand, no
byte is read. An asset whose stamp moved is hashed, and a wrong one makes the entry void.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from accelerate_core.assets import AssetStore, AssetWriter
from accelerate_core.errors import ModelError
from accelerate_core.serial import from_plain, to_plain
from accelerate_core.types import Asset, ModelSpec

from .files import Stamp, stamp
from .wanted import Wanted

#: Raise this whenever a graph, a spec or a processor comes out differently for the same files.
BUILDER_VERSION = 4

#: Metadata key: name and version of the distribution whose plugin built a graph.
MAKER_KEY = "builder"

_LIBRARIES = ("accelerate-models", "onnx", "safetensors", "tokenizers")


def spec_assets(spec: ModelSpec) -> tuple[Asset, ...]:
    """Return all assets of a model, its processor's included."""
    return spec.assets + (spec.processor.assets if spec.processor else ())


class Index:
    """Map what was wanted to the spec that was made of it."""

    def __init__(self, root: Path, assets: AssetStore) -> None:
        self._root = root
        self._assets = assets

    def find(self, wanted: Wanted) -> ModelSpec | None:
        """Return the remembered spec if its sources are unchanged and its assets sound."""
        place = self._place(wanted)
        try:
            entry = json.loads(place.read_bytes())
            sources = {name: _as_stamp(value) for name, value in entry["sources"].items()}
            remembered = {name: _as_stamp(value) for name, value in entry["assets"].items()}
            spec = from_plain(entry["spec"], ModelSpec)
        except FileNotFoundError:
            return None
        except Exception:  # whatever is wrong with the entry, building again mends it
            place.unlink(missing_ok=True)
            return None
        if any(stamp(Path(name)) != value for name, value in sources.items()):
            return None
        if (maker := spec.metadata.get(MAKER_KEY)) and _version(maker[0]) != maker[1]:
            return None
        # Every asset is looked at, so that all corrupt ones are removed before a rebuild.
        touched = [a for a in spec_assets(spec) if self._stamp(a) != remembered.get(a.sha256)]
        sound = [self._assets.verify(asset) for asset in touched]
        if not all(sound):
            return None
        if touched:
            self.remember(wanted, sources, spec)
        with contextlib.suppress(OSError):  # a cache that only others may write
            os.utime(place)  # when it was last used: `accel models prune` goes by it
        return spec

    def remember(self, wanted: Wanted, sources: Mapping[str, Stamp], spec: ModelSpec) -> None:
        """Write an entry, whole or not at all."""
        entry = {
            "sources": sources,
            "assets": {asset.sha256: self._stamp(asset) for asset in spec_assets(spec)},
            "spec": to_plain(spec),
        }
        self._root.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=".part-", dir=self._root)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(entry, file)
            Path(temporary).replace(self._place(wanted))
        finally:
            Path(temporary).unlink(missing_ok=True)

    def _stamp(self, asset: Asset) -> Stamp:
        if not self._assets.has(asset):
            return None
        return stamp(self._assets.path(asset.sha256))

    def _place(self, wanted: Wanted) -> Path:
        versions = [f"{name} {metadata.version(name)}" for name in _LIBRARIES]
        identity = json.dumps(
            [str(wanted.path), wanted.part, wanted.precision, BUILDER_VERSION, versions]
        )
        return self._root / f"{hashlib.sha256(identity.encode()).hexdigest()}.json"


class AssetBatch:
    """Store several assets; when the block raises, those that were new are removed again."""

    def __init__(self, store: AssetStore) -> None:
        self._store = store
        self._new: list[str] = []

    def __enter__(self) -> AssetBatch:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            return
        for sha256 in self._new:
            # ModelError: it never got to its place. OSError: the folder holds other assets.
            with contextlib.suppress(ModelError, OSError):
                path = self._store.path(sha256)
                path.unlink()
                path.parent.rmdir()

    @contextlib.contextmanager
    def writer(self, name: str) -> Iterator[AssetWriter]:
        """Write one asset; see `AssetStore.writer`."""
        with self._store.writer(name) as writer:
            yield writer
            if not self._is_stored(writer.sha256):
                self._new.append(writer.sha256)

    def put_bytes(self, data: bytes, name: str) -> Asset:
        """Store bytes as an asset."""
        with self.writer(name) as writer:
            writer.write(data)
        return writer.asset

    def put_file(self, source: Path, name: str) -> Asset:
        """Store a copy of a file, a block at a time."""
        with self.writer(name) as writer, source.open("rb") as file:
            while block := file.read(1 << 20):
                writer.write(block)
        return writer.asset

    def _is_stored(self, sha256: str) -> bool:
        try:
            return self._store.path(sha256).is_file()
        except ModelError:
            return False


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _as_stamp(value: list[int] | None) -> Stamp:
    return None if value is None else (value[0], value[1])
