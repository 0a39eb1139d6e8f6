# SPDX-License-Identifier: Apache-2.0
"""Numbers about numbers."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelerate_core.errors import NumericalError
from accelerate_core.measuring.numbers import (
    bind_dimensions,
    median,
    median_phases,
    relative_l2,
    series_key,
    synthetic_inputs,
)
from accelerate_core.types import (
    AdapterInfo,
    Cell,
    ModelSpec,
    Phases,
    Target,
    TensorSpec,
    WorkerInfo,
)

SPEC = ModelSpec(
    name="m",
    source="file:m",
    sha256="0",
    assets=(),
    inputs=(
        TensorSpec("x", "float32", ("batch", "sequence", 3)),
        TensorSpec("ids", "int64", ("batch", "sequence")),
    ),
    outputs=(TensorSpec("y", "float32", ("batch",)),),
)


@given(st.floats(1e-6, 1.0), st.integers(1, 50))
def test_relative_l2_of_a_known_disturbance(size: float, count: int) -> None:
    right = np.ones(count, np.float32)
    assert relative_l2({"y": right.astype(np.float64) * (1 + size)}, {"y": right}) == pytest.approx(
        size, rel=1e-3
    )


def test_relative_l2_takes_the_worst_output() -> None:
    right = {"a": np.ones(2), "b": np.full(2, 10.0)}
    assert relative_l2({"a": np.ones(2), "b": np.full(2, 11.0)}, right) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({}, "missing"),
        ({"y": np.ones(3)}, "shape"),
        ({"y": np.array([1.0, np.nan])}, "not finite"),
    ],
)
def test_outputs_that_cannot_be_compared(wrong: dict[str, np.ndarray], says: str) -> None:
    with pytest.raises(NumericalError, match=says):
        relative_l2(wrong, {"y": np.ones(2)})


def test_a_zero_reference_compares_by_absolute_distance() -> None:
    assert relative_l2({"y": np.full(1, 0.5)}, {"y": np.zeros(1)}) == 0.5


def test_made_up_inputs_have_the_asked_size_and_are_the_same_each_time() -> None:
    first, second = synthetic_inputs(SPEC, 2, 5), synthetic_inputs(SPEC, 2, 5)
    assert first["x"].shape == (2, 5, 3) and first["ids"].shape == (2, 5)
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert bind_dimensions(SPEC, first) == {"batch": 2, "sequence": 5}
    assert bind_dimensions(SPEC, synthetic_inputs(SPEC, 2, None)) == {"batch": 2, "sequence": 32}


def test_medians_ignore_what_is_unknown() -> None:
    assert median([None, 3.0, 1.0]) == 2.0 and median([None]) is None
    phases = median_phases([Phases(in_page_ms=1.0), Phases(in_page_ms=3.0, queue_ms=5.0)])
    assert phases == Phases(in_page_ms=2.0, queue_ms=5.0)


def test_a_series_goes_on_over_versions_and_ends_with_the_adapter() -> None:
    cell = Cell(model="m", target=Target("webgpu", None, "chromium"))
    worker = WorkerInfo(
        target=cell.target, browser_version="1", adapter=AdapterInfo(vendor="google")
    )
    same = series_key(cell, "hash", worker)
    assert series_key(cell, "hash", attrs.evolve(worker, browser_version="2")) == same
    other = attrs.evolve(worker, adapter=AdapterInfo(vendor="nvidia"))
    for changed in (
        series_key(cell, "hash", other),
        series_key(cell, "hash2", worker),
        series_key(attrs.evolve(cell, batch_size=2), "hash", worker),
        series_key(cell, "hash", attrs.evolve(worker, is_software=True)),
    ):
        assert changed != same
