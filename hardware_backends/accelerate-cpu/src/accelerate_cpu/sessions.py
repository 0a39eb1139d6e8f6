# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime, synchronously: make sessions out of assets, run them, name their faults."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnxruntime as ort  # type: ignore[import-untyped]

from accelerate_core.errors import ModelError
from accelerate_core.types import ModelSpec

if TYPE_CHECKING:
    from accelerate_core.assets import AssetStore
    from accelerate_core.types import Array

    from . import CpuSettings

_LEVELS = {
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_PREFIX = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from .*? failed:)?", re.S)
_FATAL = 4  # log severity: what matters comes as an exception


def session_options(settings: CpuSettings, threads: int) -> ort.SessionOptions:
    """Return options for one session."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = _LEVELS[settings.optimization]
    options.log_severity_level = _FATAL
    return options


def open_session(
    spec: ModelSpec, assets: AssetStore, scratch: Path, options: ort.SessionOptions
) -> tuple[ort.InferenceSession, float]:
    """Return a session and the milliseconds its creation took; ModelError when there is none."""
    try:
        with _laid_out(spec, assets, scratch) as graph:
            begin = time.perf_counter()
            session = ort.InferenceSession(
                graph, sess_options=options, providers=["CPUExecutionProvider"]
            )
            return session, (time.perf_counter() - begin) * 1e3
    except ModelError:
        raise
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise ModelError(
            f"ONNX Runtime {ort.__version__} cannot load it: {_reason(error)}",
            where=f"model {spec.name} ({spec.source})",
            hint="Check the file with onnx.checker.check_model, or export it again.",
        ) from error


def run_session(
    session: ort.InferenceSession,
    spec: ModelSpec,
    inputs: Mapping[str, Array],
    options: ort.RunOptions,
) -> tuple[dict[str, Any], float]:
    """Return all outputs by name and the milliseconds the run took."""
    names = [output.name for output in spec.outputs]
    try:
        begin = time.perf_counter()
        values = session.run(names, dict(inputs), options)
        elapsed_ms = (time.perf_counter() - begin) * 1e3
    except Exception as error:  # as above
        raise ModelError(
            f"ONNX Runtime {ort.__version__} cannot run it: {_reason(error)}",
            where=f"model {spec.name} ({spec.source})",
        ) from error
    return dict(zip(names, values, strict=True)), elapsed_ms


@contextlib.contextmanager
def _laid_out(spec: ModelSpec, assets: AssetStore, scratch: Path) -> Iterator[str]:
    """Yield the graph's path, with its external data beside it under the names it asks for.

    The session holds what it mapped, so the folder may go once it is made.
    """
    graph, *data = spec.assets
    if not data:
        yield str(assets.path(graph.sha256))
        return
    where = f"model {spec.name} ({spec.source})"
    with assets.laid_out(spec.assets, scratch, where=where) as folder:
        yield str(folder / graph.name)


def _reason(error: Exception) -> str:
    """Return the message without ONNX Runtime's prefix and the asset's path."""
    return _PREFIX.sub("", str(error)).strip() or type(error).__name__
