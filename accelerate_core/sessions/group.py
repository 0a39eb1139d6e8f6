# SPDX-License-Identifier: Apache-2.0
"""One model cut into stages, each on a worker of its own; requests flow through them in order.

Stages work at the same time, on different steps. When the worker of one is lost all go back to
one restart point: the last step that every stage has finished, and of which every stage with
state has a checkpoint. From there the steps are done again; each is answered once. What is done
about the worker that failed, and whether the group goes on, is for the recovery strategy to say.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from ..errors import AccelerateError, ConfigError, JobTimeout, ModelError, SessionLost, Unsupported
from ..fleet.policy import Action, GiveUp, Membership, Retry
from ..inputs import own_copy
from ..types import TensorRef
from .cut import Cut
from .seats import Seat

if TYPE_CHECKING:
    from ..running.runner import Runner
    from ..running.work import Work
    from ..types import Array

    Values: TypeAlias = dict[str, Array | TensorRef]

_log = logging.getLogger("accelerate.group")

#: Restarts without an answer between them; the steps that wait fail after so many.
MAX_RESTARTS = 4
#: Errors of a step that is at fault itself.
_ITS_OWN = (ModelError, Unsupported, JobTimeout)


@attrs.define(eq=False)
class _Step:
    number: int
    inputs: Mapping[str, Array]
    answer: asyncio.Future[dict[str, Array]]


class _Broken(Exception):
    """A stage failed: `stage` says which, `step` at what, `action` what a strategy made of it."""

    def __init__(
        self,
        stage: int,
        step: _Step | None,
        error: AccelerateError,
        action: Action | None = None,
    ) -> None:
        super().__init__(str(error))
        self.stage, self.step, self.error, self.action = stage, step, error, action


class Group:
    """Run the stages of one model on several workers."""

    def __init__(
        self,
        runner: Runner,
        stages: Sequence[Work],
        *,
        sync_steps: int = 16,
        timeout_s: float | None = None,
    ) -> None:
        """Check that the stages fit one another; start nothing yet.

        A checkpoint of stages with state is due every `sync_steps` steps. ConfigError for more
        stages than there may be workers, ModelError for stages that do not fit.
        """
        if len(stages) > runner.max_workers:
            raise ConfigError(
                f"{len(stages)} stages need a worker each, and there may be {runner.max_workers}",
                where="group",
                hint="Raise [pool] max_connections, or cut into fewer parts.",
            )
        self._runner = runner
        self._stages = tuple(stages)
        self._cut = Cut([work.spec for work in stages])
        self._sync_steps = sync_steps
        self._timeout_s = timeout_s
        self._seats: list[Seat | None] = [None] * len(stages)
        self._avoid: tuple[str, ...] = ()  # workers that the strategy does not want again
        self._failures = 0  # since the last answer
        self._failing_since_ns: int | None = None
        self._queues: list[asyncio.Queue[tuple[_Step, Values]]] = []
        self._log: dict[int, _Step] = {}  # steps after the restart point, by number
        self._states: dict[int, bytes] = {}  # at the restart point, by stage
        self._saved: dict[int, dict[int, bytes]] = {}  # later ones, by step and stage
        self._kept: dict[TensorRef, Seat] = {}  # on their way from stage to stage
        self._wanted = asyncio.Event()
        self._driver: asyncio.Task[None] | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._numbers = 0
        self._is_closed = False
        #: The step all stages go back to when one is lost.
        self.restart_point = 0
        #: Steps answered.
        self.steps = 0
        #: How often the stages went back.
        self.restarts = 0

    async def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run one step after all asked for before; returns the outputs no later stage takes.

        ModelError for wrong inputs: the step never was. Whoever cancels gives up the answer; the
        step is done all the same.
        """
        if self._is_closed:
            raise _closed()
        self._cut.check(inputs)
        own = {name: own_copy(name, value) for name, value in inputs.items()}
        self._numbers += 1
        loop = asyncio.get_running_loop()
        step = _Step(self._numbers, own, loop.create_future())
        self._log[step.number] = step
        if self._queues:
            self._queues[0].put_nowait((step, dict(own)))
        self._wanted.set()
        if self._driver is None:
            self._driver = loop.create_task(self._drive())
        return await step.answer

    async def close(self) -> None:
        """Give up what waits, and free what the stages hold; safe to call twice."""
        self._is_closed = True
        if self._driver is not None:
            self._driver.cancel()
            await asyncio.gather(self._driver, return_exceptions=True)
        for step in self._log.values():
            _fail(step, _closed())
        self._log.clear()
        for ref in list(self._kept):
            self._free(ref)
        for stage in range(len(self._stages)):
            self._give_up(stage)
        await asyncio.gather(*self._background)

    # --- restarting ---------------------------------------------------------------------------

    async def _drive(self) -> None:
        """Let steps flow, from the restart point again whenever a stage fails."""
        while True:
            if all(step.answer.done() for step in self._log.values()):
                self._recovered()
                self._wanted.clear()
                await self._wanted.wait()
            try:
                await self._seat_all()
                await self._flow()
            except _Broken as broken:
                self._failures += 1
                self._failing_since_ns = self._failing_since_ns or time.perf_counter_ns()
                self._settle(broken)
                if isinstance(broken.action, Retry):
                    await asyncio.sleep(broken.action.delay_ns / 1e9)
            except Exception as error:
                # A bug must not leave callers waiting.
                for step in self._log.values():
                    _fail(step, error)
                raise

    def _recovered(self) -> None:
        self._failures, self._failing_since_ns = 0, None

    def _settle(self, broken: _Broken) -> None:
        """Answer the steps that are not tried again, and have the rest done again."""
        is_last = isinstance(broken.action, GiveUp) or self._failures > MAX_RESTARTS
        self._avoid = broken.action.avoid if isinstance(broken.action, Retry) else ()
        if broken.step is not None and isinstance(broken.error, _ITS_OWN):
            _fail(broken.step, broken.error)
            self._log.pop(broken.step.number, None)
        elif is_last:
            for step in [one for one in self._log.values() if not one.answer.done()]:
                _fail(step, broken.error)
                del self._log[step.number]
        if not isinstance(broken.error, ModelError | Unsupported):
            self._give_up(broken.stage)
        self._queues = []
        self._saved.clear()
        for ref in list(self._kept):
            self._free(ref)
        self.restarts += 1
        _log.warning("back to step %d: %s", self.restart_point, broken)

    async def _seat_all(self) -> None:
        """Have every stage on a worker of its own, in the state of the restart point."""
        for stage, work in enumerate(self._stages):
            seat, state = self._seats[stage], self._states.get(stage)
            try:
                if seat is not None:
                    with contextlib.suppress(AccelerateError):  # it is lost, too
                        self._seats[stage] = await self._runner.seats.rewind(
                            seat, state, timeout_s=self._timeout_s
                        )
                        continue
                    self._give_up(stage)
                others = [one for one in self._seats if one is not None]
                self._seats[stage] = await self._runner.seats.take(
                    work,
                    state=state,
                    avoid=(*(one.pin.worker_id for one in others), *self._avoid),
                    timeout_s=self._timeout_s,
                )
            except AccelerateError as error:
                raise _Broken(stage, None, error) from error

    # --- flowing ------------------------------------------------------------------------------

    async def _flow(self) -> None:
        """Run all stages until one fails."""
        self._queues = [asyncio.Queue() for _ in self._stages]
        for step in self._log.values():
            self._queues[0].put_nowait((step, dict(step.inputs)))
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(self._work(stage)) for stage in range(len(self._stages))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        done.pop().result()

    async def _work(self, stage: int) -> None:
        """Do the steps that come to one stage, and pass them on."""
        seat = self._seats[stage]
        assert seat is not None
        while True:
            step, values = await self._queues[stage].get()
            said: list[Action] = []
            try:
                values |= await self._run_stage(stage, seat, values, said.append)
                if seat.session is not None and step.number % self._sync_steps == 0:
                    state = await self._runner.seats.checkpoint(seat, timeout_s=self._timeout_s)
                    self._saved.setdefault(step.number, {})[stage] = state
            except AccelerateError as error:
                raise _Broken(stage, step, error, *said) from error
            self._release(stage, values)
            if stage + 1 < len(self._stages):
                self._queues[stage + 1].put_nowait((step, values))
            else:
                self._answer(step, values)

    async def _run_stage(
        self, stage: int, seat: Seat, values: Values, decided: Callable[[Action], None]
    ) -> Values:
        others = [one for one in self._seats if one is not None and one is not seat]
        membership = Membership(
            unaffected=tuple(one.pin.worker_id for one in others),
            failures=self._failures,
            failing_since_ns=self._failing_since_ns,
        )
        answer = await self._runner.submit(
            self._stages[stage],
            {name: values[name] for name in self._cut.takes[stage]},
            seat=seat,
            keep=self._keep(stage),
            timeout_s=self._timeout_s,
            group=membership,
            decided=decided,
        )
        outputs = dict(answer.result.outputs)
        refs = [value for value in outputs.values() if isinstance(value, TensorRef)]
        self._kept |= dict.fromkeys(refs, seat)
        return outputs

    def _keep(self, stage: int) -> list[str]:
        """Return the outputs that go from this stage's worker to others without the host."""
        relays = [
            seat is not None and self._runner.seats.worker(seat).relays for seat in self._seats
        ]
        if not relays[stage]:
            return []
        passed = self._cut.passed[stage].items()
        return [name for name, takers in passed if all(relays[taker] for taker in takers)]

    def _answer(self, step: _Step, values: Values) -> None:
        """Answer a step that every stage has finished."""
        if not step.answer.done():
            self.steps += 1
            self._recovered()
            outputs: Any = {name: values[name] for name in self._cut.outputs}
            step.answer.set_result(outputs)
        is_stateless = all(seat is None or seat.session is None for seat in self._seats)
        if is_stateless or step.number in self._saved:
            self.restart_point = step.number
            self._states = self._saved.pop(step.number, {})
            for number in [one for one in self._log if one <= step.number]:
                del self._log[number]

    def _release(self, stage: int, values: Values) -> None:
        """Drop kept tensors that no later stage takes."""
        for name in self._cut.last_taken_by[stage]:
            value = values.pop(name)
            if isinstance(value, TensorRef):
                self._free(value)

    def _free(self, ref: TensorRef) -> None:
        seat = self._kept.pop(ref)
        self._spawn(self._runner.seats.release(seat, ref))

    def _give_up(self, stage: int) -> None:
        seat, self._seats[stage] = self._seats[stage], None
        if seat is not None:
            self._spawn(self._runner.seats.leave(seat))

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _fail(step: _Step, error: Exception) -> None:
    if not step.answer.done():
        step.answer.set_exception(error)


def _closed() -> SessionLost:
    return SessionLost("this group is closed", hint="Make another.")
