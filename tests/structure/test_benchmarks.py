# SPDX-License-Identifier: Apache-2.0
"""The benchmarks: their statistics are right, and each one is explained."""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def modules(root: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that imports a module of `benchmarks/`, which is not installed."""
    monkeypatch.syspath_prepend(str(root))
    return lambda name: importlib.import_module(f"benchmarks.{name}")


@pytest.fixture
def measure(modules: Any) -> Any:
    return modules("_measure")


def test_pairs_alternate_in_order(measure: Any) -> None:
    assert list(measure.turns(3)) == [("a", "b"), ("b", "a"), ("a", "b")]


def test_a_paired_ratio_does_not_see_what_both_suffer(measure: Any) -> None:
    drift = [1.0 + index for index in range(40)]
    ratio = measure.paired_ratio([2 * load for load in drift], drift)
    assert (ratio.value, ratio.low, ratio.high) == (2.0, 2.0, 2.0)


def test_the_interval_holds_the_truth_and_shrinks(measure: Any) -> None:
    random = np.random.default_rng(3)

    def estimate(pairs: int) -> Any:
        a, b = random.lognormal(np.log(1.5), 0.5, pairs), random.lognormal(0.0, 0.5, pairs)
        return measure.paired_ratio(a.tolist(), b.tolist())

    few, many = estimate(20), estimate(800)
    assert few.low < few.value < few.high
    assert many.low < 1.5 < many.high
    assert many.high - many.low < (few.high - few.low) / 3


def test_a_percentile_ratio_looks_at_that_percentile(measure: Any) -> None:
    slow_tail = [1.0] * 90 + [10.0] * 10
    flat = [1.0] * 100
    assert measure.percentile_ratio(slow_tail, flat, 50).value == 1.0
    assert measure.percentile_ratio(slow_tail, flat, 99).value == 10.0


@pytest.mark.parametrize("b", [[], [1.0, 2.0]])
def test_what_is_not_paired_is_refused(measure: Any, b: list[float]) -> None:
    with pytest.raises(ValueError, match="no pairs"):
        measure.paired_ratio([1.0] if b else [], b)


@pytest.mark.parametrize(
    ("limits", "target", "holds"),
    [
        ({"at_most": 3}, "<= 3", True),
        ({"at_most": 1.5}, "<= 1.5", False),
        ({"at_least": 2}, ">= 2", True),
        ({"at_least": 2.5}, ">= 2.5", False),
        ({"at_most": 3, "judged": 3.1}, "<= 3", False),
        ({}, None, None),
    ],
)
def test_a_figure_says_whether_it_holds(
    measure: Any, limits: dict[str, float], target: str | None, holds: bool | None
) -> None:
    figure = measure.Figure(figure="f", value=2.00004, unit="x", **limits, conditions={"n": 1})
    assert json.loads(figure.line()) == {
        "figure": "f",
        "value": 2.0,
        "unit": "x",
        "target": target,
        "holds": holds,
        "conditions": {"n": 1},
    }


def test_every_benchmark_can_be_called_and_is_documented(modules: Any, root: Path) -> None:
    main = modules("__main__")
    text = (root / "docs" / "benchmarks.md").read_text()
    assert {"bridge", "engines", "firefox_poll", "startup", "warm"} <= set(main.NAMES)
    for name in (*main.NAMES, *main.SOAKS):
        assert inspect.isasyncgenfunction(modules(name).measure)
        assert f"\n## `{name}`" in text
