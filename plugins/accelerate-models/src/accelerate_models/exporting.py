# SPDX-License-Identifier: Apache-2.0
"""Writing a resolved model into a folder of its own, for use without accelerate."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from accelerate_core.errors import ConfigError, ModelError
from accelerate_core.protocols import Context
from accelerate_core.types import ModelSpec

from .kept import Entry, read_entries

#: What says how raw inputs become tensors is small and one of these.
_DESCRIBING = (".json", ".txt", ".jinja", ".model")
#: They say which file has which weight; those files are not in the folder.
_WEIGHTS_INDEX = ".safetensors.index.json"


def check_folder(folder: Path, *, is_forced: bool) -> None:
    """Refuse a folder that exists; with force one that does not look like an earlier build."""
    where = str(folder)
    if not folder.parent.is_dir():
        raise ConfigError("there is no folder to put it into", where=str(folder.parent))
    if not folder.exists() and not folder.is_symlink():
        return
    if folder.is_symlink() or not folder.is_dir():
        raise ConfigError("this exists and is no folder", where=where, hint="Choose another name.")
    if not is_forced:
        raise ConfigError(
            "this folder exists", where=where, hint="Choose another name, or replace it: --force."
        )
    if any(folder.iterdir()) and not (folder / "model.onnx").is_file():
        raise ConfigError(
            "this folder holds no model.onnx, so it is not replaced",
            where=where,
            hint="--force replaces what an earlier build wrote. Choose another name.",
        )


def export(spec: ModelSpec, folder: Path, ctx: Context, *, is_forced: bool = False) -> list[str]:
    """Write the graph, its weights and its processor's files; return their names.

    The folder appears whole or not at all. ConfigError when it is there already.
    """
    folder = folder.expanduser().absolute()
    check_folder(folder, is_forced=is_forced)
    files = {
        **_described(spec, ctx),
        **{asset.name: ctx.assets.path(asset.sha256) for asset in spec.assets},
    }
    try:
        with contextlib.ExitStack() as stack:
            temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
            stack.callback(shutil.rmtree, temporary, ignore_errors=True)
            made = temporary / "new"
            made.mkdir()
            for name, source in files.items():
                place = made / name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, place)
            check_folder(folder, is_forced=is_forced)  # copying took time
            if folder.exists():
                old = folder.rename(temporary / "old")
                stack.callback(_put_back, old, folder)
            made.rename(folder)
    except OSError as error:
        raise ModelError(
            f"writing the model failed: {error}",
            where=str(folder),
            hint="Check rights and free space.",
        ) from error
    return sorted(files)


def _put_back(old: Path, folder: Path) -> None:
    if not folder.exists():
        old.rename(folder)


def _described(spec: ModelSpec, ctx: Context) -> Mapping[str, Path]:
    """Return the small files the model was made from, by their names in its folder."""
    if spec.processor is None:
        return {}
    assets = {asset.name: ctx.assets.path(asset.sha256) for asset in spec.processor.assets}
    wanted = spec.metadata.get("made_from", spec.sha256)
    for entry in read_entries(ctx):
        if entry.spec is not None and entry.spec.sha256 == wanted and entry.is_current:
            return {**_small_files(entry), **assets}
    return assets


def _small_files(entry: Entry) -> dict[str, Path]:
    found = {}
    for path in entry.sources:
        if path.suffix not in _DESCRIBING or path.name.endswith(_WEIGHTS_INDEX):
            continue
        for home in entry.homes:
            if path.is_relative_to(home):
                found[str(PurePosixPath(*path.relative_to(home).parts))] = path
                break
    return found
