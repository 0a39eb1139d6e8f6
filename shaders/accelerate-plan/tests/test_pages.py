# SPDX-License-Identifier: Apache-2.0
"""What docs/kernels.md and docs/plan.md print works."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import attrs
import pytest
from accelerate_plan.assemble import assemble
from accelerate_plan.catalogue import Catalogue, read_folders
from accelerate_plan.choosing import guess
from accelerate_plan.devices import device_of
from accelerate_plan.kernels import Device
from accelerate_plan.plan import read_plan, write_plan
from accelerate_plan.program import ProgramBuilder
from accelerate_plan.references import REFERENCES
from accelerate_plan.testing.cases import read_cases
from accelerate_plan.testing.checking import check, trials

from accelerate_core.protocols import Context
from accelerate_core.testing.pytest_plugin import make_context
from accelerate_core.types import Target

DOCS = Path(__file__).parents[3] / "docs"
_FILE = re.compile(r"^```\w+ (\S+/\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PYTHON = re.compile(r"^```python run\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _python(page: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__file__": str(DOCS / page)}
    for block in _PYTHON.findall((DOCS / page).read_text()):
        exec(compile(block, page, "exec", dont_inherit=True), names)
    return names


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return make_context(tmp_path / "context")


@pytest.fixture
def kernels(tmp_path: Path) -> Catalogue:
    """Return the kernels of docs/kernels.md: those of the example, and of who extends it."""
    for name, text in _FILE.findall((DOCS / "kernels.md").read_text()):
        path = tmp_path / ("extending" if name.startswith("fast/") else "own") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return read_folders([("fast", tmp_path / "extending"), ("rowshift", tmp_path / "own")])


def test_the_example_is_a_kernel_and_extends_one(kernels: Catalogue) -> None:
    names = [one.name for one in kernels.kernel("row_shift").variants]
    assert names == ["scalar", "vec4", "fast/rows"]


async def test_the_example_computes_what_it_says(kernels: Catalogue, context: Context) -> None:
    names = _python("kernels.md")
    kernel = kernels.kernel("row_shift")
    cases = read_cases(kernel, kernels.folders["row_shift"][0])
    backend = context.plugins.create("backends", "wgpu")
    worker = await backend.start(Target("wgpu"), context)
    try:
        wanted = list(trials(kernel, cases, device_of(worker.info), is_tuned=True))
        outcomes = await check(worker, context.assets, kernels, kernel, wanted)
    finally:
        await worker.close()
        await backend.close()
        assert REFERENCES.pop("row_shift") is names["row_shift"]
    assert {one.variant.name for one in wanted} == {"scalar", "vec4", "fast/rows"}
    for trial, outcome in zip(wanted, outcomes, strict=True):
        assert outcome.failure is None, f"{trial}: {outcome.failure}"
        assert outcome.errors["y"] <= kernel.tolerance, str(trial)


def test_the_format_is_as_written(kernels: Catalogue) -> None:
    make = ProgramBuilder("pages")
    x = make.input("x", "float32", (3, 8))
    y = make.tensor((3, 8))
    params = {"rows": 3, "columns": 8, "has_shift": 0, "scale": 2.0}
    make.step("row_shift", {"x": x, "y": y}, params, label="the step", flops=24)
    make.output("y", "float32", y)
    plan = assemble(make.finish(), kernels, Device(), guess).plan
    file = write_plan(plan)
    read = _python("plan.md")["read"]

    header, data = read(file)

    assert data == plan.data and (len(file) - len(data)) % 16 == 0
    assert header.pop("version") == 1
    # Every key is in the page, and nothing more is in the file.
    page = (DOCS / "plan.md").read_text()
    values = [plan, plan.inputs[0], plan.buffers[0], plan.pipelines[0], plan.dispatches[0]]
    for value in (*values, plan.dispatches[0].bindings[0]):
        for name in (field.name for field in attrs.fields(type(value)) if field.name != "data"):
            assert f"`{name}`" in page, name
    assert set(header) == {field.name for field in attrs.fields(type(plan))} - {"data"}
    assert json.loads(json.dumps(header)) == header
    for damaged in (b"x" + file[1:], file[:-1] + bytes([file[-1] ^ 1])):
        with pytest.raises(ValueError, match=r"no plan|damaged"):
            read(damaged)
    assert read_plan(file) == plan
