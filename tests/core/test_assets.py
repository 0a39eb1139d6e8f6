# SPDX-License-Identifier: Apache-2.0
"""The asset store: what is written is there whole, under its hash, or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from accelerate_core import assets
from accelerate_core.assets import AssetStore

SIZES = (0, 1, assets._BLOCK - 1, assets._BLOCK, 3 * assets._BLOCK + 7)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AssetStore:
    monkeypatch.setattr(assets, "_FLUSH_BYTES", assets._BLOCK)
    return AssetStore(tmp_path / "assets")


def test_pieces_of_any_size_are_one_file_under_its_hash(store: AssetStore) -> None:
    pieces = [bytes([index + 1]) * size for index, size in enumerate((*SIZES, *SIZES[::-1]))]
    with store.writer("weights") as writer:
        for piece in pieces:
            writer.write(piece)
    data = b"".join(pieces)
    assert writer.asset.sha256 == hashlib.sha256(data).hexdigest()
    assert writer.asset.size_bytes == len(data)
    assert store.path(writer.asset.sha256).read_bytes() == data and store.verify(writer.asset)


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_disk_that_fails_at_any_flush_is_told_and_leaves_nothing(
    store: AssetStore, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    calls = []

    def fsync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == call:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"), store.writer("weights") as writer:
        for _ in range(4):
            writer.write(b"x" * assets._BLOCK)
            if writer._flushing is not None:
                writer._flushing.exception()
    assert [path for path in store.root.rglob("*") if path.is_file()] == []
