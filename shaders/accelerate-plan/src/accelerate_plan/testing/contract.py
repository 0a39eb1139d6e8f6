# SPDX-License-Identifier: Apache-2.0
"""The contract of kernels."""

from __future__ import annotations

import asyncio
import functools
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest

from accelerate_core.protocols import Context, Worker
from accelerate_core.testing.contract import Contract
from accelerate_core.testing.pytest_plugin import make_context
from accelerate_core.types import Target

from ..catalogue import Catalogue, load_catalogue
from ..devices import device_of
from ..hookspecs import KERNELS
from ..kernels import Device, Kernel, Variant, is_for
from .cases import Case, read_cases
from .checking import Outcome, Trial, check, trials


@attrs.frozen
class _Kernels:
    """The kernels of a plugin: what they are part of, and which of their variants are its own."""

    catalogue: Catalogue
    cases: Mapping[str, tuple[Case, ...]]
    defined: frozenset[str]  #: operations that the plugin defines
    variants: Mapping[str, tuple[Variant, ...]]  #: its own, by operation


@attrs.frozen
class Asked:
    """A test's parameter: a case of a variant."""

    operation: str
    variant: str
    case: str

    def __str__(self) -> str:
        return f"{self.operation}/{self.variant}/{self.case}"


class KernelContract(Contract):
    """What every kernel keeps: each case of each variant agrees with the fp64 reference.

        class TestMine(KernelContract):
            plugin = "mine"
            target = "webgpu/plan:chromium"

    One worker runs all cases of an operation at once, when the first of them is asked for.
    """

    #: The plugin of the family `kernels` to test: its operations, and what it adds to others'.
    plugin: ClassVar[str]
    #: Where to run them.
    target: ClassVar[str] = "wgpu"
    #: Whether to try the values of `tune`, too: each is another pipeline to compile.
    is_tuned: ClassVar[bool] = True

    @classmethod
    def pytest_generate_tests(cls, metafunc: pytest.Metafunc) -> None:
        """Make a test for each case of each variant."""
        if "asked" in metafunc.fixturenames:
            metafunc.parametrize("asked", list(_asked(_kernels(cls.plugin))), ids=str)

    @pytest.fixture(scope="class")
    @classmethod
    def run(cls) -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
        """Return a runner of coroutines: one event loop for the whole class."""
        with asyncio.Runner() as runner:
            yield runner.run

    @pytest.fixture(scope="class")
    @classmethod
    def context(cls, tmp_path_factory: pytest.TempPathFactory) -> Context:
        """Return what the backend gets from the host."""
        return make_context(tmp_path_factory.mktemp("accelerate"))

    @pytest.fixture(scope="class")
    @classmethod
    def worker(cls, run: Any, context: Context) -> Iterator[Worker]:
        """Return a worker for the target; give another to test with other settings."""
        target = Target.parse(cls.target)
        backend = context.plugins.create("backends", target.backend)
        worker = run(backend.start(target, context))
        yield worker
        run(worker.close())
        run(backend.close())

    @pytest.fixture(scope="class")
    @classmethod
    def outcomes(
        cls, run: Any, worker: Worker, context: Context
    ) -> Callable[[str], Mapping[Asked, Sequence[tuple[Trial, Outcome]]]]:
        """Return what runs all cases of an operation, once."""
        found = _kernels(cls.plugin)

        @functools.cache
        def of(operation: str) -> Mapping[Asked, Sequence[tuple[Trial, Outcome]]]:
            kernel = attrs.evolve(
                found.catalogue.kernel(operation), variants=found.variants[operation]
            )
            device = device_of(worker.info)
            wanted = list(trials(kernel, found.cases[operation], device, is_tuned=cls.is_tuned))
            said = run(check(worker, context.assets, found.catalogue, kernel, wanted))
            results: dict[Asked, list[tuple[Trial, Outcome]]] = {}
            for trial, outcome in zip(wanted, said, strict=True):
                asked = Asked(operation, trial.variant.name, trial.case.name)
                results.setdefault(asked, []).append((trial, outcome))
            return results

        return of

    def test_agrees_with_the_reference(self, outcomes: Any, worker: Worker, asked: Asked) -> None:
        kernel = _kernels(self.plugin).catalogue.kernel(asked.operation)
        results = outcomes(asked.operation)
        if asked not in results:
            pytest.skip(f"{worker.info.target} lacks {_lacking(kernel.variant(asked.variant))}")
        for trial, outcome in results[asked]:
            if outcome.failure is not None:
                raise outcome.failure
            for output, error in outcome.errors.items():
                assert error <= kernel.tolerance, (
                    f"{output} of {trial} is off by {error:.2e} (normalised RMS), "
                    f"{kernel.tolerance:.0e} allowed"
                )

    def test_every_case_is_done_by_some_variant(self, worker: Worker) -> None:
        found, device = _kernels(self.plugin), device_of(worker.info)
        undone = [
            f"{operation}/{case.name}"
            for operation in sorted(found.defined)
            for case in found.cases[operation]
            if not any(
                is_for(one, case.params, device)
                for one in found.catalogue.kernel(operation).variants
            )
        ]
        assert not undone, f"no variant does {', '.join(undone)} on {worker.info.target}"

    def test_every_variant_has_a_case(self) -> None:
        found = _kernels(self.plugin)
        tried = {(one.operation, one.variant) for one in _asked(found)}
        all_of = {(name, one.name) for name, own in found.variants.items() for one in own}
        assert tried == all_of, f"no case is for {sorted(all_of - tried)}"


@functools.cache
def _kernels(plugin: str) -> _Kernels:
    with tempfile.TemporaryDirectory() as folder:
        plugins = make_context(Path(folder)).plugins
        catalogue = load_catalogue(plugins)
        roots = {Path(path).resolve() for path in plugins.create(KERNELS.name, plugin)}
    defined: set[str] = set()
    variants: dict[str, tuple[Variant, ...]] = {}
    for name, kernel in catalogue.kernels.items():
        is_defined = catalogue.folders[name][0].resolve().parent in roots
        defined |= {name} if is_defined else set()
        own = tuple(
            one
            for one in kernel.variants
            if ("/" not in one.name if is_defined else one.name.startswith(f"{plugin}/"))
        )
        if own:
            variants[name] = own
    return _Kernels(
        catalogue,
        {name: read_cases(catalogue.kernel(name), catalogue.folders[name][0]) for name in variants},
        frozenset(defined),
        variants,
    )


def _asked(found: _Kernels) -> Iterator[Asked]:
    """Yield every case of every variant, whatever device it needs."""
    for operation, own in found.variants.items():
        anywhere = tuple(attrs.evolve(one, features=(), limits={}) for one in own)
        kernel: Kernel = attrs.evolve(found.catalogue.kernel(operation), variants=anywhere)
        for one in trials(kernel, found.cases[operation], Device(), is_tuned=False):
            yield Asked(operation, one.variant.name, one.case.name)


def _lacking(variant: Variant) -> str:
    limits = [f"{name} >= {least:g}" for name, least in variant.limits.items()]
    return ", ".join((*variant.features, *limits)) or variant.name
