# SPDX-License-Identifier: Apache-2.0
"""Jobs that outlive their process: accepted means written down, and answered once.

What is guaranteed, and what is not: docs/durability.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from ..errors import AccelerateError, ConfigError, ModelError, Overloaded, StoreError
from ..running.runner import Runner
from ..running.work import Answer, Work
from .journal import Journal, Record, open_journal
from .journal.frames import What
from .records import (
    Request,
    answer_records,
    digest_of,
    failure_record,
    read_answer,
    read_request,
    request_records,
)

if TYPE_CHECKING:
    from ..host import Host
    from ..protocols import Inputs
    from ..types import Target

    Find = Callable[[Target, str | None], Awaitable[Target]]

Prepare = Callable[[Work], Awaitable[None]]


@attrs.define(eq=False)
class _Live:
    """One job that this process does."""

    digest: str
    #: Done once the job is on the disk; None where it was there before.
    written: asyncio.Future[None] | None = None
    task: asyncio.Task[Answer] = attrs.field(init=False)

    @property
    def is_kept(self) -> bool:
        """Whether the journal has the job."""
        return self.written is None or self.written.done()

    @property
    def is_answered(self) -> bool:
        """Whether the journal has its answer, or its error."""
        if not self.task.done() or self.task.cancelled():
            return False
        return not isinstance(self.task.exception(), StoreError)


class DurableJobs:
    """Accept, finish, resume and hand out durable jobs. Use from one event loop.

    Cancelling who waits for an answer cancels no job; `acknowledge` does.
    """

    def __init__(self, runner: Runner, journal: Journal, *, prepare: Prepare | None = None) -> None:
        """`prepare` is awaited before a job of another process runs: it makes its model present."""
        self._runner = runner
        self._journal = journal
        self._prepare = prepare
        self._live: dict[str, _Live] = {}
        self._forgetting: set[asyncio.Task[bool]] = set()

    async def accept(
        self, work: Work, inputs: Inputs, *, job_id: str | None = None, **options: Any
    ) -> str:
        """Return the job's id once the job is on the disk; it is done in the background.

        A `job_id` that is known already names the same job: nothing is done twice. `options` are
        `Runner.submit`'s. StoreError when it cannot be written, Overloaded when it is not taken,
        ModelError for inputs that are no named arrays, ConfigError when the id belongs to another
        request: then nothing is accepted.
        """
        job_id, _ = await self._accept(work, inputs, job_id, options)
        return job_id

    async def submit(
        self,
        work: Work,
        inputs: Inputs,
        *,
        job_id: str | None = None,
        is_kept: bool | None = None,
        **options: Any,
    ) -> Answer:
        """Accept a job and return its answer, or raise its error, once that is on the disk, too.

        Unless the answer `is_kept` (by default where the caller gave the `job_id`), returning it
        acknowledges it.
        """
        is_kept = job_id is not None if is_kept is None else is_kept
        known_id, live = await self._accept(work, inputs, job_id, options)
        if live is None:
            return await self.answer(known_id)
        try:
            return await asyncio.shield(live.task)
        finally:
            if not is_kept and live.is_answered:
                forgetting = asyncio.ensure_future(self.acknowledge(known_id))
                self._forgetting.add(forgetting)
                forgetting.add_done_callback(self._forgetting.discard)

    async def answer(self, job_id: str) -> Answer:
        """Return the answer of an accepted job, or raise its error, waiting until there is one.

        ConfigError for a job that nobody accepted, or whose answer was acknowledged.
        """
        live = self._live.get(job_id)
        if live is None:
            record, value = await self._found(job_id)
            if record.what is not What.ACCEPTED:
                return read_answer(record, value)
            live = self._live.get(job_id) or self._begin(job_id, read_request(record, value))
        return await asyncio.shield(live.task)

    async def jobs(self) -> Mapping[str, bool]:
        """Return the jobs nobody acknowledged, oldest first, and whether they have an answer."""
        return await asyncio.wrap_future(self._journal.jobs())

    async def resume(self) -> tuple[str, ...]:
        """Begin the accepted jobs without an answer that a dead process left; return their ids."""
        found = []
        for job_id, is_answered in (await self.jobs()).items():
            if is_answered or job_id in self._live:
                continue
            record, value = await self._found(job_id)
            if job_id not in self._live:
                self._begin(job_id, read_request(record, value))
                found.append(job_id)
        return tuple(found)

    async def acknowledge(self, job_id: str) -> bool:
        """Forget a job and its answer, and stop it where it still runs; False if it is unknown."""
        if (live := self._live.get(job_id)) is not None:
            live.task.cancel()
            await asyncio.wait({live.task})
        return await self._write(Record(what=What.FORGOTTEN, job=job_id))

    async def close(self) -> None:
        """Leave what is not done to the next process, and the journal. Before `Runner.close`."""
        tasks = [live.task for live in self._live.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._forgetting, return_exceptions=True)
        await asyncio.to_thread(self._journal.close)

    # --- inside -------------------------------------------------------------------------------

    async def _accept(
        self, work: Work, inputs: Inputs, job_id: str | None, options: Mapping[str, Any]
    ) -> tuple[str, _Live | None]:
        if not isinstance(inputs, Mapping):
            raise ModelError(
                f"the inputs are a {type(inputs).__name__}",
                where=f"model {work.spec.name}",
                accepted=["arrays by the names of the model's inputs"],
                hint="Text and images are encoded where a model is called: model(inputs).",
            )
        digest = await asyncio.to_thread(digest_of, work, inputs) if job_id is not None else ""
        if job_id is not None and (known := await self._digest(job_id)) is not None:
            if known != digest:
                raise ConfigError(
                    f"the job id {job_id!r} belongs to another request",
                    where="job_id",
                    hint="One id names one model with one set of inputs, until it is acknowledged.",
                )
            live = self._live.get(job_id)
        else:
            job_id = job_id or secrets.token_hex(16)
            request = Request(work=work, inputs=inputs, digest=digest, options=options)
            live = self._begin(job_id, request, asyncio.get_running_loop().create_future())
        if live is not None and live.written is not None:
            waiting: set[asyncio.Future[Any]] = {live.task, live.written}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if not live.is_kept:
                await asyncio.shield(live.task)  # it was not taken, and says why
        return job_id, live

    async def _digest(self, job_id: str) -> str | None:
        """Return the digest of the request that an id stands for, if any."""
        found = None
        if job_id not in self._live:
            found = await asyncio.wrap_future(self._journal.read(job_id))
        # While this was read, another caller may have come with the same id.
        live = self._live.get(job_id)
        return live.digest if live else found[0].meta["digest"] if found else None

    def _begin(
        self, job_id: str, request: Request, written: asyncio.Future[None] | None = None
    ) -> _Live:
        live = self._live[job_id] = _Live(request.digest, written)
        live.task = asyncio.ensure_future(self._run(job_id, request, live))

        def ended(task: asyncio.Task[Answer]) -> None:
            del self._live[job_id]
            if not task.cancelled():
                task.exception()  # it is in the journal, whoever waits for it or not

        live.task.add_done_callback(ended)
        return live

    async def _run(self, job_id: str, request: Request, live: _Live) -> Answer:
        async def persist(_: str) -> None:
            if live.written is not None:
                await self._write(*request_records(job_id, request))
                live.written.set_result(None)

        try:
            if live.written is None and self._prepare is not None:
                await self._prepare(request.work)
            while True:
                try:
                    answer = await self._runner.submit(
                        request.work,
                        request.inputs,
                        job_id=job_id,
                        persist=persist,
                        **request.options,
                    )
                    break
                except Overloaded as error:
                    # What was accepted is not refused afterwards.
                    if live.written is not None:
                        raise
                    await asyncio.sleep(error.info.retry_after or 1.0)
        except AccelerateError as error:
            if live.is_kept:
                await self._write(failure_record(job_id, request.digest, error.info))
            raise
        if not await self._write(*answer_records(job_id, request.digest, answer)):
            raise StoreError(
                f"the job {job_id} was answered or forgotten before", where=str(self._journal.path)
            )
        return answer

    async def _found(self, job_id: str) -> tuple[Record, Record | None]:
        found = await asyncio.wrap_future(self._journal.read(job_id))
        if found is None:
            raise ConfigError(
                f"no job {job_id!r} is accepted here",
                where=str(self._journal.path),
                hint="Its answer was acknowledged, or another process has it.",
            )
        return found

    async def _write(self, record: Record, value: Record | None = None) -> bool:
        # Shielded: a record is written as a whole or not begun, whoever still waits for it.
        return await asyncio.shield(asyncio.wrap_future(self._journal.write(record, value)))


class DurableRequests:
    """Do an Accelerator's durable requests; the journal is opened with the first of them."""

    def __init__(self, host: Host, runner: Runner, find: Find) -> None:
        """`find` returns a target as it can be started here, its backend made."""
        self._host = host
        self._runner = runner
        self._find = find
        self._opening: asyncio.Task[DurableJobs] | None = None

    async def jobs(self) -> DurableJobs:
        """Return the durable jobs of this process; those that dead ones left are begun.

        StoreError when the journal cannot be opened.
        """
        if self._opening is None or (self._opening.done() and self._opening.exception()):
            self._opening = asyncio.ensure_future(self._open())
        return await asyncio.shield(self._opening)

    async def submit(self, work: Work, inputs: Inputs, *, job_id: str, **options: Any) -> Answer:
        """Run a job as `Runner.submit` does; returning its answer acknowledges it."""
        jobs = await self.jobs()
        return await jobs.submit(work, inputs, job_id=job_id, is_kept=False, **options)

    async def close(self) -> None:
        """Leave what is not done to the next process."""
        if self._opening is not None:
            with contextlib.suppress(StoreError):
                await (await self._opening).close()

    async def _open(self) -> DurableJobs:
        journal = await asyncio.to_thread(open_journal, self._host.context.state_dir)
        jobs = DurableJobs(self._runner, journal, prepare=self._prepare)
        await jobs.resume()
        return jobs

    async def _prepare(self, work: Work) -> None:
        """Make present what a job of another process needs: backends, and the model's files."""
        for target in work.targets:
            await self._find(target, work.task)
        for spec in (one.spec for one in (work, *work.degraded)):
            if all(map(self._host.context.assets.has, spec.assets)):
                continue
            found = await asyncio.to_thread(
                self._host.resolve_model, spec.source, name=spec.name, precision=spec.precision
            )
            if found.sha256 != spec.sha256:
                raise ModelError(
                    f"{spec.source} is another model than the one this job was accepted for",
                    where=spec.name,
                    hint="Put the old files back, or acknowledge the job.",
                )
