# SPDX-License-Identifier: Apache-2.0
"""How far a variant's outputs lie from its original's, on native ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate_core.assets import AssetStore
from accelerate_core.errors import ModelError
from accelerate_core.measuring.numbers import relative_l2, synthetic_inputs
from accelerate_core.types import ModelSpec

from .processors import build_processor

if TYPE_CHECKING:
    from accelerate_core.types import Array

#: Positions of made-up inputs: enough for attention to mix, few enough for any model.
_LENGTH = 8


def measure_error(
    original: ModelSpec, variant: ModelSpec, assets: AssetStore, scratch: Path
) -> dict[str, Any]:
    """Return the relative L2 distance of each output, and what it was measured on.

    Where the original cannot be run, or no variant of its kind, the distances are None and
    `reason` says why; a variant that cannot be run is a ModelError.
    """
    import onnxruntime as ort  # type: ignore[import-untyped]

    if variant.precision == "int3":
        return {"relative_l2": None, "reason": "ONNX Runtime has no weights of 3 bits"}
    facts = {"against": "fp32", "runtime": f"onnxruntime {ort.__version__} cpu"}
    try:
        inputs, facts["inputs"] = _inputs(original, assets)
        wanted = _run(original, inputs, assets, scratch)
    except Exception as error:  # ONNX Runtime's errors share no base class
        return {"relative_l2": None, "reason": str(error), **facts}
    try:
        got = _run(variant, inputs, assets, scratch)
        distances = {name: relative_l2({name: got[name]}, {name: wanted[name]}) for name in wanted}
    except Exception as error:  # as above
        raise ModelError(
            f"its {variant.precision} variant does not run where the fp32 model does: {error}",
            where=original.source,
            accepted=("fp32",),
        ) from error
    return {"relative_l2": {name: float(f"{d:.3g}") for name, d in distances.items()}, **facts}


def _inputs(spec: ModelSpec, assets: AssetStore) -> tuple[Mapping[str, Array], str]:
    if spec.processor is None:
        return synthetic_inputs(spec, 1, _LENGTH), f"made-up inputs of length {_LENGTH}"
    processor = build_processor(spec.processor, assets)
    return processor.encode(processor.sample(1, None)), "the processor's sample"


def _run(
    spec: ModelSpec, inputs: Mapping[str, Array], assets: AssetStore, scratch: Path
) -> dict[str, Array]:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    # A second, repacked copy of the weights would be faster, and is used once.
    options.add_session_config_entry("session.disable_prepacking", "1")
    with assets.laid_out(spec.assets, scratch, where=f"model {spec.name}") as folder:
        session = ort.InferenceSession(
            folder / spec.assets[0].name, options, providers=["CPUExecutionProvider"]
        )
    names = [output.name for output in spec.outputs]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))
