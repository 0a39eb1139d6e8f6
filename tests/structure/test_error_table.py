# SPDX-License-Identifier: Apache-2.0
"""`tests/errors.toml` knows every error and every kind of bad input, and its tests exist."""

from __future__ import annotations

import ast
import functools
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from accelerate_core import errors

#: Issue 2, "Correctness and bad input".
BAD_INPUT = {
    "a label, an address or credentials of Prometheus that cannot be",
    "a pipeline file of a CI system that cannot be written",
    "a right or a token that a CI job does not have",
    "a secret that cannot be read, or that others can",
    "a link of messages with what nobody fills in",
    "a connector or a message of the outbox that nobody knows",
    "a message that cannot be read any more",
    "rules of notifications that cannot be",
    "a receiver of notifications that is not in the file",
    "a template of notifications that is wrong",
    "settings of a connector that cannot be",
    "a range of time, an objective or a name of which nothing is stored",
    "a pipeline file that cannot be changed, or was since",
    "a report or picture of many runs that cannot be made",
    "a file to import that is foreign, damaged or half-written",
    "a row to import that says nothing usable",
    "a database that cannot be merged",
    "an age that is none",
    "a scenario, strategy or browser that chaos does not know",
    "a report in a folder that is not there",
    "a fault that cannot happen to its worker",
    "a regression, a metric, a detector or an analysis that nobody knows",
    "wrong input names",
    "wrong input dtypes",
    "wrong input shapes",
    "no ONNX",
    "truncated ONNX",
    "unsupported operator",
    "browser does not start",
    "page never connects",
    "busy port",
    "no disk space",
    "no adapter",
    "a precision that cannot be made of a model",
    "a number of bits that no precision has",
    "a tokenizer that is a bomb",
    "a chat template that is hostile or wrong",
    "a config that no graph follows",
    "an image that is hostile, damaged or none",
    "an image processor that would give wrong pixels",
    "a sound that is hostile, damaged or none",
    "a feature extractor that would give wrong features",
    "a hub that is unreachable or refuses",
    "a repository that is hostile or has nothing to use",
    "a folder to write to that holds something else",
    "words of one meaning that say two things",
    "numbers of a pool that contradict each other",
    "bounds of a pool's health and breakers",
    "terms of a request that cannot be",
    "a time or a size that is none",
    "a trace that cannot be written",
    "a target that replays no plans",
    "a plan that is damaged or of another version",
    "a picture that cannot be drawn",
    "an operation that no kernel does",
    "a model that no kernels cover",
    "a model whose shapes are not fixed",
    "an operator with settings that no kernel has",
    "inputs too small for a model",
    "a quantization that cannot be done",
    "texts that cannot be calibrated with",
    "a kernel that breaks its contract",
    "cases of a kernel that are wrong",
    "a plan for another model or device",
    "integers beyond what a GPU holds",
    "a journal that is damaged or of another version",
    "a journal that is full or cannot be written",
    "a job id that belongs to another request",
    "inputs that cannot be written down",
    "a durable run without a store",
    "a job whose story nobody has",
    "a checkpoint that is damaged or of another model",
    "a session of a model without state",
    "a session opened with what does not fit",
    "parts of a cut model that do not fit",
    "two runs that cannot be compared",
    "a run to compare that is not there",
    "terms or settings of a comparison that cannot be",
    "a scenario of a benchmark that is unknown or lacks what it needs",
    "a connector's address, recipient or password that cannot be",
    "a mail server that refuses, or is not who it says",
    "a workflow that takes no cards",
}
KITS = (
    "accelerate_core/testing",
    "hardware_backends/accelerate-browser/src/accelerate_browser/testing",
    "shaders/accelerate-plan/src/accelerate_plan/testing",
)


@pytest.fixture(scope="module")
def table(root: Path) -> dict[str, dict[str, list[str]]]:
    return tomllib.loads((root / "tests/errors.toml").read_text())


def kinds() -> set[str]:
    """Return the errors of the core, its base class left out."""
    return {
        name
        for name in errors.__all__
        if isinstance(kind := getattr(errors, name), type)
        and issubclass(kind, errors.AccelerateError)
        and kind is not errors.AccelerateError
        and kind.__name__ == name
    }


def test_every_error_and_every_bad_input_has_a_row(table: dict[str, Any]) -> None:
    assert set(table["errors"]) == kinds()
    assert set(table["bad_input"]) == BAD_INPUT
    assert all(table["bad_input"].values())


def test_a_row_is_empty_only_while_nothing_raises_the_error(
    table: dict[str, Any], distributions: list[Any]
) -> None:
    for name in (name for name, tests in table["errors"].items() if not tests):
        raised = re.compile(rf"\b{name}\(")
        for one in distributions:
            for path in one.source.rglob("*.py"):
                assert path.name == "errors.py" or not raised.search(path.read_text()), (name, path)


def test_the_tests_of_the_table_exist(table: dict[str, Any], root: Path) -> None:
    missing = [
        f"{row}: {node}"
        for rows in table.values()
        for row, nodes in rows.items()
        for node in nodes
        if not exists(root, node)
    ]
    assert not missing


def exists(root: Path, node: str) -> bool:
    """Whether a test id names a test, perhaps one that its class has from a kit."""
    file, *path = node.split("::")
    if not (root / file).is_file():
        return False
    functions, classes = parsed(root / file)
    if len(path) == 1:
        return path[0] in functions
    name, test = path
    known = dict(classes)
    for kit in (path for folder in KITS for path in (root / folder).glob("*.py")):
        known.update({key: one for key, one in parsed(kit)[1].items() if key not in known})
    seen, waiting = set(), [name] if name in classes else []
    while waiting:
        methods, bases = known.get(waiting.pop(), (frozenset(), ()))
        if test in methods:
            return True
        waiting += [base for base in bases if base not in seen]
        seen.update(bases)
    return False


@functools.cache
def parsed(path: Path) -> tuple[frozenset[str], dict[str, tuple[frozenset[str], tuple[str, ...]]]]:
    """Return a module's functions, and of its classes the methods and the bases' names."""
    body = ast.parse(path.read_text()).body
    classes = {
        node.name: (
            named(node.body),
            tuple(ast.unparse(base).split(".")[-1] for base in node.bases),
        )
        for node in body
        if isinstance(node, ast.ClassDef)
    }
    return named(body), classes


def named(body: list[ast.stmt]) -> frozenset[str]:
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return frozenset(node.name for node in body if isinstance(node, kinds))


def test_a_test_that_is_not_there_is_noticed(root: Path) -> None:
    here = "tests/structure/test_error_table.py"
    cpu = "hardware_backends/accelerate-cpu/tests/test_contract.py"
    assert exists(root, f"{here}::test_a_test_that_is_not_there_is_noticed")
    assert exists(root, f"{cpu}::TestCpu::test_wrong_inputs_are_refused")
    for wrong in ("nowhere.py::test_x", f"{here}::test_x", f"{here}::TestX::test_x"):
        assert not exists(root, wrong)
    assert not exists(root, f"{cpu}::TestCpu::test_x")
