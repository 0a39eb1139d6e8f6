# SPDX-License-Identifier: Apache-2.0
"""From the part of a reference after its scheme to a path. ModelError when there is none."""

from __future__ import annotations

import importlib.util
from pathlib import Path, PurePosixPath

from accelerate_core.errors import ModelError


def locate_file(text: str) -> Path:
    """Return the ONNX file a `file:` reference names."""
    path = _path(text, "file:PATH/model.onnx")
    if path.is_dir():
        raise ModelError(
            "this is a directory, not an ONNX file",
            where=str(path),
            hint=f"Use dir:{text} instead.",
        )
    if not path.is_file():
        raise ModelError(
            "there is no such file",
            where=str(path),
            accepted=("file:PATH/model.onnx",),
            hint="Relative paths start at the current directory.",
        )
    return path


def locate_directory(text: str) -> Path:
    """Return the directory a `dir:` reference names."""
    path = _path(text, "dir:PATH")
    if path.is_file():
        raise ModelError(
            "this is a file, not a directory", where=str(path), hint=f"Use file:{text} instead."
        )
    if not path.is_dir():
        raise ModelError(
            "there is no such directory",
            where=str(path),
            accepted=("dir:PATH",),
            hint="Relative paths start at the current directory.",
        )
    return path


def locate_in_package(text: str) -> Path:
    """Return the directory or file that `PACKAGE/PATH` names, without importing the package."""
    package, _, inner = text.partition("/")
    parts = PurePosixPath(inner).parts
    if not package.isidentifier() or inner.startswith("/") or ".." in parts or "\\" in inner:
        raise ModelError(
            f"{text!r} does not name a folder inside a package",
            accepted=("package:PACKAGE/FOLDER",),
            hint="PACKAGE is the name one imports; FOLDER stays inside it.",
        )
    # A top-level name is found by its spec; only dotted names would import their parents.
    spec = importlib.util.find_spec(package)
    roots = list(spec.submodule_search_locations or ()) if spec else []
    if not roots:
        raise ModelError(
            f"no package {package!r} is installed",
            where=f"package:{text}",
            hint=f"Install it, for example: pip install {package.replace('_', '-')}",
        )
    for root in roots:
        path = Path(root).joinpath(*parts)
        if path.exists():
            return path
    folders = sorted(child.name for child in Path(roots[0]).iterdir() if child.is_dir())
    raise ModelError(
        f"package {package!r} has no {inner!r}",
        where=f"package:{text}",
        accepted=[f"package:{package}/{name}" for name in folders if not name.startswith("_")],
    )


def _path(text: str, accepted: str) -> Path:
    if not text or "\0" in text:
        raise ModelError("the reference names no path", accepted=(accepted,))
    return Path(text).expanduser().resolve()
