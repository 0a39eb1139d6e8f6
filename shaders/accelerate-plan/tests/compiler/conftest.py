# SPDX-License-Identifier: Apache-2.0
"""A host of the tests' own, and models written for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from accelerate_core.host import Host
from accelerate_core.types import ModelSpec

if TYPE_CHECKING:
    from accelerate_core.types import Array

_HEAD = '<ir_version: 9, opset_import: ["" : 20, "com.microsoft" : 1]> test '


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(cache_dir=tmp_path / "cache", state_dir=tmp_path / "state")


@pytest.fixture
def model(host: Host, tmp_path: Path) -> Callable[..., ModelSpec]:
    """Return a model in ONNX's text form as a spec, larger constants in a file of their own."""

    def make(
        text: str,
        constants: Mapping[str, Array] | None = None,
        *,
        precision: str = "fp32",
        inside_bytes: int = 0,
    ) -> ModelSpec:
        made = onnx.parser.parse_model(_HEAD + text)
        for name, value in (constants or {}).items():
            made.graph.initializer.append(numpy_helper.from_array(value, name))
        path = tmp_path / "model" / "test.onnx"
        path.parent.mkdir(exist_ok=True)
        has_data = bool(constants)
        onnx.save(
            made,
            str(path),
            save_as_external_data=has_data,
            location="test.data",
            size_threshold=inside_bytes,
        )
        (path.parent / "test.data").touch()
        return host.resolve_model(f"file:{path}", name="test", precision=precision)

    return make


def random(*shape: int, seed: int = 0) -> Array:
    """Return normal numbers."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)
