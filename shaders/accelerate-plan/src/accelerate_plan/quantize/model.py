# SPDX-License-Identifier: Apache-2.0
"""Quantize all matrices of a network, by any method and under any budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs
import numpy as np
from accelerate_models.quantized import BITS, GROUPS, Quantized

from accelerate_core.errors import ConfigError

from . import solvers
from .answers import Answers, Data, Likeness, cosines
from .grids import Format
from .mixing import MOST_BITS, mean_bits, spread, wider
from .network import Layer, Network

if TYPE_CHECKING:
    from accelerate_core.types import Array

    Inputs: TypeAlias = Mapping[str, Array]

Say: TypeAlias = Callable[[str], None]
METHODS = ("rtn", "hqq", "gptq")
_SENSITIVITY_INPUTS = 48


@attrs.frozen(kw_only=True)
class Recipe:
    """Say how to quantize; ConfigError for what cannot be done."""

    bits: int = attrs.field(default=4)
    group: int = 32
    #: rtn: nearest code, with a search for scales; hqq: half-quadratic; gptq: with calibration.
    method: Literal["rtn", "hqq", "gptq"] = "rtn"
    budget: float | None = None  #: mean bits per weight; sensitive layers get more than `bits`

    def __attrs_post_init__(self) -> None:
        _check("--bits", self.bits, BITS)
        _check("--group", self.group, GROUPS)
        _check("--method", self.method, METHODS)
        if self.budget is not None and not self.bits <= self.budget <= MOST_BITS:
            raise ConfigError(
                f"a mean of {self.budget:g} bits cannot be had from {self.bits} bits on",
                where="--budget",
                accepted=(f"{self.bits} to {MOST_BITS}",),
            )

    @property
    def needs_calibration(self) -> bool:
        """Whether inputs are needed: to weigh errors, or to see which layers are sensitive."""
        return self.method == "gptq" or self.budget is not None


@attrs.frozen(eq=False)
class Outcome:
    """Hold quantized matrices, and what they do to the model's answers."""

    matrices: Mapping[str, Quantized]
    errors: Mapping[str, float]  #: relative error of each layer's output, or of its weights
    errors_are_of: Literal["outputs", "weights"]
    mean_bits: float
    likeness: Likeness


def quantize(
    network: Network,
    answers: Answers,
    recipe: Recipe,
    data: Data,
    *,
    moments: Mapping[str, Array] | None = None,
    say: Say = lambda _text: None,
) -> Outcome:
    """Return a network's matrices quantized, and how its answers to held-out inputs changed.

    Answers are those of native ONNX Runtime with the matrices dequantized to float32. `moments`
    are those of the calibration inputs, where they were measured before.
    """
    if recipe.needs_calibration and not data.calibration:
        raise ConfigError(
            "this needs texts to calibrate with",
            where="--budget" if recipe.method != "gptq" else "--method gptq",
            hint="Give a file with a text a line: --calibrate FILE.txt.",
        )
    if moments is None and data.calibration:
        say(f"calibrating with {len(data.calibration)} inputs")
    moments = moments or measure_moments(network, data.calibration)
    bits = dict.fromkeys((one.name for one in network.layers), recipe.bits)
    if recipe.budget is not None:
        bits = _bits_of(network, answers, recipe, data, moments, say)
    made = {}
    for number, layer in enumerate(network.layers, 1):
        say(f"[{number}/{len(network.layers)}] {layer.name} to {bits[layer.name]} bits")
        made[layer.name] = solve(network, layer, recipe, bits[layer.name], moments)
    say(f"measuring on {data.about}")
    replaced = {name: one.dequantize() for name, one in made.items()}
    wanted = answers.of(data.held_out, {})
    found = cosines(answers.of(data.held_out, replaced), wanted)
    return Outcome(
        matrices=made,
        errors={
            one.name: relative_error(network.weights[one.name], replaced[one.name], moments, one)
            for one in network.layers
        },
        errors_are_of="outputs" if moments else "weights",
        mean_bits=mean_bits(bits, {one.name: one.size for one in network.layers}),
        likeness=Likeness.of(found, data.about),
    )


def solve(
    network: Network, layer: Layer, recipe: Recipe, bits: int, moments: Mapping[str, Array]
) -> Quantized:
    """Return one layer's matrix in so many bits."""
    matrix, format = network.weights[layer.name], Format(bits, recipe.group)
    if recipe.method == "gptq":
        return solvers.compensated(matrix, moments_of(layer, moments), format)
    if recipe.method == "hqq" and bits < MOST_BITS:
        return solvers.half_quadratic(matrix, format)
    return solvers.nearest(matrix, format)


def measure_moments(network: Network, inputs: Sequence[Inputs]) -> dict[str, Array]:
    """Return the mean of x^T x, float32 [K, K], over the rows of each tensor that layers read."""
    names = list(dict.fromkeys(name for layer in network.layers for name in layer.inputs))
    sums: dict[str, Array] = {}
    counts = dict.fromkeys(names, 0)
    for one in inputs:
        for name, value in network.run(one, {}, names).items():
            rows = value.reshape(-1, value.shape[-1])
            counts[name] += len(rows)
            sums[name] = sums.get(name, np.float32(0)) + rows.T @ rows
    return {name: total / counts[name] for name, total in sums.items()}


def moments_of(layer: Layer, moments: Mapping[str, Array]) -> Array:
    """Return the moments of what a layer is multiplied by."""
    mean: Array = np.mean([moments[name] for name in layer.inputs], axis=0)
    return mean


def relative_error(
    matrix: Array, other: Array, moments: Mapping[str, Array], layer: Layer
) -> float:
    """Return the relative L2 error of a layer's outputs; of its weights without moments."""
    weigh = moments_of(layer, moments) if moments else None

    def size(one: Array) -> float:
        weighed = one if weigh is None else weigh @ one
        return float((one * weighed).sum(dtype=np.float64))

    return float(np.sqrt(max(size(matrix - other), 0) / max(size(matrix), 1e-30)))


def _bits_of(
    network: Network,
    answers: Answers,
    recipe: Recipe,
    data: Data,
    moments: Mapping[str, Array],
    say: Say,
) -> dict[str, int]:
    """Return the bits of each layer, by what the answers lose when it alone is quantized."""
    inputs = data.calibration[:: max(1, len(data.calibration) // _SENSITIVITY_INPUTS)]
    wanted = answers.of(inputs, {})
    tried = (recipe.bits, *wider(recipe.bits)[:-1])
    losses: dict[str, dict[int, float]] = {}
    for number, layer in enumerate(network.layers, 1):
        say(f"[{number}/{len(network.layers)}] sensitivity of {layer.name}")
        losses[layer.name] = {MOST_BITS: 0.0}
        for bits in tried:
            if bits < MOST_BITS:
                matrix = solve(network, layer, recipe, bits, moments).dequantize()
                found = cosines(answers.of(inputs, {layer.name: matrix}), wanted)
                losses[layer.name][bits] = 1 - float(found.mean())
    assert recipe.budget is not None
    return spread(losses, {one.name: one.size for one in network.layers}, recipe.budget)


def _check(where: str, value: object, accepted: Sequence[object]) -> None:
    if value not in accepted:
        raise ConfigError(
            f"{value} is not possible", where=where, accepted=tuple(str(one) for one in accepted)
        )
