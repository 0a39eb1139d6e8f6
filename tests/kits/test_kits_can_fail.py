# SPDX-License-Identifier: Apache-2.0
"""Every test of every contract catches a planted fault, and passes what is honest."""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import accelerate_core.testing as kits
from accelerate_core.testing.contract import Contract

FAULTY = sorted((Path(__file__).parent / "faulty").glob("*.py"))


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"faulty_{path.stem}", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def faults(path: Path) -> Iterator[tuple[str, type[Any]]]:
    for name, member in vars(load(path)).items():
        if isinstance(member, type) and "caught_by" in vars(member):
            yield name, member


class Outcomes:
    """Remember what an inner run of pytest reported, by class and test."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str], set[str]] = defaultdict(set)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        _, class_name, test = report.nodeid.rsplit("::", 2)
        if report.when == "call":  # an error while setting up catches nothing
            self.found[class_name, test.partition("[")[0]].add(report.outcome)


@pytest.mark.parametrize("path", FAULTY, ids=lambda path: path.stem)
def test_planted_faults_are_caught(path: Path, tmp_path: Path) -> None:
    expected = {(name, test) for name, kind in faults(path) for test in kind.caught_by}
    honest = [f"{path}::TestHonest"] if hasattr(load(path), "TestHonest") else []
    outcomes = Outcomes()
    pytest.main(
        [
            *(f"{path}::{name}::{test}" for name, test in sorted(expected)),
            *honest,
            *("-q", "--no-header", "--no-summary", "-p", "no:cacheprovider"),
            *("-W", "ignore::pytest.PytestCollectionWarning", "-o", "python_classes=*"),
            *("--tb=no", f"--basetemp={tmp_path / 'inner'}"),
        ],
        plugins=[outcomes],
    )
    missed = {key for key in expected if "failed" not in outcomes.found[key]}
    assert not missed
    blamed = {key for key in outcomes.found if "failed" in outcomes.found[key]} - expected
    assert not blamed


@pytest.mark.parametrize("contract", kits.__all__)
def test_every_test_of_a_contract_has_a_fault_it_catches(contract: str) -> None:
    kind = getattr(kits, contract)
    planted = [fault for path in FAULTY for _, fault in faults(path) if issubclass(fault, kind)]
    caught = {test for fault in planted for test in fault.caught_by}
    # A fault may be of two contracts.
    assert caught <= {name for fault in planted for name in dir(fault)}
    # What a contract inherits is caught there.
    own = {name for name in vars(kind) if name.startswith("test_")}
    assert own <= caught


def test_a_contract_cannot_be_overridden() -> None:
    with pytest.raises(TypeError, match="replaces test_matmul_is_right"):
        type("Mine", (kits.BackendContract,), {"test_matmul_is_right": lambda self: None})
    assert issubclass(type("Mine", (kits.BackendContract,), {"test_of_mine": None}), Contract)
