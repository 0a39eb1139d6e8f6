# SPDX-License-Identifier: Apache-2.0
"""The part of the contract of backends that is about sessions: state kept between runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from ..errors import ModelError, SessionLost
from ..protocols import Context, Worker
from ..sessions import checkpoint
from ..sessions.checkpoint import Checkpoint
from ..types import LoadOptions, ModelHandle
from . import models
from .contract import Contract

if TYPE_CHECKING:
    from ..types import ModelSpec

_BATCH = LoadOptions(dimensions={"batch": 2})
_STEPS = models.recurrent_inputs(4)


class SessionContract(Contract):
    """What a backend whose workers keep sessions keeps, beside `BackendContract`."""

    is_simulated: ClassVar[bool]

    @pytest.fixture(scope="class")
    @classmethod
    def recurrent(cls, run: Any, worker: Worker, context: Context) -> ModelHandle:
        """Return tiny_recurrent, loaded on the shared worker."""
        handle: ModelHandle = run(worker.load(models.tiny_recurrent(context.assets), _BATCH))
        return handle

    def test_a_session_carries_its_state(
        self, run: Any, worker: Worker, recurrent: ModelHandle
    ) -> None:
        session, other = (run(worker.open_session(recurrent)) for _ in range(2))
        for inputs, right in zip(_STEPS, self._reference(run, worker, recurrent), strict=True):
            self._check_step(run, worker, recurrent, session, inputs, right)
        # It has not been touched.
        first = self._reference(run, worker, recurrent)[0]
        self._check_step(run, worker, recurrent, other, _STEPS[0], first)
        run(worker.close_session(session))
        run(worker.close_session(other))

    def test_runs_of_a_session_follow_one_another(
        self, run: Any, worker: Worker, recurrent: ModelHandle
    ) -> None:
        async def at_once() -> list[Any]:
            session = await worker.open_session(recurrent)
            runs = (worker.run(recurrent, inputs, session=session) for inputs in _STEPS)
            try:
                return await asyncio.gather(*runs)
            finally:
                await worker.close_session(session)

        expected = self._reference(run, worker, recurrent)
        for result, right in zip(run(at_once()), expected, strict=True):
            self._compare(result.outputs, {"y": right["y"]})

    def test_a_checkpoint_continues_in_another_session(
        self, run: Any, worker: Worker, recurrent: ModelHandle
    ) -> None:
        expected = self._reference(run, worker, recurrent)
        session = run(worker.open_session(recurrent))
        for inputs in _STEPS[:2]:
            run(worker.run(recurrent, inputs, session=session))
        state = run(worker.checkpoint(session))
        run(worker.run(recurrent, _STEPS[3], session=session))  # goes another way
        run(worker.close_session(session))
        read = checkpoint.unpack(state, recurrent.spec)
        assert read.runs == 2
        self._compare(read.tensors, {"h_in": expected[1]["h_out"]})
        again = run(worker.restore(recurrent, state))
        for inputs, right in zip(_STEPS[2:], expected[2:], strict=True):
            self._check_step(run, worker, recurrent, again, inputs, right)
        assert checkpoint.unpack(run(worker.checkpoint(again)), recurrent.spec).runs == 4
        run(worker.close_session(again))

    def test_a_checkpoint_of_anywhere_is_taken(
        self, run: Any, worker: Worker, recurrent: ModelHandle
    ) -> None:
        expected = self._reference(run, worker, recurrent)
        made = Checkpoint(
            model=recurrent.spec.sha256, runs=3, tensors={"h_in": expected[2]["h_out"]}
        )
        session = run(worker.restore(recurrent, checkpoint.pack(made)))
        self._check_step(run, worker, recurrent, session, _STEPS[3], expected[3])
        run(worker.close_session(session))
        unused = Checkpoint(model=recurrent.spec.sha256, runs=0, tensors={})
        session = run(worker.restore(recurrent, checkpoint.pack(unused)))
        self._check_step(run, worker, recurrent, session, _STEPS[0], expected[0])
        run(worker.close_session(session))

    def test_a_failed_run_leaves_the_state(
        self, run: Any, worker: Worker, recurrent: ModelHandle
    ) -> None:
        expected = self._reference(run, worker, recurrent)
        session = run(worker.open_session(recurrent))
        run(worker.run(recurrent, _STEPS[0], session=session))
        wrong = {"x": models.recurrent_inputs(1, batch=3)[0]["x"]}
        for inputs in ({}, {"X": _STEPS[1]["x"]}, wrong, {**_STEPS[1], **_state(recurrent)}):
            with pytest.raises(ModelError):
                run(worker.run(recurrent, inputs, session=session))
        self._check_step(run, worker, recurrent, session, _STEPS[1], expected[1])
        run(worker.close_session(session))

    def test_a_session_that_is_gone_is_lost(
        self, run: Any, worker: Worker, recurrent: ModelHandle, context: Context
    ) -> None:
        closed = run(worker.open_session(recurrent))
        run(worker.run(recurrent, _STEPS[0], session=closed))
        run(worker.close_session(closed))
        mortal = run(worker.load(models.tiny_recurrent(context.assets), _BATCH))
        unloaded = run(worker.open_session(mortal))
        run(worker.unload(mortal))
        for session in (closed, unloaded, "never opened"):
            with pytest.raises(SessionLost) as caught:
                run(worker.run(recurrent, _STEPS[0], session=session))
            assert caught.value.info.hint, "say what to do"
            for work in (worker.checkpoint, worker.close_session):
                with pytest.raises(SessionLost):
                    run(work(session))

    def test_a_session_of_another_model_is_refused(
        self, run: Any, worker: Worker, recurrent: ModelHandle, context: Context
    ) -> None:
        other = run(worker.load(models.tiny_mlp(context.assets), _BATCH))
        with pytest.raises(ModelError, match="no state"):
            run(worker.open_session(other))
        session = run(worker.open_session(recurrent))
        with pytest.raises(ModelError):
            run(worker.run(other, models.mlp_input(), session=session))
        run(worker.close_session(session))
        run(worker.unload(other))

    def test_wrong_checkpoints_are_refused(
        self, run: Any, worker: Worker, recurrent: ModelHandle
    ) -> None:
        session = run(worker.open_session(recurrent))
        run(worker.run(recurrent, _STEPS[0], session=session))
        good = run(worker.checkpoint(session))
        run(worker.close_session(session))
        flipped = good[:-1] + bytes([good[-1] ^ 1])
        later = good[:8] + b"\xff" + good[9:]
        for wrong in (b"", b"junk" * 20, good[:-1], flipped, later, _of_another(recurrent.spec)):
            with pytest.raises(ModelError) as caught:
                run(worker.restore(recurrent, wrong))
            assert caught.value.info.accepted

    # --- inside -------------------------------------------------------------------------------

    def _compare(self, outputs: Any, expected: Any) -> None:
        raise NotImplementedError

    def _reference(self, run: Any, worker: Worker, model: ModelHandle) -> list[dict[str, Any]]:
        """Return what runs that carry the state by hand give: numpy's, or a simulation's own."""
        if not self.is_simulated:
            return models.expected_recurrent(_STEPS)
        state, expected = _state(model), []
        for inputs in _STEPS:
            outputs = run(worker.run(model, {**inputs, **state})).outputs
            state = {"h_in": outputs["h_out"]}
            expected.append(dict(outputs))
        return expected

    def _check_step(
        self, run: Any, worker: Worker, model: ModelHandle, session: str, inputs: Any, right: Any
    ) -> None:
        outputs = run(worker.run(model, inputs, session=session)).outputs
        self._compare(outputs, {"y": right["y"]})
        if self.is_simulated:
            assert (outputs["y"] == right["y"]).all()


def _state(model: ModelHandle) -> dict[str, Any]:
    return dict(checkpoint.first_state(model.spec, _STEPS[0]))


def _of_another(spec: ModelSpec) -> bytes:
    return checkpoint.pack(Checkpoint(model=spec.sha256[::-1], runs=0, tensors={}))
