# SPDX-License-Identifier: Apache-2.0
"""Reading a model's small files, remembering which ones a result depends on."""

from __future__ import annotations

import json
import stat
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias

from accelerate_core.errors import ModelError

#: Size and modification time of a file; None when it is not there.
Stamp: TypeAlias = tuple[int, int] | None

JSON_LIMIT_BYTES = 4 << 20


def stamp(path: Path) -> Stamp:
    """Return what identifies a file's content without reading it."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


class SourceFiles:
    """Note every file that is looked for, present or not: the cache depends on all of them."""

    def __init__(self) -> None:
        self.stamps: dict[str, Stamp] = {}

    def has(self, path: Path) -> bool:
        """Whether there is such a file; noted either way."""
        return self.stamps.setdefault(str(path), stamp(path)) is not None

    def require(self, path: Path, hint: str) -> Path:
        """Return the path of a file that must be there; ModelError with `hint` otherwise."""
        if not self.has(path):
            raise ModelError(f"{path.name} is missing", where=str(path.parent), hint=hint)
        return path

    def json(self, path: Path, hint: str = "") -> Any:
        """Return a JSON file's content; ModelError when missing, too large or not JSON."""
        self.require(path, hint)
        text = read_limited(path, JSON_LIMIT_BYTES)
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(
                f"this is not valid JSON: {error}",
                where=str(path),
                hint="Download the file again; it may be truncated.",
            ) from error

    def json_object(self, path: Path, hint: str = "") -> dict[str, Any]:
        """Return a JSON file's content, which must be an object."""
        data = self.json(path, hint)
        if not isinstance(data, dict):
            raise ModelError("this must be a JSON object", where=str(path))
        return data

    def check_unchanged(self) -> None:
        """Refuse a result made while its sources were being written; ModelError names the file."""
        for name, before in self.stamps.items():
            if stamp(Path(name)) != before:
                raise ModelError(
                    "this file changed while the model was read",
                    where=name,
                    hint="Try again when nothing writes to it.",
                )


def read_limited(path: Path, limit_bytes: int) -> bytes:
    """Return a file's bytes; ModelError when there are more than `limit_bytes`."""
    with path.open("rb") as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise ModelError(
            f"this file is larger than the {limit_bytes >> 20} MiB that are accepted",
            where=str(path),
            hint="Such a file is damaged or hostile; get it again from where it came from.",
        )
    return data


def check_inside(location: str, where: Path) -> str:
    """Return a relative location a model's file names; ModelError when it leaves its folder."""
    path = PurePosixPath(location)
    if (
        not path.parts
        or path.is_absolute()
        or ".." in path.parts
        or any(character in location for character in "\\:\0")
    ):
        raise ModelError(
            f"it refers to {location!r}, outside its own folder",
            where=str(where),
            accepted=("a relative path without '..'",),
            hint="Do not use this model: a well-made one never does this.",
        )
    return path.as_posix()
