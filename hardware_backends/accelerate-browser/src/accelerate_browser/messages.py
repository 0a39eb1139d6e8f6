# SPDX-License-Identifier: Apache-2.0
"""Every message between host and page, once. TypeScript declarations are generated from here.

A message crosses as JSON with its class name under `type`; msgspec reads it without coercing
anything. Tensor bytes never enter the JSON: a `TensorHeader` says where they are (see `frames.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

#: Version of this protocol. A page that speaks another one is refused.
PROTOCOL = 1


class Part(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """Be part of a message."""


class _Message(Part, frozen=True, kw_only=True, tag=True, tag_field="type"):
    pass


class TensorHeader(Part, frozen=True, kw_only=True):
    """Announce a tensor: raw little-endian bytes, C order.

    Exactly one of `offset` (inside this message's inline bytes), `stream` (chunk frames that
    follow) and `ref` (already on the page) is set.
    """

    name: str
    dtype: str  #: numpy name: "float32", "int64", "bool", ...
    shape: tuple[int, ...]
    size_bytes: int
    offset: int | None = None
    stream: int | None = None
    ref: str | None = None


class AssetHeader(Part, frozen=True, kw_only=True):
    """Name a file the page fetches from `/assets/<sha256>`."""

    sha256: str
    size_bytes: int
    name: str


class PageError(Part, frozen=True, kw_only=True):
    """Carry an error across, unflattened."""

    name: str  #: JavaScript error name, or one of the kinds below
    message: str
    stack: str = ""
    #: "model" (bad model or input), "unsupported", "device_lost", "out_of_memory", "cancelled",
    #: "unavailable" (the device or API is not there), "internal"
    kind: str = "internal"


class KernelHeader(Part, frozen=True, kw_only=True):
    """Say how long one dispatch took on the device."""

    label: str  #: where in the model
    kernel: str
    ms: float
    flops: int = 0  #: 0 where they are not known


# --- page to host -----------------------------------------------------------------------------


class Hello(_Message, frozen=True, kw_only=True):
    """First message of a page: who it is, before any engine is loaded."""

    protocol: int
    user_agent: str
    cross_origin_isolated: bool
    hardware_concurrency: int
    #: What the page sees: {"gpu": bool, "ml": bool, "opfs": bool, "jspi": bool, ...}
    has: Mapping[str, bool] = msgspec.field(default_factory=dict)


class Ready(_Message, frozen=True, kw_only=True):
    """The engine is loaded and its device answered to a real computation."""

    engine_version: str
    device_type: str | None = None  #: what really computes: "cpu", "gpu", "npu"
    is_software: bool | None = None
    threads: int | None = None
    adapter: Mapping[str, str] | None = None  #: GPUAdapterInfo's fields
    features: tuple[str, ...] = ()
    limits: Mapping[str, int] = msgspec.field(default_factory=dict)
    details: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Pong(_Message, frozen=True, kw_only=True):
    """Answer a Ping, from the page's script."""

    sequence: int
    #: Counts what the compute thread said; while it runs something it says so ten times a second,
    #: and stands still while it is stuck or computes without a pause, as WebAssembly does.
    progress: int
    running: int  #: requests in the compute thread


class Loaded(_Message, frozen=True, kw_only=True):
    """A model is loaded."""

    id: int
    model: str  #: the page's name for it
    fetch_ms: float
    compile_ms: float
    first_run_ms: float | None = None
    is_cached: bool | None = None  #: every asset came from the page's own storage
    details: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Done(_Message, frozen=True, kw_only=True):
    """A run, fetch, release, unload or renew request is answered."""

    id: int
    tensors: tuple[TensorHeader, ...] = ()
    in_page_ms: float | None = None  #: inside the engine: inputs ready to outputs on the CPU side
    #: Every dispatch of a run in order, for a model loaded with `profile`.
    profile: tuple[KernelHeader, ...] = ()
    details: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Failed(_Message, frozen=True, kw_only=True):
    """A request failed; `id` is None when the whole page failed."""

    id: int | None
    error: PageError


class Notice(_Message, frozen=True, kw_only=True):
    """Something happened unasked: "device_lost", "device_restored", "progress", "log"."""

    event: str
    message: str = ""
    data: Mapping[str, Any] = msgspec.field(default_factory=dict)


# --- host to page -----------------------------------------------------------------------------


class Welcome(_Message, frozen=True, kw_only=True):
    """Answer to Hello: which engine to load, from where, with which options."""

    protocol: int
    engine: str
    engine_url: str  #: path on this origin: "/engines/ort-wasm/engine.js"
    needs_gpu: bool = False  #: the runtime opens the GPUDevice before it creates the engine
    options: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Ping(_Message, frozen=True, kw_only=True):
    """Ask the page's script for a sign of life."""

    sequence: int


class Load(_Message, frozen=True, kw_only=True):
    """Load a model: fetch its assets (own storage first), verify them, compile."""

    id: int
    model: str  #: name the host will use in Run
    format: str  #: "onnx", "plan"
    precision: str
    assets: tuple[AssetHeader, ...]  #: the graph first
    #: [{"name", "dtype", "shape"}], a free dimension as a string
    inputs: tuple[Mapping[str, Any], ...]
    outputs: tuple[Mapping[str, Any], ...]
    dimensions: Mapping[str, int] = msgspec.field(default_factory=dict)
    precompile: bool = False
    profile: bool = False


class Run(_Message, frozen=True, kw_only=True):
    """Run a model once."""

    id: int
    model: str
    tensors: tuple[TensorHeader, ...]
    keep: tuple[str, ...] = ()


class Fetch(_Message, frozen=True, kw_only=True):
    """Copy a kept tensor to the host; answered by Done."""

    id: int
    ref: str


class Release(_Message, frozen=True, kw_only=True):
    """Drop a kept tensor; answered by Done."""

    id: int
    ref: str


class Unload(_Message, frozen=True, kw_only=True):
    """Drop a model; answered by Done."""

    id: int
    model: str


class Cancel(_Message, frozen=True, kw_only=True):
    """Give up request `id`. Its answer, if any, is dropped by the host."""

    id: int
    #: When it still computes after this long, the compute worker is terminated, started again,
    #: and its models are loaded again.
    grace_ms: float = 1000.0


class Renew(_Message, frozen=True, kw_only=True):
    """Go on with another compute thread, and so another device, without models.

    What runs fails; answered by Done when the new thread's engine is ready.
    """

    id: int


class Reopen(_Message, frozen=True, kw_only=True):
    """Load the page anew, at this address: it carries another token."""

    url: str


class Echo(_Message, frozen=True, kw_only=True):
    """Send the tensors back unchanged; answered by Done. For measuring the bridge itself."""

    id: int
    tensors: tuple[TensorHeader, ...]


class Bye(_Message, frozen=True, kw_only=True):
    """Dispose of everything; the page closes its socket."""

    reason: str = ""


FromPage: TypeAlias = Hello | Ready | Pong | Loaded | Done | Failed | Notice
FromHost: TypeAlias = (
    Welcome | Ping | Load | Run | Fetch | Release | Unload | Cancel | Renew | Reopen | Echo | Bye
)
