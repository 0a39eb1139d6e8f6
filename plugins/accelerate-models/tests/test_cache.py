# SPDX-License-Identifier: Apache-2.0
"""What is remembered, when it is rebuilt, and that nothing half-done stays."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from accelerate_models import cache, directory
from accelerate_models.source import Source
from accelerate_models.wanted import Wanted

from accelerate_core.errors import ModelError
from accelerate_core.protocols import Context
from accelerate_core.types import ModelSpec


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """Record every real build."""
    made: list[Path] = []
    build = directory.from_directory

    def record(path: Path, *rest: Any) -> ModelSpec:
        made.append(path)
        return build(path, *rest)

    monkeypatch.setattr(directory, "from_directory", record)
    yield made


def test_an_unchanged_directory_is_built_once(
    checkpoint: Path, resolve: Any, builds: list[Path]
) -> None:
    first = resolve(f"dir:{checkpoint}")
    assert resolve(f"dir:{checkpoint}") == first
    assert len(builds) == 1
    resolve(f"dir:{checkpoint}", precision="fp16")
    assert len(builds) == 2


@pytest.mark.parametrize(
    "name", ["config.json", "model.safetensors", "tokenizer.json", "modules.json"]
)
def test_a_changed_or_new_file_means_building_again(
    checkpoint: Path, resolve: Any, builds: list[Path], name: str
) -> None:
    resolve(f"dir:{checkpoint}")
    if name == "modules.json":
        (checkpoint / name).write_text("[]")
    else:
        os.utime(checkpoint / name, ns=(1, 1))
    resolve(f"dir:{checkpoint}")
    assert len(builds) == 2


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_damaged_asset_is_found_and_rebuilt(
    ctx: Context, checkpoint: Path, resolve: Any, builds: list[Path], damage: str, which: int
) -> None:
    spec = resolve(f"dir:{checkpoint}")
    asset = (*spec.assets, *spec.processor.assets)[which]
    path = ctx.assets.path(asset.sha256)
    good = path.read_bytes()
    if damage == "flip":
        path.write_bytes(bytes([good[0] ^ 1]) + good[1:])
    elif damage == "cut":
        path.write_bytes(good[:-1])
    else:
        path.unlink()
    assert resolve(f"dir:{checkpoint}") == spec
    assert len(builds) == 2
    assert path.read_bytes() == good


def test_a_touched_but_sound_asset_is_kept(
    ctx: Context, checkpoint: Path, resolve: Any, builds: list[Path]
) -> None:
    spec = resolve(f"dir:{checkpoint}")
    os.utime(ctx.assets.path(spec.assets[1].sha256))
    assert resolve(f"dir:{checkpoint}") == spec
    assert len(builds) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"sources": 4}'])
def test_a_damaged_index_entry_is_replaced(
    ctx: Context, checkpoint: Path, resolve: Any, builds: list[Path], text: str
) -> None:
    spec = resolve(f"dir:{checkpoint}")
    (entry,) = (ctx.cache_dir / "models").iterdir()
    entry.write_text(text)
    assert resolve(f"dir:{checkpoint}") == spec
    assert resolve(f"dir:{checkpoint}") == spec
    assert len(builds) == 2


def test_no_space_is_a_typed_error_and_leaves_nothing(
    checkpoint: Path, resolve: Any, left_over: Any
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(ModelError, match="storing it failed") as caught:
            resolve(f"dir:{checkpoint}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "free space" in str(caught.value.info.hint)
    assert left_over() == []


def test_a_source_that_changes_meanwhile_is_refused(
    checkpoint: Path, resolve: Any, left_over: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = directory.from_directory

    def disturb(wanted: Wanted, *rest: Any) -> ModelSpec:
        spec = build(wanted, *rest)
        os.utime(wanted.path / "model.safetensors", ns=(1, 1))
        return spec

    monkeypatch.setattr(directory, "from_directory", disturb)
    with pytest.raises(ModelError, match="changed while"):
        resolve(f"dir:{checkpoint}")
    assert left_over() == []


def test_a_failure_removes_only_what_was_new(
    ctx: Context, checkpoint: Path, resolve: Any, left_over: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = resolve(f"dir:{checkpoint}")
    before = left_over()
    os.utime(checkpoint / "config.json", ns=(1, 1))
    monkeypatch.setattr(
        "accelerate_models.source.SourceFiles.check_unchanged",
        lambda files: (_ for _ in ()).throw(ModelError("late")),
    )
    with pytest.raises(ModelError, match="late"):
        resolve(f"dir:{checkpoint}")
    assert left_over() == before
    assert all(ctx.assets.verify(asset) for asset in spec.assets)


def test_threads_may_resolve_the_same_model(checkpoint: Path, resolve: Any) -> None:
    with ThreadPoolExecutor(4) as pool:
        specs = list(pool.map(lambda _: resolve(f"dir:{checkpoint}"), range(4)))
    assert all(spec == specs[0] for spec in specs)


def test_another_version_of_the_builder_builds_again(
    checkpoint: Path, resolve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = resolve(f"dir:{checkpoint}")
    assert spec.metadata["builder"][0] == "accelerate-models"
    built = []
    build = Source._create
    monkeypatch.setattr(Source, "_create", lambda *args: built.append(1) or build(*args))
    resolve(f"dir:{checkpoint}")
    assert not built
    monkeypatch.setattr(cache, "_version", lambda name: "2.0")
    assert resolve(f"dir:{checkpoint}").sha256 == spec.sha256
    assert built
