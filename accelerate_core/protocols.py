# SPDX-License-Identifier: Apache-2.0
"""The typed objects plugins hand over. From then on the core calls these, not hooks.

Backend and Worker are asynchronous; Scheduler and Recovery are synchronous and pure; ModelSource,
Processor, Store, Report and Connector are synchronous and run in threads. Each has a base class
here with defaults; what a plugin leaves out raises `Unsupported`.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import attrs

from .errors import Unsupported
from .types import (
    Availability,
    Chunk,
    Connection,
    LoadOptions,
    Measurement,
    ModelHandle,
    ModelSpec,
    ProcessorSpec,
    Result,
    RunInfo,
    RunSummary,
    Target,
    TensorRef,
    WorkerEvent,
    WorkerInfo,
)

if TYPE_CHECKING:
    from .assets import AssetStore
    from .events import Event, Regression
    from .fleet.policy import Action, Decision, FailedAttempt, FleetView, JobView, Mend
    from .hookspecs import Family
    from .types import Array

    Inputs: TypeAlias = Mapping[str, Array | TensorRef]

SessionId: TypeAlias = str


class Plugins(Protocol):
    """Give a plugin the plugins of families it owns or uses."""

    def add_family(self, family: Family) -> None:
        """Learn a family of hooks that a distribution opens; twice is no error."""
        ...

    def names(self, family: str) -> Sequence[str]:
        """Return the installed plugin names of a family; imports nothing."""
        ...

    def create(
        self, family: str, name: str, settings: Mapping[str, Any] | None = None, *, where: str = ""
    ) -> Any:
        """Create a plugin's object; ConfigError or PluginError when that cannot be."""
        ...


@attrs.frozen(kw_only=True)
class Context:
    """What every plugin gets: folders, assets, a logger, and other plugins."""

    assets: AssetStore
    cache_dir: Path  #: may be deleted at any time without loss
    state_dir: Path  #: outlives runs: slots, profiles
    plugins: Plugins
    log: logging.Logger = attrs.field(factory=lambda: logging.getLogger("accelerate"))


# --- executing --------------------------------------------------------------------------------


class Worker:
    """One live executor. Many models per worker; every call may raise `WorkerLost`."""

    info: WorkerInfo
    #: Takes tensors kept by other workers that relay; they cross the host as raw bytes.
    relays: bool = False

    async def load(self, spec: ModelSpec, options: LoadOptions | None = None) -> ModelHandle:
        """Load a model; ModelError when the worker cannot run it."""
        raise Unsupported("this worker cannot load models")

    async def run(
        self,
        model: ModelHandle,
        inputs: Inputs,
        *,
        session: SessionId | None = None,
        keep: Collection[str] = (),
    ) -> Result:
        """Run once. Outputs named in `keep` stay on the worker as `TensorRef`s.

        Cancelling the task cancels the run; it ends when the worker is free for another. ModelError
        for wrong names, dtypes or shapes.
        """
        raise Unsupported("this worker cannot run models")

    def stream(
        self, model: ModelHandle, inputs: Inputs, *, session: SessionId | None = None
    ) -> AsyncIterator[Chunk]:
        """Run and yield partial outputs as they come."""
        raise Unsupported("this worker does not stream")

    async def open_session(self, model: ModelHandle) -> SessionId:
        """Open state kept between runs: a KV cache, a recurrent state.

        `Sessions` of accelerate_core.sessions.kept is what workers that keep state are made of.
        """
        raise Unsupported("this worker keeps no sessions")

    async def checkpoint(self, session: SessionId) -> bytes:
        """Return a session's state between two runs; SessionLost when it is gone."""
        raise Unsupported("this worker keeps no sessions")

    async def restore(self, model: ModelHandle, state: bytes) -> SessionId:
        """Open a session from a checkpoint."""
        raise Unsupported("this worker keeps no sessions")

    async def close_session(self, session: SessionId) -> None:
        """Drop a session and its memory."""
        raise Unsupported("this worker keeps no sessions")

    async def fetch(self, ref: TensorRef) -> Array:
        """Copy a kept tensor to the host."""
        raise Unsupported("this worker keeps no tensors")

    async def release(self, ref: TensorRef) -> None:
        """Drop a kept tensor."""
        raise Unsupported("this worker keeps no tensors")

    async def unload(self, model: ModelHandle) -> None:
        """Drop a model and its memory."""
        raise Unsupported("this worker cannot unload models")

    async def mend(self, how: Mend) -> None:
        """Become as new by the given means, without models, sessions and kept tensors.

        What runs meanwhile fails. WorkerLost when that did not help; Mend.RESTART is not for it.
        """
        raise Unsupported("this worker cannot be mended")

    async def memory(self) -> int | None:
        """Return the bytes the worker's process tree holds (PSS), or None where unknown."""
        return None

    async def close(self, *, kill: bool = False) -> None:
        """Stop the worker and free all it holds. Safe to call twice; never raises WorkerLost."""

    async def events(self) -> AsyncIterator[WorkerEvent]:
        """Yield what happens unasked; ends when the worker is gone."""
        return
        yield  # an async generator


class Backend:
    """A way to execute, made once per host by `backend_create`."""

    #: `LoadOptions.dimensions` must fix every free dimension.
    needs_static_shapes: bool = False

    def loads_for_sizes(self, target: Target) -> bool:
        """Whether a load is for the sizes in `LoadOptions.dimensions`, where they are known."""
        return self.needs_static_shapes

    async def discover(self) -> Sequence[Availability]:
        """Say which targets exist here. Looks for binaries and packages; starts nothing."""
        raise Unsupported("this backend does not say what it can start")

    async def start(self, target: Target, ctx: Context) -> Worker:
        """Start a worker for a concrete target.

        BackendUnavailable names what is missing and how to get it. Whatever was started is
        stopped again when this raises or is cancelled.
        """
        raise Unsupported("this backend cannot start workers")

    async def close(self) -> None:
        """Free what all workers of this backend share. Called after the last worker closed."""


# --- deciding ---------------------------------------------------------------------------------


class Scheduler(Protocol):
    """Choose workers. Pure: no clock, no I/O; `fleet.now_ns` and `fleet.rng` are given.

    One with `sees_fallbacks = True` is shown all targets a job still allows, not the best one only,
    and may choose any of them; a worker is started for each, as far as there is room. One with
    `sees_paces = True` is told of each worker its `pace` and `attempts`, which costs every job.
    """

    def pick(self, job: JobView, fleet: FleetView) -> Decision:
        """Return a Placement, Wait or Reject for one job."""
        ...


class Recovery(Protocol):
    """Decide what follows a failed attempt. Pure, like a Scheduler.

    A strategy that hedges also has `hedge_after(job, fleet) -> int | None`, asked at every
    dispatch: after how many nanoseconds a second attempt is wanted.
    """

    def decide(self, failed: FailedAttempt, job: JobView, fleet: FleetView) -> Action:
        """Return Retry or GiveUp."""
        ...


# --- models -----------------------------------------------------------------------------------


class Processor(Protocol):
    """Turn raw inputs into tensors and outputs into answers, in numpy, on the host."""

    def encode(self, raw: Any, **options: Any) -> Mapping[str, Array]:
        """Return the model's input tensors. ModelError for raw inputs it cannot take."""
        ...

    def decode(self, outputs: Mapping[str, Array], encoded: Mapping[str, Array]) -> Any:
        """Return the answer for `outputs`; `encoded` is what encode returned."""
        ...

    def sample(self, batch_size: int, sequence_length: int | None) -> Any:
        """Return raw inputs for a benchmark: deterministic, realistic, of the asked size."""
        ...


class ModelSource(Protocol):
    """Find models for one or more reference schemes (`file:`, `dir:`, ...)."""

    def resolve(self, reference: str, *, name: str, precision: str = "fp32") -> ModelSpec:
        """Return the model, its assets present in the asset store.

        `reference` includes its scheme. ModelError when it is not usable; nothing is left behind.
        """
        ...

    def processor(self, spec: ProcessorSpec) -> Processor:
        """Build the processor a spec of this source asks for."""
        ...


# --- keeping and telling ----------------------------------------------------------------------


@attrs.frozen
class Table:
    """Hold the answer to a query."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@attrs.frozen(kw_only=True)
class Migration:
    """Bring a contributed table set from `version - 1` to `version`."""

    version: int
    sql: str


@attrs.frozen(kw_only=True)
class TableSet:
    """Contribute tables: every table name starts with `namespace + "_"`."""

    namespace: str
    migrations: tuple[Migration, ...]
    #: What each `table` and each `table.column` means, for the data dictionary; a unit stands in
    #: brackets at the end.
    meanings: Mapping[str, str] = attrs.field(factory=dict)
    #: `table.column` that names a row of another table by a number of a sequence -> that table's
    #: `table.column`: rows that are merged into another database get new numbers there.
    references: Mapping[str, str] = attrs.field(factory=dict)


class Transaction(Protocol):
    """Run several statements as one."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Table:
        """Run one statement inside the transaction."""
        ...


class Store(Protocol):
    """Remember runs. Thread-safe; a call returns after its commit. StoreError otherwise."""

    def save_run(self, run: RunInfo) -> None:
        """Insert or update a run, by id."""
        ...

    def save_connection(self, connection: Connection) -> None:
        """Insert or update a worker's life, by id."""
        ...

    def save_measurement(self, measurement: Measurement) -> int:
        """Insert one measurement and return its row id."""
        ...

    def runs(self, limit: int = 20) -> Sequence[RunInfo]:
        """Return the latest runs, newest first."""
        ...

    def summary(self, run_id: str) -> RunSummary:
        """Return one run with its measurements in the order they were saved.

        Those that repeat another (`again_of`) are left out.
        """
        ...

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Table:
        """Run a read-only query."""
        ...

    def transaction(self) -> contextlib.AbstractContextManager[Transaction]:
        """Open a transaction; commits when the block ends well, else rolls back."""
        ...

    def close(self) -> None:
        """Commit what is queued and let go of the file."""
        ...


class Analysis(Protocol):
    """Judge a run against what the store remembers. Called in a thread, the run's rows stored.

    What it raises is shown as a problem: the results of the run do not depend on it.
    """

    def suspects(self, summary: RunSummary, store: Store) -> Collection[str]:
        """Return the ids of measurements that look worse than their history.

        Their cells are measured again, on fresh workers, before `conclude`.
        """
        ...

    def conclude(
        self, summary: RunSummary, again: Sequence[Measurement], store: Store
    ) -> Sequence[Regression]:
        """Store what is confirmed, and return what people are to be told of, worst first.

        `again` are the second measurements, as they were stored.
        """
        ...


class Report(Protocol):
    """Write what a run found."""

    def write(self, summary: RunSummary) -> Path | None:
        """Write the report and return its path, or None when it went to the terminal.

        A file is replaced as a whole or not at all.
        """
        ...


class Connector(Protocol):
    """Tell people and systems outside."""

    def deliver(self, event: Event) -> None:
        """Deliver one event; ConnectorError when it could not be."""
        ...

    def check(self) -> Sequence[str]:
        """Return what is wrong with settings, reachability and rights; empty when all is well."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


@attrs.frozen(kw_only=True)
class DoctorFinding:
    """Report one thing `accel doctor` looked at."""

    name: str
    is_ok: bool
    detail: str = ""
    remedy: str | None = None  #: command that mends it
    can_fix: bool = False


class DoctorCheck(Protocol):
    """Look at one thing, and mend it when asked."""

    def run(self, *, fix: bool = False) -> Sequence[DoctorFinding]:
        """Look, and with `fix` mend what `can_fix` says can be mended."""
        ...
