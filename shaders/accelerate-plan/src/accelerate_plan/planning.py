# SPDX-License-Identifier: Apache-2.0
"""From a model to a plan for a device, made once and remembered under `<cache_dir>/plans`."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from accelerate_core.types import Asset, ModelSpec

from . import plan as plan_file
from .catalogue import Catalogue, load_catalogue
from .choosing import chooser
from .kernels import DEFAULT_LIMITS, Device
from .remembering import Remembered
from .tuning_book import read_book

if TYPE_CHECKING:
    from accelerate_core.assets import AssetStore
    from accelerate_core.protocols import Context

    from .assemble import Assembled

_LIBRARIES = ("accelerate-plan", "accelerate-models", "onnx", "onnxruntime")


def plan_for(
    spec: ModelSpec, dimensions: Mapping[str, int], device: Device, ctx: Context
) -> ModelSpec:
    """Return an ONNX model as a plan for a device: assets are the plan and its weights, if any.

    `dimensions` gives a size to each free dimension of its inputs. What was compiled before is
    found again; a plan that is damaged or from another version is made anew. ModelError for a
    missing size, Unsupported for an operator that no kernel does.
    """
    free = {size for one in spec.inputs for size in one.shape if isinstance(size, str)}
    sizes = {name: dimensions[name] for name in sorted(free) if name in dimensions}
    catalogue = load_catalogue(ctx.plugins)
    book = read_book(ctx.state_dir, device.adapter)
    key = _key(spec.sha256, sizes, _facts(device), _digest(catalogue), book.digest, _versions())
    remembered = Remembered(ctx.cache_dir / "plans", ctx.assets)
    compiled = remembered.find(key, ModelSpec)
    if compiled is None:
        # Only now: onnx and ONNX Runtime take longer to import than a plan takes to find.
        from .compiler import compile_graph
        from .importing import import_onnx
        from .storing import store_plan

        graph = import_onnx(spec, sizes, ctx.assets, ctx.cache_dir / "scratch")
        about = {"model": spec.sha256, "source": spec.source, "dimensions": sizes}
        assembled = compile_graph(graph, catalogue, device, chooser(book), about=about)
        weights = _weights(assembled, ctx.assets, remembered)
        compiled = store_plan(assembled, ctx.assets, weights=weights, source=spec.source)
        remembered.keep(key, compiled, compiled.assets)
    return attrs.evolve(
        spec,
        sha256=compiled.sha256,
        assets=compiled.assets,
        inputs=compiled.inputs,
        outputs=compiled.outputs,
        format="plan",
    )


def _weights(assembled: Assembled, assets: AssetStore, remembered: Remembered) -> Asset | None:
    """Return the weights of a plan, packed and written when no plan had the same.

    Plans of one model for other sizes do: only the first of them pays for its weights.
    """
    if not assembled.plan.weights_bytes:
        return None
    key = f"weights-{_key(assembled.weights_digest, _versions())}"
    found = remembered.find(key, Asset)
    if found is None:
        from .storing import store_weights

        found = store_weights(assembled, assets)
        remembered.keep(key, found, (found,))
    return found


# --- what a plan depends on -------------------------------------------------------------------


def _facts(device: Device) -> dict[str, Any]:
    return {
        "features": sorted(device.features),
        "limits": {name: device.limit(name) for name in DEFAULT_LIMITS},
        "is_software": device.is_software,
    }


def _digest(catalogue: Catalogue) -> str:
    digest = hashlib.sha256()
    for name in sorted(catalogue.kernels):
        kernel = catalogue.kernels[name]
        digest.update(repr(kernel).encode())  # all but the sources, which it leaves out
        for variant in kernel.variants:
            digest.update(variant.source.encode())
    return digest.hexdigest()


def _versions() -> list[str]:
    libraries = [f"{name} {metadata.version(name)}" for name in _LIBRARIES]
    return [*libraries, f"compiler {_compiler()}", f"format {plan_file.VERSION}"]


@functools.cache
def _compiler() -> str:
    """Return a hash of all that decides what a plan looks like: no version has to be raised."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _key(*facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
