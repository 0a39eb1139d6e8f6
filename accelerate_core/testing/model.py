# SPDX-License-Identifier: Apache-2.0
"""The contract of model sources."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from ..assets import hash_file
from ..errors import ModelError
from ..inputs import check_inputs
from ..protocols import Context, ModelSource
from ..serial import from_plain, to_plain
from ..types import Asset, ModelSpec
from .contract import Contract


@attrs.frozen(kw_only=True)
class SourceCase:
    """Hold a source, a reference it resolves, and one to something that is not there."""

    source: ModelSource
    reference: str
    missing: str


class ModelSourceContract(Contract):
    """What every model source keeps. Supply the fixture `case`, made with `context`."""

    @pytest.fixture
    def case(self, context: Context) -> SourceCase:
        """Return the source under test with its references."""
        raise NotImplementedError("supply the fixture `case`")

    @pytest.fixture
    def spec(self, case: SourceCase) -> ModelSpec:
        """Return the model that the reference names."""
        return case.source.resolve(case.reference, name="mine")

    def test_spec_is_complete(self, spec: ModelSpec, case: SourceCase) -> None:
        import numpy as np

        assert (spec.name, spec.source, spec.precision) == ("mine", case.reference, "fp32")
        assert len(spec.sha256) == 64 and int(spec.sha256, 16) >= 0
        assert spec.assets and spec.inputs and spec.outputs
        for tensor in (*spec.inputs, *spec.outputs):
            assert np.dtype(tensor.dtype).name == tensor.dtype, f"{tensor.name}: {tensor.dtype}"
        assert list(spec.operators) == sorted(set(spec.operators))
        assert from_plain(to_plain(spec), ModelSpec) == spec

    def test_assets_are_here_and_whole(self, spec: ModelSpec, context: Context) -> None:
        for asset in _assets(spec):
            assert hash_file(context.assets.path(asset.sha256)) == asset.sha256, asset.name
            assert context.assets.path(asset.sha256).stat().st_size == asset.size_bytes
        names = [asset.name for asset in spec.assets]
        assert len(set(names)) == len(names)

    def test_resolving_again_is_equal(self, spec: ModelSpec, case: SourceCase) -> None:
        assert case.source.resolve(case.reference, name="mine") == spec

    def test_name_is_not_part_of_the_identity(self, spec: ModelSpec, case: SourceCase) -> None:
        other = case.source.resolve(case.reference, name="yours")
        assert (other.name, other.sha256, other.assets) == ("yours", spec.sha256, spec.assets)

    def test_missing_assets_are_rebuilt(
        self, spec: ModelSpec, case: SourceCase, context: Context
    ) -> None:
        for asset in _assets(spec):
            context.assets.path(asset.sha256).unlink(missing_ok=True)
        assert case.source.resolve(case.reference, name="mine") == spec
        assert all(context.assets.verify(asset) for asset in _assets(spec))

    def test_corrupt_assets_are_rebuilt(
        self, spec: ModelSpec, case: SourceCase, context: Context
    ) -> None:
        for asset in _assets(spec):
            path = context.assets.path(asset.sha256)
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 0xFF
            path.write_bytes(data)
        assert case.source.resolve(case.reference, name="mine") == spec
        assert all(context.assets.verify(asset) for asset in _assets(spec))

    def test_missing_is_refused_and_leaves_nothing(
        self, case: SourceCase, context: Context
    ) -> None:
        before = _files(context.assets.root)
        with pytest.raises(ModelError) as caught:
            case.source.resolve(case.missing, name="mine")
        assert caught.value.info.hint or caught.value.info.accepted, "say what to do instead"
        assert _files(context.assets.root) == before

    def test_empty_reference_is_refused(self, case: SourceCase) -> None:
        scheme = case.reference.partition(":")[0]
        with pytest.raises(ModelError):
            case.source.resolve(f"{scheme}:", name="mine")

    def test_processor_makes_inputs_that_fit(self, spec: ModelSpec, case: SourceCase) -> None:
        if spec.processor is None:
            return
        processor = case.source.processor(spec.processor)
        for batch in (1, 3):
            raw = processor.sample(batch, 8)
            encoded = processor.encode(raw)
            check_inputs(spec, encoded)
            again = processor.encode(processor.sample(batch, 8))
            assert {k: v.tolist() for k, v in again.items()} == {
                k: v.tolist() for k, v in encoded.items()
            }, "samples are deterministic"


def _assets(spec: ModelSpec) -> tuple[Asset, ...]:
    return (*spec.assets, *(spec.processor.assets if spec.processor else ()))


def _files(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if path.is_file()}
