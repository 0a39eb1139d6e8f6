# SPDX-License-Identifier: Apache-2.0
"""Model sources that break the contract, each in its own way."""

from __future__ import annotations

import itertools
from typing import Any

import attrs
import numpy as np
import pytest

from accelerate_core.errors import ModelError
from accelerate_core.protocols import Context
from accelerate_core.testing import ModelSourceContract, models
from accelerate_core.testing.model import SourceCase
from accelerate_core.types import ProcessorSpec


class TinySource:
    """Serve the one model of `tiny:matmul`: enough to keep the contract."""

    def __init__(self, ctx: Context) -> None:
        self.assets = ctx.assets

    def resolve(self, reference: str, *, name: str, precision: str = "fp32") -> Any:
        if reference != "tiny:matmul":
            raise ModelError(f"no model {reference}", accepted=["tiny:matmul"])
        spec = models.tiny_matmul(self.assets)
        processor = ProcessorSpec(kind="numbers")
        return attrs.evolve(spec, name=name, source=reference, processor=processor)

    def processor(self, spec: ProcessorSpec) -> Any:
        return Numbers()


class Numbers:
    """Take numbers as they are."""

    def encode(self, raw: Any, **options: Any) -> Any:
        return {"x": np.asarray(raw, dtype=np.float32)}

    def decode(self, outputs: Any, encoded: Any) -> Any:
        return outputs["y"].tolist()

    def sample(self, batch_size: int, sequence_length: int | None) -> Any:
        return [[1, 2]] * batch_size


class _Kit(ModelSourceContract):
    source_class: type[TinySource] = TinySource

    @pytest.fixture
    def case(self, context: Context) -> SourceCase:
        source: Any = self.source_class(context)
        return SourceCase(source=source, reference="tiny:matmul", missing="tiny:nothing")


class TestHonest(_Kit):
    """Keeps the contract."""


class ForgetsTheSource(_Kit):
    caught_by = ("test_spec_is_complete",)

    class source_class(TinySource):
        def resolve(self, *args: Any, **kwargs: Any) -> Any:
            return attrs.evolve(super().resolve(*args, **kwargs), source="")


class WrongHash(_Kit):
    caught_by = ("test_assets_are_here_and_whole",)

    class source_class(TinySource):
        def resolve(self, *args: Any, **kwargs: Any) -> Any:
            spec = super().resolve(*args, **kwargs)
            asset = spec.assets[0]
            self.assets.path(asset.sha256).write_bytes(b"x" * asset.size_bytes)
            return spec


class NeverTheSame(_Kit):
    caught_by = ("test_resolving_again_is_equal", "test_name_is_not_part_of_the_identity")
    numbers = itertools.count()

    class source_class(TinySource):
        def resolve(self, *args: Any, **kwargs: Any) -> Any:
            spec = super().resolve(*args, **kwargs)
            return attrs.evolve(spec, sha256=f"{next(NeverTheSame.numbers):064x}")


class TrustsItsCache(_Kit):
    caught_by = ("test_missing_assets_are_rebuilt", "test_corrupt_assets_are_rebuilt")

    class source_class(TinySource):
        spec: Any = None

        def resolve(self, *args: Any, **kwargs: Any) -> Any:
            self.spec = self.spec or super().resolve(*args, **kwargs)
            return self.spec


class LeavesALeftover(_Kit):
    caught_by = ("test_missing_is_refused_and_leaves_nothing",)

    class source_class(TinySource):
        def resolve(self, reference: str, **kwargs: Any) -> Any:
            self.assets.put_bytes(reference.encode(), "half")
            return super().resolve(reference, **kwargs)


class TakesAnything(_Kit):
    caught_by = ("test_missing_is_refused_and_leaves_nothing", "test_empty_reference_is_refused")

    class source_class(TinySource):
        def resolve(self, reference: str, **kwargs: Any) -> Any:
            return super().resolve("tiny:matmul", **kwargs)


class InputsDoNotFit(_Kit):
    caught_by = ("test_processor_makes_inputs_that_fit",)

    class source_class(TinySource):
        def processor(self, spec: Any) -> Any:
            class Ragged(Numbers):
                def sample(self, batch_size: int, sequence_length: int | None) -> Any:
                    return [[1, 2, 3]] * batch_size

            return Ragged()
