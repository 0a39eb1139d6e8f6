# SPDX-License-Identifier: Apache-2.0
"""What lies in the cache of models: reading it and removing from it. Deciding is in pruning.py."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import attrs

from accelerate_core.assets import AssetStore
from accelerate_core.protocols import Context
from accelerate_core.serial import from_plain
from accelerate_core.types import Asset, ModelSpec

from .cache import spec_assets
from .files import stamp

_TEMPORARY = ".part-"
#: Where packages are installed.
_PACKAGES = ("site-packages", "dist-packages")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@attrs.frozen
class Entry:
    """Hold one remembered model."""

    path: Path
    used_at: float  #: seconds since the epoch: when it was made or last asked for
    spec: ModelSpec | None  #: None for an entry that cannot be read
    #: Whether the next one to ask gets it: its sources are unchanged and its assets here.
    is_current: bool
    sources: tuple[Path, ...] = ()  #: the files it was made from

    @property
    def assets(self) -> tuple[Asset, ...]:
        """All assets it refers to."""
        return spec_assets(self.spec) if self.spec else ()

    @property
    def homes(self) -> tuple[Path, ...]:
        """Folders of the model's own files, the innermost first."""
        if self.spec is None:
            return ()
        path = Path(self.spec.source)
        # Repositories put graphs into a folder `onnx`, below their other files.
        return (path.parent, path.parent.parent) if path in self.sources else (path,)

    def is_made_of(self, folder: Path) -> bool:
        """Whether its source lies in a folder."""
        return self.spec is not None and Path(self.spec.source).is_relative_to(folder)


@attrs.frozen
class StoredFile:
    """Hold one file of the asset store, or one that a crash left beside it."""

    path: Path
    sha256: str  #: "" for what a crash left
    size_bytes: int
    written_at: float  #: seconds since the epoch


@attrs.frozen
class Download:
    """Hold what was downloaded of one repository of a hub."""

    path: Path
    size_bytes: int
    written_at: float  #: seconds since the epoch


def models_folder(ctx: Context) -> Path:
    """Return where the entries lie."""
    return ctx.cache_dir / "models"


def read_entries(ctx: Context) -> list[Entry]:
    """Return all remembered models, the one used last first."""
    found = [_entry(path, ctx.assets) for path in models_folder(ctx).glob("*.json")]
    return sorted((one for one in found if one), key=lambda one: one.used_at, reverse=True)


def read_files(ctx: Context) -> list[StoredFile]:
    """Return the files of the asset store, whoever put them there, and unfinished ones."""
    assets = ctx.assets.root
    paths = [path for path in assets.glob("??/*") if _SHA256.fullmatch(path.name)]
    for folder in (assets, models_folder(ctx)):
        paths += folder.glob(f"{_TEMPORARY}*")
    return [file for path in paths if (file := _file(path))]


def read_downloads(ctx: Context) -> list[Download]:
    """Return what was downloaded from hubs, a repository each."""
    return [_download(path) for path in (ctx.cache_dir / "hub").glob("models--*")]


def reference_of(spec: ModelSpec, ctx: Context) -> str:
    """Return what to type for a remembered model; its `source` is a path in the cache."""
    path = Path(spec.source)
    hub = ctx.cache_dir / "hub"
    parts = spec.metadata.get("parts", ())
    part = spec.metadata.get("part")
    suffix = f"#{part}" if parts and part != parts[0] else ""
    if path.is_relative_to(hub):
        repository, _, commit, *_ = path.relative_to(hub).parts
        return f"hf:{repository.removeprefix('models--').replace('--', '/')}@{commit}{suffix}"
    for index, folder in enumerate(path.parts):
        if folder in _PACKAGES:
            return f"package:{'/'.join(path.parts[index + 1 :])}{suffix}"
    return f"{'dir' if parts else 'file'}:{path}{suffix}"


def remove(
    entries: Iterable[Entry], files: Iterable[StoredFile], downloads: Iterable[Download]
) -> int:
    """Remove what was not used or written since it was read; return the bytes that freed."""
    for entry in entries:
        _remove(entry.path, entry.used_at)
    freed = sum(file.size_bytes for file in files if _remove(file.path, file.written_at))
    for download in downloads:
        if _download(download.path) == download:
            shutil.rmtree(download.path, ignore_errors=True)
            freed += download.size_bytes
    return freed


def size_of(entries: Iterable[Entry]) -> int:
    """Return the bytes of all assets, each counted once."""
    return sum({a.sha256: a.size_bytes for one in entries for a in one.assets}.values())


def _entry(path: Path, assets: AssetStore) -> Entry | None:
    try:
        used_at = path.stat().st_mtime
        text = path.read_bytes()
    except FileNotFoundError:  # another process removed it
        return None
    try:
        data = json.loads(text)
        spec = from_plain(data["spec"], ModelSpec)
        sources = {Path(name): value for name, value in data["sources"].items()}
    except Exception:  # whatever is wrong with it, it is of no use
        return Entry(path, used_at, None, is_current=False)
    is_unchanged = all(
        stamp(name) == (None if value is None else tuple(value)) for name, value in sources.items()
    )
    is_whole = all(assets.has(asset) for asset in spec_assets(spec))
    present = tuple(name for name, value in sources.items() if value is not None)
    return Entry(path, used_at, spec, is_unchanged and is_whole, present)


def _file(path: Path) -> StoredFile | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    sha256 = "" if path.name.startswith(_TEMPORARY) else path.name
    return StoredFile(path, sha256, status.st_size, status.st_mtime)


def _download(path: Path) -> Download:
    # Snapshots are links to blobs: each file is counted where it lies.
    found = [one.lstat() for one in path.rglob("*") if one.is_file() and not one.is_symlink()]
    return Download(
        path,
        sum(one.st_size for one in found),
        max((one.st_mtime for one in found), default=0.0),
    )


def _remove(path: Path, changed_at: float) -> bool:
    try:
        if path.stat().st_mtime != changed_at:
            return False
        path.unlink()
    except FileNotFoundError:
        return False
    return True
