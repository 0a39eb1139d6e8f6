# SPDX-License-Identifier: Apache-2.0
"""Cases are read strictly, and their operands are the same every time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerate_plan.kernels import Binding, Kernel
from accelerate_plan.testing.cases import Case, Fill, read_cases

from accelerate_core.errors import PluginError

KERNEL = Kernel(
    operation="look",
    summary="y = table[ids] + bias",
    tolerance=1e-6,
    bindings=(
        Binding(name="ids", role="input", type="i32"),
        Binding(name="table", role="constant"),
        Binding(name="bias", role="constant", optional=True),
        Binding(name="y", role="output"),
    ),
    params={"count": "u32", "shape": "vec4<u32>"},
)
GOOD: dict[str, Any] = {
    "name": "good",
    "params": {"count": 3, "shape": [1, 1, 1, 3]},
    "shapes": {"ids": [3], "table": [5, 4], "y": [3, 4]},
    "fill": {"ids": {"integers": [0, 4]}},
}


def written(tmp_path: Path, *cases: Any) -> Path:
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    return tmp_path


def test_a_case_has_the_same_operands_every_time(tmp_path: Path) -> None:
    other = {**GOOD, "name": "other", "fill": {"ids": {"values": [4, 0]}, "table": {"scale": 100}}}
    first, second = read_cases(KERNEL, written(tmp_path, GOOD, other))
    operands = first.inputs(KERNEL)
    assert set(operands) == {"ids", "table"}
    for name, value in read_cases(KERNEL, tmp_path)[0].inputs(KERNEL).items():
        np.testing.assert_array_equal(value, operands[name])
    assert operands["ids"].dtype == np.int32 and operands["table"].dtype == np.float32
    others = second.inputs(KERNEL)
    assert others["ids"].tolist() == [4, 0, 4]
    assert np.abs(others["table"]).max() > 10 and not np.array_equal(
        others["table"], 100 * operands["table"]
    )


def test_integers_include_both_ends() -> None:
    case = Case(
        name="many",
        params={},
        shapes={"ids": (500,)},
        fill={"ids": Fill(integers=(-2, 1))},
    )
    assert set(case.inputs(KERNEL)["ids"].tolist()) == {-2, -1, 0, 1}


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"shape": {}}, "shape"),
    "no name": ({"name": None}, "name"),
    "unknown operand": ({"shapes": {**GOOD["shapes"], "x": [1]}}, "no operand x"),
    "missing operand": ({"shapes": {"ids": [3], "y": [3, 4]}}, "table has no shape"),
    "missing output": ({"shapes": {"ids": [3], "table": [5, 4]}}, "y has no shape"),
    "missing param": ({"params": {"count": 3}}, "missing shape"),
    "param that does not fit": ({"params": {**GOOD["params"], "count": -1}}, "count = -1"),
    "fill of an output": ({"fill": {**GOOD["fill"], "y": {"scale": 1}}}, "y"),
    "fill of what is left out": ({"fill": {**GOOD["fill"], "bias": {"scale": 1}}}, "bias"),
    "two fills": ({"fill": {"ids": {"integers": [0, 1], "scale": 1}}}, "more than one"),
    "no fill": ({"fill": {"ids": {}}}, "nothing"),
    "integers of nobody's choice": ({"fill": {}}, "which"),
    "integers by scale": ({"fill": {"ids": {"scale": 3}}}, "which"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_name_file_and_case(tmp_path: Path, fault: str) -> None:
    change, word = FAULTS[fault]
    case = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    with pytest.raises(PluginError) as caught:
        read_cases(KERNEL, written(tmp_path, case))
    info = caught.value.info
    assert str(tmp_path / "cases.json") in (info.where or "")
    assert word in f"{info.message} {info.where}"
    assert fault == "no name" or "good" in (info.where or "")


@pytest.mark.parametrize(
    ("text", "word"),
    [("[", "cannot be read"), ("{}", "list"), ("[]", "list"), ("[3]", "table")],
)
def test_what_holds_no_cases_is_refused(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "cases.json").write_text(text)
    with pytest.raises(PluginError, match=word):
        read_cases(KERNEL, tmp_path)


def test_missing_files_and_doubled_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="cannot be read"):
        read_cases(KERNEL, tmp_path)
    with pytest.raises(PluginError, match="two cases"):
        read_cases(KERNEL, written(tmp_path, GOOD, GOOD))
