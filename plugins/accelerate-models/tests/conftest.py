# SPDX-License-Identifier: Apache-2.0
"""Small random checkpoints with unfriendly sizes, and native ONNX Runtime to run what is built."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import accelerate_models
import numpy as np
import pytest

from accelerate_core.host import Host
from accelerate_core.protocols import Context, ModelSource, Processor
from accelerate_core.serial import from_plain, to_plain
from accelerate_core.types import ModelSpec


def checkpoints(name: str) -> ModuleType:
    """Load a module of `checkpoints/`, as tools that are not tests do: by its path."""
    path = Path(__file__).parent / "checkpoints" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"checkpoints_{name}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    return Host(cache_dir=tmp_path / "cache", state_dir=tmp_path / "state").context


@pytest.fixture
def left_over(ctx: Context) -> Callable[[], list[str]]:
    """List every file in the cache."""
    return lambda: sorted(str(p) for p in ctx.cache_dir.rglob("*") if p.is_file())


@pytest.fixture
def resolve(ctx: Context) -> Callable[..., ModelSpec]:
    plugins = (
        accelerate_models.FileSource(),
        accelerate_models.DirectorySource(),
        accelerate_models.PackageSource(),
    )
    sources: dict[str, ModelSource] = {
        scheme: plugin.model_create(None, ctx)
        for plugin in plugins
        for scheme in plugin.model_schemes()
    }

    def call(reference: str, *, precision: str = "fp32") -> ModelSpec:
        source = sources[reference.partition(":")[0]]
        return source.resolve(reference, name="model", precision=precision)

    return call


@pytest.fixture
def processor_of(ctx: Context, resolve: Callable[..., ModelSpec]) -> Callable[..., Processor]:
    """Build the processor of a directory, or of one part of it."""

    def call(directory: Path, part: str = "") -> Processor:
        spec = resolve(f"dir:{directory}{part and '#' + part}")
        # Through JSON, as a spec travels.
        spec = from_plain(json.loads(json.dumps(to_plain(spec))), ModelSpec)
        assert spec.processor is not None
        source = accelerate_models.DirectorySource().model_create(None, ctx)
        return source.processor(spec.processor)

    return call


@pytest.fixture
def run(ctx: Context, tmp_path: Path) -> Callable[..., dict[str, np.ndarray]]:
    """Run a spec on native ONNX Runtime, its assets under the names the graph asks for."""
    import onnxruntime

    def call(spec: ModelSpec, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        folder = tmp_path / "run" / spec.sha256
        for asset in spec.assets:
            place = folder / asset.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ctx.assets.path(asset.sha256), place)
        session = onnxruntime.InferenceSession(
            folder / spec.assets[0].name, providers=["CPUExecutionProvider"]
        )
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return call


@pytest.fixture(scope="session")
def make_checkpoint() -> Callable[..., Any]:
    """Write a random text checkpoint and return its torch model; see checkpoints/text.py."""
    write: Callable[..., Any] = checkpoints("text").write
    return write


@pytest.fixture
def checkpoint(tmp_path: Path, make_checkpoint: Callable[..., Any]) -> Path:
    """A small BERT, complete and sound: tests of bad input break one thing in it."""
    directory = tmp_path / "checkpoint"
    make_checkpoint(directory, "bert")
    return directory


@pytest.fixture(scope="session")
def audio_directory(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the directory of a checkpoint, written once; not to be changed."""
    root = tmp_path_factory.mktemp("audio")

    def call(name: str) -> Path:
        if not (root / name).exists():
            checkpoints("audio").CHECKPOINTS[name](root / name)
        return root / name

    return call


@pytest.fixture
def audio_copy(audio_directory: Any, tmp_path: Path) -> Callable[[str], Path]:
    """Return a copy of a checkpoint's directory, to break something in it."""
    return lambda name: Path(shutil.copytree(audio_directory(name), tmp_path / name))


@pytest.fixture(scope="session")
def audio_processor_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Processor]:
    """Build a directory's processor; what is not changed is read once for all tests."""
    root = tmp_path_factory.mktemp("store")
    context = Host(cache_dir=root / "cache", state_dir=root / "state").context
    source = accelerate_models.DirectorySource().model_create(None, context)

    def call(directory: Path) -> Processor:
        spec = source.resolve(f"dir:{directory}", name="model")
        # Through JSON, as a spec travels.
        spec = from_plain(json.loads(json.dumps(to_plain(spec))), ModelSpec)
        assert spec.processor
        return source.processor(spec.processor)

    return call


@pytest.fixture(scope="session")
def wav2vec2(audio_directory: Any, audio_processor_of: Any) -> Any:
    return audio_processor_of(audio_directory("wav2vec2"))
