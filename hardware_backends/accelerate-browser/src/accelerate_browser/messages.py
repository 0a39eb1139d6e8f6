# SPDX-License-Identifier: Apache-2.0
"""Every message between host and page, once. TypeScript declarations are generated from here.

A message crosses as JSON with its class name under `type`. Tensor bytes never enter the JSON:
a `TensorHeader` says where they are (see `frames.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs

#: Version of this protocol. A page that speaks another one is refused.
PROTOCOL = 1


@attrs.frozen(kw_only=True)
class TensorHeader:
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


@attrs.frozen(kw_only=True)
class AssetHeader:
    """Name a file the page fetches from `/assets/<sha256>`."""

    sha256: str
    size_bytes: int
    name: str


@attrs.frozen(kw_only=True)
class PageError:
    """Carry an error across, unflattened."""

    name: str  #: JavaScript error name, or one of the kinds below
    message: str
    stack: str = ""
    #: "model" (bad model or input), "unsupported", "device_lost", "out_of_memory", "cancelled",
    #: "unavailable" (the device or API is not there), "internal"
    kind: str = "internal"


# --- page to host -----------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Hello:
    """First message of a page: who it is, before any engine is loaded."""

    protocol: int
    user_agent: str
    cross_origin_isolated: bool
    hardware_concurrency: int
    #: What the page sees: {"gpu": bool, "ml": bool, "opfs": bool, "jspi": bool, ...}
    has: Mapping[str, bool] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Ready:
    """The engine is loaded and its device answered to a real computation."""

    engine_version: str
    device_type: str | None = None  #: what really computes: "cpu", "gpu", "npu"
    is_software: bool | None = None
    threads: int | None = None
    adapter: Mapping[str, str] | None = None  #: GPUAdapterInfo's fields
    features: tuple[str, ...] = ()
    limits: Mapping[str, int] = attrs.field(factory=dict)
    details: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Pong:
    """Answer a Ping, from the page's script."""

    sequence: int
    #: Counts what the compute thread did; it stands still while the thread is stuck.
    progress: int
    running: int  #: requests in the compute thread


@attrs.frozen(kw_only=True)
class Loaded:
    """A model is loaded."""

    id: int
    model: str  #: the page's name for it
    fetch_ms: float
    compile_ms: float
    first_run_ms: float | None = None
    is_cached: bool | None = None  #: every asset came from the page's own storage
    details: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Done:
    """A run, fetch, release, unload or memory request is answered."""

    id: int
    tensors: tuple[TensorHeader, ...] = ()
    in_page_ms: float | None = None  #: inside the engine: inputs ready to outputs on the CPU side
    details: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Failed:
    """A request failed; `id` is None when the whole page failed."""

    id: int | None
    error: PageError


@attrs.frozen(kw_only=True)
class Notice:
    """Something happened unasked: "device_lost", "device_restored", "memory" or "log"."""

    event: str
    message: str = ""
    data: Mapping[str, Any] = attrs.field(factory=dict)


# --- host to page -----------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class Welcome:
    """Answer to Hello: which engine to load, from where, with which options."""

    protocol: int
    engine: str
    engine_url: str  #: path on this origin: "/engines/ort-wasm/engine.js"
    needs_gpu: bool = False  #: the runtime opens the GPUDevice before it creates the engine
    options: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Ping:
    """Ask the page's script for a sign of life."""

    sequence: int


@attrs.frozen(kw_only=True)
class Load:
    """Load a model: fetch its assets (own storage first), verify them, compile."""

    id: int
    model: str  #: name the host will use in Run
    format: str  #: "onnx"
    precision: str
    assets: tuple[AssetHeader, ...]  #: the graph first
    #: [{"name", "dtype", "shape"}], a free dimension as a string
    inputs: tuple[Mapping[str, Any], ...]
    outputs: tuple[Mapping[str, Any], ...]
    dimensions: Mapping[str, int] = attrs.field(factory=dict)
    precompile: bool = False


@attrs.frozen(kw_only=True)
class Run:
    """Run a model once."""

    id: int
    model: str
    tensors: tuple[TensorHeader, ...]
    keep: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Fetch:
    """Copy a kept tensor to the host; answered by Done."""

    id: int
    ref: str


@attrs.frozen(kw_only=True)
class Release:
    """Drop a kept tensor; answered by Done."""

    id: int
    ref: str


@attrs.frozen(kw_only=True)
class Unload:
    """Drop a model; answered by Done."""

    id: int
    model: str


@attrs.frozen(kw_only=True)
class Cancel:
    """Give up request `id`. Its answer, if any, is dropped by the host."""

    id: int
    #: When it still computes after this long, the compute worker is terminated, started again,
    #: and its models are loaded again.
    grace_ms: float = 1000.0


@attrs.frozen(kw_only=True)
class Echo:
    """Send the tensors back unchanged; answered by Done. For measuring the bridge itself."""

    id: int
    tensors: tuple[TensorHeader, ...]


@attrs.frozen(kw_only=True)
class Bye:
    """Dispose of everything; the page closes its socket."""

    reason: str = ""


FromPage: TypeAlias = Hello | Ready | Pong | Loaded | Done | Failed | Notice
FromHost: TypeAlias = Welcome | Ping | Load | Run | Fetch | Release | Unload | Cancel | Echo | Bye
