# SPDX-License-Identifier: Apache-2.0
"""The three sources keep the contract of model sources."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from accelerate_models import DirectorySource, FileSource, PackageSource
from onnx import TensorProto, helper, numpy_helper

from accelerate_core.protocols import Context
from accelerate_core.testing.model import ModelSourceContract, SourceCase


class TestFileSource(ModelSourceContract):
    @pytest.fixture
    def case(self, context: Context, tmp_path: Path) -> SourceCase:
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 300])],
            [numpy_helper.from_array(np.ones((2, 300), np.float32), "w")],
        )
        onnx.save(
            helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]),
            tmp_path / "model.onnx",
            save_as_external_data=True,
            location="model.onnx.data",
        )
        return SourceCase(
            source=FileSource().model_create(None, context),
            reference=f"file:{tmp_path / 'model.onnx'}",
            missing=f"file:{tmp_path / 'none.onnx'}",
        )


class TestDirectorySource(ModelSourceContract):
    @pytest.fixture
    def case(self, context: Context, checkpoint: Path) -> SourceCase:
        return SourceCase(
            source=DirectorySource().model_create(None, context),
            reference=f"dir:{checkpoint}",
            missing=f"dir:{checkpoint / 'none'}",
        )


class TestPackageSource(ModelSourceContract):
    @pytest.fixture
    def case(
        self, context: Context, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
    ) -> SourceCase:
        package = checkpoint.parent / "site" / "tiny_model_package"
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("raise AssertionError('imported')")
        checkpoint.rename(package / "model")
        monkeypatch.syspath_prepend(package.parent)
        return SourceCase(
            source=PackageSource().model_create(None, context),
            reference="package:tiny_model_package/model",
            missing="package:tiny_model_package/none",
        )
