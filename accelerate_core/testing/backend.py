# SPDX-License-Identifier: Apache-2.0
"""The contract of backends, and of the workers they start."""

from __future__ import annotations

import asyncio
import pickle
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from ..assets import AssetStore
from ..errors import BackendUnavailable, ModelError, WorkerLost
from ..protocols import Backend, Context, Worker
from ..serial import from_plain, to_plain
from ..types import LoadOptions, ModelHandle, ModelSpec, Target, WorkerInfo
from . import models
from .contract import Contract
from .pytest_plugin import make_context

if TYPE_CHECKING:
    import psutil

_BATCH = LoadOptions(dimensions={"batch": 2})


_WRONG = ("missing", "unknown", "misspelt", "dtype", "rank", "fixed dimension", "not an array")


def _wrong_inputs(kind: str) -> dict[str, Any]:
    right = models.matmul_input()["x"]
    return {
        "missing": {},
        "unknown": {"x": right, "mask": right},
        "misspelt": {"X": right},
        "dtype": {"x": right.astype("float64")},
        "rank": {"x": right[0]},
        "fixed dimension": {"x": right[:, :1]},
        "not an array": {"x": right.tolist()},
    }[kind]


class BackendContract(Contract):
    """What every backend keeps. Supply the fixture `backend`:

        @pytest.fixture(scope="class")
        @classmethod
        def backend(cls, context):
            return MyPlugin().backend_create(None, context)

    One worker serves most of the suite, so the fixture lives as long as the class.
    """

    #: Which target to test; None: the first that `discover` says is available.
    target: ClassVar[str | None] = None
    #: Largest relative L2 distance to the exact answer.
    tolerance: ClassVar[float] = 1e-3
    #: True only for a backend whose numbers are invented; then they are not compared.
    is_simulated: ClassVar[bool] = False
    #: Seconds that a run takes at least which is cancelled.
    slow_s: ClassVar[float] = 0.3
    #: Seconds after which a cancelled run must have let go of the worker.
    cancel_grace_s: ClassVar[float] = 15.0
    #: Seconds after which everything that was stopped must be gone.
    leave_within_s: ClassVar[float] = 10.0

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, context: Context) -> Backend:
        """Return the backend under test."""
        raise NotImplementedError("supply the fixture `backend`")

    @pytest.fixture(scope="class")
    @classmethod
    def context(cls, tmp_path_factory: pytest.TempPathFactory) -> Context:
        """Return what the backend gets from the host."""
        return make_context(tmp_path_factory.mktemp("accelerate"))

    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, backend: Backend) -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
        """Return a runner of coroutines: one event loop for the whole class."""
        with asyncio.Runner() as runner:
            yield runner.run
            runner.run(backend.close())

    @pytest.fixture(scope="class")
    @classmethod
    def asked(cls, run: Any, backend: Backend) -> Target:
        """Return the concrete target under test."""
        found = run(backend.discover())
        wanted = Target.parse(cls.target) if cls.target else None
        for one in found:
            if one.is_available and (wanted is None or wanted.covers(one.target)):
                target: Target = one.target
                return target
        said = "; ".join(f"{one.target}: {one.reason} ({one.remedy})" for one in found)
        pytest.fail(f"{wanted or 'every target'} is unavailable here: {said or 'nothing found'}")

    @pytest.fixture(scope="class")
    @classmethod
    def worker(cls, run: Any, backend: Backend, asked: Target, context: Context) -> Iterator[Any]:
        """Return a started worker, shared by the class."""
        worker = run(backend.start(asked, context))
        yield worker
        run(worker.close())

    @pytest.fixture(scope="class")
    @classmethod
    def matmul(cls, run: Any, worker: Worker, context: Context) -> ModelHandle:
        """Return tiny_matmul, loaded on the shared worker."""
        handle: ModelHandle = run(worker.load(models.tiny_matmul(context.assets), _BATCH))
        return handle

    # --- finding and starting -----------------------------------------------------------------

    def test_discover_is_quick_and_starts_nothing(self, run: Any, backend: Backend) -> None:
        before, begin = _leftovers(), time.monotonic()
        found = run(backend.discover())
        assert time.monotonic() - begin < 3, "discover looks, it does not try"
        assert _leftovers() <= before, "discover started something"
        assert found, "name every target this backend could serve, available or not"
        for one in found:
            assert not one.target.is_pattern, f"{one.target} is no concrete target"
            if not one.is_available:
                assert one.reason, f"{one.target}: say why not"
        assert found == run(backend.discover()), "two looks differ"

    def test_info_is_honest_and_crosses_hosts(self, worker: Worker, asked: Target) -> None:
        info = worker.info
        assert asked.covers(info.target), f"asked for {asked}, got {info.target}"
        assert info.is_simulated is self.is_simulated
        assert info.slots >= 1
        assert info.engine_version, "say which engine, in which version"
        assert from_plain(to_plain(info), WorkerInfo) == info
        assert pickle.loads(pickle.dumps(info)) == info

    def test_unknown_targets_are_unavailable(
        self, run: Any, backend: Backend, asked: Target, context: Context
    ) -> None:
        before = _leftovers()
        for wrong in (
            Target("no-such-backend"),
            Target(asked.backend, "no-such-engine", asked.browser),
            Target(asked.backend, asked.engine, "no-such-browser"),
        ):
            with pytest.raises(BackendUnavailable) as caught:
                run(backend.start(wrong, context))
            assert caught.value.info.hint, f"say how to get {wrong}, or what to ask instead"
        self._assert_gone(run, before)

    def test_a_life_leaves_nothing_behind(
        self, run: Any, backend: Backend, asked: Target, context: Context, worker: Worker
    ) -> None:
        async def live() -> None:
            mortal = await backend.start(asked, context)
            listener = asyncio.create_task(_drain_events(mortal))
            handle = await mortal.load(models.tiny_matmul(context.assets), _BATCH)
            await mortal.run(handle, models.matmul_input())
            await mortal.close()
            await mortal.close()
            await asyncio.wait_for(listener, 10)  # events end with the worker
            with pytest.raises(WorkerLost):
                await mortal.run(handle, models.matmul_input())
            with pytest.raises(WorkerLost):
                await mortal.load(models.tiny_matmul(context.assets), _BATCH)

        before = _leftovers()
        run(live())
        self._assert_gone(run, before)

    @pytest.mark.parametrize("delay_s", [0.0, 0.05])
    def test_cancelled_start_leaves_nothing_behind(
        self,
        run: Any,
        backend: Backend,
        asked: Target,
        context: Context,
        worker: Worker,
        delay_s: float,
    ) -> None:
        async def cancel() -> None:
            start = asyncio.create_task(backend.start(asked, context))
            await asyncio.sleep(delay_s)
            start.cancel()
            try:
                started = await asyncio.wait_for(start, 30)
            except asyncio.CancelledError:
                return
            await started.close()  # it was quicker

        before = _leftovers()
        run(cancel())
        self._assert_gone(run, before)

    # --- running ------------------------------------------------------------------------------

    def test_matmul_is_right(self, run: Any, worker: Worker, matmul: ModelHandle) -> None:
        inputs = models.matmul_input()
        first, second = (run(worker.run(matmul, inputs)) for _ in range(2))
        self._compare(first.outputs, models.expected_matmul(inputs))
        self._compare(second.outputs, first.outputs)

    def test_every_output_comes(self, run: Any, worker: Worker, context: Context) -> None:
        handle = run(worker.load(models.tiny_mlp(context.assets), _BATCH))
        inputs = models.mlp_input()
        result = run(worker.run(handle, inputs))
        self._compare(result.outputs, models.expected_mlp(inputs))
        run(worker.unload(handle))

    def test_other_batch_size(self, run: Any, worker: Worker, context: Context) -> None:
        options = LoadOptions(dimensions={"batch": 5}, precompile=True)
        handle = run(worker.load(models.tiny_mlp(context.assets), options))
        inputs = models.mlp_input(5)
        self._compare(run(worker.run(handle, inputs)).outputs, models.expected_mlp(inputs))
        run(worker.unload(handle))

    def test_external_data_is_found(self, run: Any, worker: Worker, context: Context) -> None:
        handle = run(worker.load(models.tiny_external(context.assets), _BATCH))
        inputs = models.matmul_input()
        self._compare(run(worker.run(handle, inputs)).outputs, models.expected_matmul(inputs))
        run(worker.unload(handle))

    def test_phases_say_where_time_went(
        self, run: Any, worker: Worker, matmul: ModelHandle, context: Context
    ) -> None:
        assert matmul.phases.compile_ms is not None and matmul.phases.compile_ms >= 0
        in_page_ms = run(worker.run(matmul, models.matmul_input())).phases.in_page_ms
        assert in_page_ms is not None and in_page_ms >= 0

    def test_two_models_at_once(
        self, run: Any, worker: Worker, matmul: ModelHandle, context: Context
    ) -> None:
        other = run(worker.load(models.tiny_mlp(context.assets), _BATCH))
        left, right = models.matmul_input(), models.mlp_input()

        async def both() -> tuple[Any, Any]:
            return await asyncio.gather(worker.run(matmul, left), worker.run(other, right))

        first, second = run(both())
        self._compare(first.outputs, models.expected_matmul(left))
        self._compare(second.outputs, models.expected_mlp(right))
        run(worker.unload(other))
        with pytest.raises(ModelError):
            run(worker.run(other, right))
        self._check_alive(run, worker, matmul)

    def test_concurrent_runs_get_their_own_answers(
        self, run: Any, worker: Worker, matmul: ModelHandle
    ) -> None:
        many = [{"x": models.matmul_input()["x"] + number} for number in range(8)]

        async def all_at_once() -> list[Any]:
            return await asyncio.gather(*(worker.run(matmul, inputs) for inputs in many))

        for inputs, result in zip(many, run(all_at_once()), strict=True):
            self._compare(result.outputs, models.expected_matmul(inputs))

    def test_memory_is_bytes_or_unknown(self, run: Any, worker: Worker) -> None:
        held = run(worker.memory())
        assert held is None or held > 1 << 20

    # --- bad input ----------------------------------------------------------------------------

    @pytest.mark.parametrize("wrong", _WRONG)
    def test_wrong_inputs_are_refused(
        self, run: Any, worker: Worker, matmul: ModelHandle, wrong: str
    ) -> None:
        with pytest.raises(ModelError) as caught:
            run(worker.run(matmul, _wrong_inputs(wrong)))
        assert caught.value.info.accepted, "list the inputs the model takes"
        self._check_alive(run, worker, matmul)

    @pytest.mark.parametrize("make", [models.garbage, models.truncated, models.unknown_operator])
    def test_broken_models_are_refused(
        self,
        run: Any,
        worker: Worker,
        matmul: ModelHandle,
        context: Context,
        make: Callable[[AssetStore], ModelSpec],
    ) -> None:
        with pytest.raises(ModelError):
            run(worker.load(make(context.assets), _BATCH))
        self._check_alive(run, worker, matmul)

    def test_cancelled_run_frees_the_worker(
        self, run: Any, worker: Worker, matmul: ModelHandle, context: Context
    ) -> None:
        slow, inputs = run(_slow_enough(worker, context, self.slow_s))

        async def cancel() -> None:
            task = asyncio.create_task(worker.run(slow, inputs))
            await asyncio.sleep(0.03)
            assert not task.done()
            task.cancel()
            done, _ = await asyncio.wait({task}, timeout=self.cancel_grace_s)
            assert done, f"still running {self.cancel_grace_s} s after it was cancelled"
            assert task.cancelled(), "cancelling a run raises CancelledError"

        run(cancel())
        self._check_alive(run, worker, matmul)
        run(worker.unload(slow))

    # --- inside -------------------------------------------------------------------------------

    def _check_alive(self, run: Any, worker: Worker, matmul: ModelHandle) -> None:
        inputs = models.matmul_input()

        async def soon() -> Any:
            return await asyncio.wait_for(worker.run(matmul, inputs), self.cancel_grace_s)

        self._compare(run(soon()).outputs, models.expected_matmul(inputs))

    def _compare(self, outputs: Any, expected: Any) -> None:
        import numpy as np

        assert set(outputs) == set(expected)
        for name, right in expected.items():
            value = outputs[name]
            assert isinstance(value, np.ndarray), f"{name} is a {type(value).__name__}"
            assert (value.dtype, value.shape) == (right.dtype, right.shape), name
            if not self.is_simulated:
                error = float(np.linalg.norm(value - right) / np.linalg.norm(right))
                assert error <= self.tolerance, f"{name} is wrong: relative L2 {error:.3g}"

    def _assert_gone(self, run: Any, before: set[str]) -> None:
        deadline = time.monotonic() + self.leave_within_s
        while more := _leftovers(before) - before:
            assert time.monotonic() < deadline, f"left behind: {', '.join(sorted(more))}"
            run(asyncio.sleep(0.05))


async def _slow_enough(worker: Worker, context: Context, least_s: float) -> tuple[ModelHandle, Any]:
    """Return a loaded model, and inputs with which a run takes `least_s` or more on this worker."""
    spec = models.slow_chain(context.assets)
    for size in (64, 128, 256, 512, 1024, 2048, 4096):
        handle = await worker.load(spec, LoadOptions(dimensions={"n": size}, precompile=True))
        inputs = models.slow_input(size)
        # Twice: one slow run on a busy machine says little.
        if min([await _seconds(worker, handle, inputs) for _ in range(2)]) >= least_s:
            return handle, inputs
        await worker.unload(handle)
    pytest.fail(f"64 products of 4096 x 4096 in less than {least_s} s: nothing to cancel")


async def _seconds(worker: Worker, handle: ModelHandle, inputs: Any) -> float:
    begin = time.monotonic()
    await worker.run(handle, inputs)
    return time.monotonic() - begin


def _leftovers(known: Collection[str] = ()) -> set[str]:
    """Return the threads and child processes there are now, without children of `known` ones.

    A browser of another test may start a process whenever it likes.
    """
    import psutil

    threads = {
        f"thread {thread.name}"
        for thread in threading.enumerate()
        # The event loop's own pool, kept until the loop closes.
        if not thread.name.startswith("asyncio_")
    }
    children = set()
    for child in psutil.Process().children(recursive=True):
        try:
            is_foreign = any(_named(parent) in known for parent in child.parents())
            if child.status() != psutil.STATUS_ZOMBIE and not is_foreign:
                children.add(_named(child))
        except psutil.NoSuchProcess:
            pass
    return threads | children


def _named(process: psutil.Process) -> str:
    return f"process {process.pid} {process.name()}"


async def _drain_events(worker: Worker) -> None:
    async for _ in worker.events():
        pass
