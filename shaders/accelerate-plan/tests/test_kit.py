# SPDX-License-Identifier: Apache-2.0
"""The kit of kernels finds faults: each fault below is put into a kernel on purpose."""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import accelerate_shaders
import attrs
import numpy as np
import pytest
from accelerate_plan.catalogue import Catalogue, read_folders
from accelerate_plan.devices import device_of
from accelerate_plan.kernels import Device
from accelerate_plan.references import REFERENCES
from accelerate_plan.testing.cases import read_cases
from accelerate_plan.testing.checking import POISON, Outcome, Trial, check, error_of, trials

from accelerate_core.errors import PluginError
from accelerate_core.protocols import Context, Worker
from accelerate_core.testing.pytest_plugin import make_context
from accelerate_core.types import Target

KERNELS = Path(accelerate_shaders.__file__).parent / "kernels"


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return make_context(tmp_path_factory.mktemp("accelerate"))


@pytest.fixture(scope="module")
def worker(context: Context) -> Iterator[Worker]:
    backend = context.plugins.create("backends", "wgpu")
    worker = asyncio.run(backend.start(Target("wgpu"), context))
    yield worker
    asyncio.run(worker.close())


@pytest.fixture
def copied(tmp_path: Path) -> Callable[..., Catalogue]:
    """Return what copies an operation's folder, changing texts of one file."""

    def copied(operation: str, file: str = "", old: str = "", new: str = "") -> Catalogue:
        folder = tmp_path / "kernels" / operation
        shutil.copytree(KERNELS / operation, folder)
        if file:
            text = (folder / file).read_text()
            assert old in text
            (folder / file).write_text(text.replace(old, new))
        return read_folders([("copy", folder.parent)])

    return copied


def outcomes(
    worker: Worker, context: Context, catalogue: Catalogue, *, is_tuned: bool = False
) -> dict[str, list[tuple[Trial, Outcome]]]:
    """Return the outcomes of all operations of a catalogue, by variant."""
    found: dict[str, list[tuple[Trial, Outcome]]] = {}
    for operation, kernel in catalogue.kernels.items():
        cases = read_cases(kernel, catalogue.folders[operation][0])
        wanted = list(trials(kernel, cases, device_of(worker.info), is_tuned=is_tuned))
        made = asyncio.run(check(worker, context.assets, catalogue, kernel, wanted))
        for trial, outcome in zip(wanted, made, strict=True):
            found.setdefault(trial.variant.name, []).append((trial, outcome))
    return found


def wrong(catalogue: Catalogue, operation: str, found: list[tuple[Trial, Outcome]]) -> list[str]:
    tolerance = catalogue.kernel(operation).tolerance
    return [
        trial.case.name
        for trial, outcome in found
        if outcome.failure or max(outcome.errors.values()) > tolerance
    ]


def test_sound_kernels_pass(
    worker: Worker, context: Context, copied: Callable[..., Catalogue]
) -> None:
    catalogue = copied("softmax")
    for found in outcomes(worker, context, catalogue, is_tuned=True).values():
        assert not wrong(catalogue, "softmax", found)
        assert len({tuple(trial.constants.items()) for trial, _ in found}) > 1


FAULTS = {
    "wrong numbers": ("*= scale", "*= scale * 1.0001"),
    "overflow": ("exp(x[i] - largest)", "exp(x[i])"),
    "the last element forgotten": ("start + params.columns;", "start + params.columns - 1;"),
    "rows beyond the first of a workgroup": ("row += groups.x * workgroup", "row += 1000000"),
    "the neighbour's row": ("row * params.columns", "(row + 1) * params.columns"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_found(
    worker: Worker, context: Context, copied: Callable[..., Catalogue], fault: str
) -> None:
    catalogue = copied("softmax", "rows.wgsl", *FAULTS[fault])
    kernel = catalogue.kernel("softmax")
    # A grid too small for all rows, so that the loop over the rest is needed.
    rows = attrs.evolve(kernel.variant("rows"), grid=("1", "1", "1"))
    others = tuple(one for one in kernel.variants if one.name != "rows")
    kernels = {"softmax": attrs.evolve(kernel, variants=(rows, *others))}
    catalogue = attrs.evolve(catalogue, kernels=kernels)
    found = outcomes(worker, context, catalogue)
    assert wrong(catalogue, "softmax", found["rows"])
    # The other variants of the operation are not blamed.
    for name in set(found) - {"rows"}:
        assert not wrong(catalogue, "softmax", found[name])


def test_one_that_does_not_compile_is_blamed_alone(
    worker: Worker, context: Context, copied: Callable[..., Catalogue]
) -> None:
    catalogue = copied("softmax", "rows.wgsl", "exp(", "exponential(")
    found = outcomes(worker, context, catalogue)
    for _, outcome in found["rows"]:
        assert isinstance(outcome.failure, PluginError)
        assert "softmax/rows" in outcome.failure.info.message
    for name in set(found) - {"rows"}:
        assert not wrong(catalogue, "softmax", found[name])


def test_a_value_of_tune_that_is_wrong_is_found(
    worker: Worker, context: Context, copied: Callable[..., Catalogue]
) -> None:
    catalogue = copied(
        "softmax", "rows.wgsl", "row < params.rows;", "row < params.rows && workgroup != 32;"
    )
    found = outcomes(worker, context, catalogue, is_tuned=True)["rows"]
    assert wrong(catalogue, "softmax", found)
    for trial, outcome in found:
        is_wrong = max(outcome.errors.values()) > catalogue.kernel("softmax").tolerance
        assert is_wrong == (trial.constants["workgroup"] == 32), str(trial)


def test_an_operation_without_a_reference_is_refused(
    worker: Worker, context: Context, copied: Callable[..., Catalogue]
) -> None:
    catalogue = copied("softmax", "kernel.toml", 'operation = "softmax"', 'operation = "softmux"')
    with pytest.raises(PluginError, match="softmux has no reference"):
        outcomes(worker, context, catalogue)


def test_a_reference_that_fails_is_named(
    worker: Worker,
    context: Context,
    copied: Callable[..., Catalogue],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    catalogue = copied("softmax")
    kernel = catalogue.kernel("softmax")
    (case, *_) = read_cases(kernel, catalogue.folders["softmax"][0])
    wanted = [Trial(case, kernel.variants[0], kernel.variants[0].constants)]
    for broken, words in (
        (lambda params, operands: {"z": operands["x"]}, r"returns \['z'\]"),
        (lambda params, operands: operands["z"], "KeyError"),
    ):
        monkeypatch.setitem(REFERENCES, "softmax", broken)
        with pytest.raises(PluginError, match=words):
            asyncio.run(check(worker, context.assets, catalogue, kernel, wanted))


# --- the measure ----------------------------------------------------------------------------------

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("actual", "expected", "error"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([1.0, 1.0, 1.0, 1.1], [1.0, 1.0, 1.0, 1.0], 0.05),
        ([2.0, -2.0], [1.0, -1.0], 1.0),
        ([0.0, 0.25], [0.0, 0.0], 0.25 / math.sqrt(2)),
        ([NAN, 2.0], [1.0, 2.0], INF),
        ([INF, 2.0], [1.0, 2.0], INF),
        ([1.0, 2.0], [NAN, 2.0], INF),
        ([NAN, 2.0], [NAN, 2.0], 0.0),
        ([INF, 2.0], [INF, 2.0], 0.0),
        ([-INF, 2.0], [INF, 2.0], INF),
        ([1.0], [1.0, 2.0], INF),
    ],
)
def test_errors_are_normalised(actual: list[float], expected: list[float], error: float) -> None:
    found = error_of(np.array(actual, np.float32), np.array(expected))
    assert found == pytest.approx(error, rel=1e-6)


def test_what_is_masked_must_be_left_alone() -> None:
    poison = np.array([POISON], np.uint32).view(np.float32)[0]
    expected = np.ma.masked_array([1.0, 0.0, 3.0], mask=[False, True, False])
    assert error_of(np.array([1.0, poison, 3.0], np.float32), expected) == 0
    assert error_of(np.array([1.0, 0.0, 3.0], np.float32), expected) == INF
    assert error_of(np.array([1.0, poison, poison], np.float32), expected) == INF


def test_trials_are_what_a_device_can_do() -> None:
    catalogue = read_folders([("shaders", KERNELS)])
    kernel = catalogue.kernel("softmax")
    cases = read_cases(kernel, KERNELS / "softmax")
    first = attrs.evolve(kernel.variants[0], features=("no-such-feature",))
    spoilt = attrs.evolve(kernel, variants=(first, *kernel.variants[1:]))
    names = {one.variant.name for one in trials(spoilt, cases, Device(), is_tuned=False)}
    assert first.name not in names
