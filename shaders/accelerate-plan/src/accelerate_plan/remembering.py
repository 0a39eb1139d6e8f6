# SPDX-License-Identifier: Apache-2.0
"""What was made before, found again by what it was made of: entries that name assets."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from accelerate_core.assets import AssetStore
from accelerate_core.serial import from_plain, to_plain
from accelerate_core.types import Asset

T = TypeVar("T")


class Remembered:
    """Keep values with the assets they stand for, a file each, whole or not at all."""

    def __init__(self, folder: Path, assets: AssetStore) -> None:
        self._folder = folder
        self._assets = assets

    def find(self, key: str, kind: type[T]) -> T | None:
        """Return what was kept if its assets are sound; unchanged ones are not read."""
        entry = self._folder / f"{key}.json"
        try:
            data = json.loads(entry.read_bytes())
            value = from_plain(data["value"], kind)
            for plain, stamp in data["assets"]:
                asset = from_plain(plain, Asset)
                if not self._assets.has(asset):
                    return None
                is_touched = self._stamp(asset) != stamp
                if is_touched and not self._assets.verify(asset):
                    return None
        except FileNotFoundError:
            return None
        except Exception:  # whatever is wrong with the entry, making the value again mends it
            entry.unlink(missing_ok=True)
            return None
        return value

    def keep(self, key: str, value: object, assets: Sequence[Asset]) -> None:
        """Keep a value for as long as its assets are what they are now."""
        data = {
            "value": to_plain(value),
            "assets": [(to_plain(one), self._stamp(one)) for one in assets],
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".part-", dir=self._folder)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(data, file)
            Path(name).replace(self._folder / f"{key}.json")
        finally:
            Path(name).unlink(missing_ok=True)

    def _stamp(self, asset: Asset) -> list[int]:
        found = self._assets.path(asset.sha256).stat()
        return [found.st_mtime_ns, found.st_size]
