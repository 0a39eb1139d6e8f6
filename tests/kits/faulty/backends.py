# SPDX-License-Identifier: Apache-2.0
"""Backends that break the contract, each in its own way."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import attrs
import numpy as np
import pytest
from accelerate_cpu import CpuSettings
from accelerate_cpu.backend import CpuBackend, CpuWorker

from accelerate_core.errors import ModelError
from accelerate_core.testing import BackendContract, SessionContract
from accelerate_core.types import Availability, Phases, Result, Target


class _Kit(BackendContract, SessionContract):
    leave_within_s = 0.3
    cancel_grace_s = 0.3
    worker_class: type[CpuWorker] = CpuWorker

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, context: Any) -> Any:
        return cls.make()

    @classmethod
    def make(cls) -> Any:
        worker_class = cls.worker_class

        class Backend(CpuBackend):
            async def start(self, target: Target, ctx: Any) -> Any:
                worker: Any = await super().start(target, ctx)
                worker.__class__ = worker_class
                return worker

        return Backend(CpuSettings(threads=1))


class WrongNumbers(_Kit):
    caught_by = (
        "test_matmul_is_right",
        "test_every_output_comes",
        "test_other_batch_size",
        "test_external_data_is_found",
        "test_two_models_at_once",
        "test_concurrent_runs_get_their_own_answers",
    )

    class worker_class(CpuWorker):
        async def run(self, *args: Any, **kwargs: Any) -> Result:
            result = await super().run(*args, **kwargs)
            return attrs.evolve(
                result, outputs={k: v * np.float32(1.01) for k, v in result.outputs.items()}
            )


class DoublePrecision(_Kit):
    caught_by = ("test_matmul_is_right",)

    class worker_class(CpuWorker):
        async def run(self, *args: Any, **kwargs: Any) -> Result:
            result = await super().run(*args, **kwargs)
            return attrs.evolve(
                result, outputs={k: v.astype("float64") for k, v in result.outputs.items()}
            )


class MixesAnswers(_Kit):
    caught_by = ("test_concurrent_runs_get_their_own_answers",)

    class worker_class(CpuWorker):
        async def run(self, model: Any, inputs: Any, **kwargs: Any) -> Result:
            self.latest = inputs
            await asyncio.sleep(0.01)
            return await super().run(model, self.latest, **kwargs)


class OneModelOnly(_Kit):
    caught_by = ("test_two_models_at_once",)

    class worker_class(CpuWorker):
        async def load(self, *args: Any, **kwargs: Any) -> Any:
            self._loaded.clear()
            return await super().load(*args, **kwargs)


class NoPhases(_Kit):
    caught_by = ("test_phases_say_where_time_went",)

    class worker_class(CpuWorker):
        async def run(self, *args: Any, **kwargs: Any) -> Result:
            return attrs.evolve(await super().run(*args, **kwargs), phases=Phases())


class MemoryInMegabytes(_Kit):
    caught_by = ("test_memory_is_bytes_or_unknown",)

    class worker_class(CpuWorker):
        async def memory(self) -> int:
            return 120


class UntypedErrors(_Kit):
    caught_by = ("test_wrong_inputs_are_refused", "test_broken_models_are_refused")

    class worker_class(CpuWorker):
        async def load(self, *args: Any, **kwargs: Any) -> Any:
            try:
                return await super().load(*args, **kwargs)
            except ModelError as error:
                raise RuntimeError("no") from error

        async def run(self, *args: Any, **kwargs: Any) -> Result:
            try:
                return await super().run(*args, **kwargs)
            except ModelError as error:
                raise ValueError("no") from error


class DiesOfABadModel(_Kit):
    caught_by = ("test_broken_models_are_refused",)

    class worker_class(CpuWorker):
        async def load(self, *args: Any, **kwargs: Any) -> Any:
            try:
                return await super().load(*args, **kwargs)
            except ModelError:
                await self.close()
                raise


class IgnoresCancelling(_Kit):
    caught_by = ("test_cancelled_run_frees_the_worker",)

    class worker_class(CpuWorker):
        async def run(self, *args: Any, **kwargs: Any) -> Result:
            task = asyncio.create_task(super().run(*args, **kwargs))
            while not task.done():
                try:
                    await asyncio.shield(task)
                except asyncio.CancelledError:
                    continue
            return task.result()


class HasNoRemedy(_Kit):
    caught_by = ("test_discover_is_quick_and_starts_nothing",)

    @classmethod
    def make(cls) -> Any:
        class Backend(CpuBackend):
            async def discover(self) -> Any:
                missing = Availability(target=Target("cpu", "other"), is_available=False)
                return [*await super().discover(), missing]

        return Backend(CpuSettings())


class SaysItIsSimulated(_Kit):
    caught_by = ("test_info_is_honest_and_crosses_hosts",)

    class worker_class(CpuWorker):
        @property
        def info(self) -> Any:
            return attrs.evolve(self._info, is_simulated=True)

        @info.setter
        def info(self, value: Any) -> None:
            self._info = value

    @classmethod
    def make(cls) -> Any:
        worker_class = cls.worker_class

        class Backend(CpuBackend):
            async def start(self, target: Target, ctx: Any) -> Any:
                worker: Any = await super().start(target, ctx)
                info = worker.__dict__.pop("info")
                worker.__class__ = worker_class
                worker.info = info
                return worker

        return Backend(CpuSettings())


class StartsAnything(_Kit):
    caught_by = ("test_unknown_targets_are_unavailable",)

    @classmethod
    def make(cls) -> Any:
        class Backend(CpuBackend):
            async def start(self, target: Target, ctx: Any) -> Any:
                return await super().start(Target("cpu"), ctx)

        return Backend(CpuSettings())


class LeavesAThread(_Kit):
    caught_by = (
        "test_a_life_leaves_nothing_behind",
        "test_cancelled_start_leaves_nothing_behind",
    )

    @classmethod
    def make(cls) -> Any:
        class Backend(CpuBackend):
            async def start(self, target: Target, ctx: Any) -> Any:
                threading.Timer(2, print).start()
                return await super().start(target, ctx)

        return Backend(CpuSettings())


class CannotCloseTwice(_Kit):
    caught_by = ("test_a_life_leaves_nothing_behind",)

    class worker_class(CpuWorker):
        async def close(self, *, kill: bool = False) -> None:
            if self._is_closed:
                raise RuntimeError("closed already")
            await super().close()


class ForgetsItsState(_Kit):
    caught_by = (
        "test_a_session_carries_its_state",
        "test_a_checkpoint_of_anywhere_is_taken",
        "test_a_checkpoint_continues_in_another_session",
        "test_a_failed_run_leaves_the_state",
        "test_runs_of_a_session_follow_one_another",
    )

    class worker_class(CpuWorker):
        async def run(self, model: Any, inputs: Any, *, session: Any = None, **kw: Any) -> Result:
            if session is not None:
                session = await self.open_session(model)
            return await super().run(model, inputs, session=session, **kw)


class LetsRunsOverlap(_Kit):
    caught_by = ("test_runs_of_a_session_follow_one_another",)

    class worker_class(CpuWorker):
        async def run(self, model: Any, inputs: Any, *, session: Any = None, **kw: Any) -> Result:
            if session in self._states._open:
                self._states._open[session].turn = asyncio.Lock()
            return await super().run(model, inputs, session=session, **kw)


class RestoresNothing(_Kit):
    caught_by = (
        "test_a_checkpoint_continues_in_another_session",
        "test_a_checkpoint_of_anywhere_is_taken",
        "test_wrong_checkpoints_are_refused",
    )

    class worker_class(CpuWorker):
        async def restore(self, model: Any, state: bytes) -> str:
            return await self.open_session(model)


class LosesStateWithAFailure(_Kit):
    caught_by = ("test_a_failed_run_leaves_the_state",)

    class worker_class(CpuWorker):
        async def run(self, model: Any, inputs: Any, *, session: Any = None, **kw: Any) -> Result:
            try:
                return await super().run(model, inputs, session=session, **kw)
            except ModelError:
                if session in self._states._open:
                    self._states._open[session].state = {}
                raise


class OpensWhatIsAsked(_Kit):
    caught_by = (
        "test_a_session_that_is_gone_is_lost",
        "test_a_session_of_another_model_is_refused",
    )

    class worker_class(CpuWorker):
        async def run(self, model: Any, inputs: Any, *, session: Any = None, **kw: Any) -> Result:
            found = self._states._open.get(session)
            if session is not None and (found is None or found.model.id != model.id):
                session = None
                inputs = {"h_in": np.zeros((2, 4), np.float32), **inputs}
                inputs = {one.name: inputs[one.name] for one in model.spec.inputs}
            return await super().run(model, inputs, session=session, **kw)
