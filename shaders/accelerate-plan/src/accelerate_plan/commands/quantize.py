# SPDX-License-Identifier: Apache-2.0
"""`accel models quantize`: a model with weights of few bits, and what that costs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from accelerate_core.host import Host
    from accelerate_core.protocols import Processor
    from accelerate_core.types import ModelSpec

    from ..quantize.answers import Data
    from ..quantize.model import Outcome, Recipe

app = typer.Typer(rich_markup_mode=None)

_SHOWN = 8  # layers


@app.command("quantize")
def quantize_model(
    reference: Annotated[
        str, typer.Argument(metavar="REF", help="hf:ORG/NAME, dir:PATH, file:PATH, package:NAME.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write it.")
    ],
    bits: Annotated[int, typer.Option(help="8, 4, 3 or 2.")] = 4,
    group: Annotated[int, typer.Option(help="Rows that share a scale: 16, 32, 64 or 128.")] = 32,
    method: Annotated[
        str | None,
        typer.Option(
            help="rtn (nearest code), hqq (half-quadratic) or gptq (with calibration). "
            "[gptq with --calibrate, else hqq]"
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(help="Mean bits per weight, as 4.7: sensitive layers get more than --bits."),
    ] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A text a line; every fifth is held out to measure on."),
    ] = None,
    is_forced: Annotated[
        bool, typer.Option("--force", help="Replace what an earlier build wrote there.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Store a model's matrices in few bits, and measure what that does to its answers.

    The folder gets model.onnx with `MatMulNBits` nodes, its data, and the files that say how inputs
    are prepared; load it as file:FOLDER/model.onnx. ONNX Runtime runs 8, 4 and 2 bits, the engine
    `plan` also 3.
    """
    from accelerate_models.exporting import check_folder, export

    from accelerate_core.cli.output import print_json, warn
    from accelerate_core.host import Host

    from ..quantize.model import Recipe
    from .working import resolved

    chosen: Any = method or ("gptq" if calibrate else "hqq")
    recipe = Recipe(bits=bits, group=group, method=chosen, budget=budget)
    folder = output.expanduser().absolute()
    check_folder(folder, is_forced=is_forced)
    lines = _lines(calibrate) if calibrate else None
    host = Host()
    spec = resolved(host, reference, "fp32")
    source = host.source(spec.source)
    processor = source.processor(spec.processor) if spec.processor else None
    data = _data(spec, lines, processor)
    outcome, made = _quantize(host, spec, recipe, data, processor, warn)
    names = export(made, folder, host.context, is_forced=is_forced)
    facts = _facts(spec, made, recipe, outcome)
    if as_json:
        print_json({"source": reference, "folder": str(folder), "files": names, **facts})
        return
    for line in _summary(facts):
        typer.echo(line)
    typer.echo(f"{output}: {', '.join(names)}")


def _lines(path: Path) -> list[str]:
    from accelerate_core.errors import ConfigError

    try:
        return path.expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the texts cannot be read: {error}",
            where="--calibrate",
            accepted=("a UTF-8 file with a text a line",),
        ) from error


def _data(spec: ModelSpec, lines: list[str] | None, processor: Processor | None) -> Data:
    from ..quantize.answers import made_up, read_texts

    return made_up(spec, processor) if lines is None else read_texts(lines, processor)


def _quantize(
    host: Host,
    spec: ModelSpec,
    recipe: Recipe,
    data: Data,
    processor: Processor | None,
    say: Callable[[str], None],
) -> tuple[Outcome, ModelSpec]:
    from ..quantize.answers import Answers
    from ..quantize.model import quantize
    from ..quantize.network import open_network
    from ..quantize.storing import store_quantized

    ctx = host.context
    with open_network(spec, ctx.assets, ctx.cache_dir / "scratch") as network:
        outcome = quantize(network, Answers(network, spec, processor), recipe, data, say=say)
    return outcome, store_quantized(spec, outcome.matrices, recipe.bits, ctx.assets)


def _facts(spec: ModelSpec, made: ModelSpec, recipe: Recipe, outcome: Outcome) -> dict[str, Any]:
    import attrs

    return {
        **attrs.asdict(recipe),
        "mean_bits": round(outcome.mean_bits, 3),
        "size_bytes": made.size_bytes,
        "size_bytes_fp32": spec.size_bytes,
        "cosine": attrs.asdict(outcome.likeness),
        "measured_with": "matrices dequantized to float32, native ONNX Runtime",
        "errors_are_of": outcome.errors_are_of,
        "layers": [
            {"name": name, "bits": one.bits, "relative_error": float(f"{outcome.errors[name]:.4g}")}
            for name, one in outcome.matrices.items()
        ],
    }


def _summary(facts: dict[str, Any]) -> list[str]:
    from accelerate_models.showing import size

    cosine = facts["cosine"]
    worst = sorted(facts["layers"], key=lambda one: -one["relative_error"])[:_SHOWN]
    share = facts["size_bytes"] / facts["size_bytes_fp32"]
    return [
        f"{facts['method']}, {facts['mean_bits']:g} bits a weight in groups of {facts['group']}",
        f"size: {size(facts['size_bytes'])}, {share:.2f} of fp32",
        f"answers against fp32: cosine mean {cosine['mean']:.4f}, 5th percentile "
        f"{cosine['percentile_5']:.4f}, least {cosine['least']:.4f}",
        f"  on {cosine['inputs']} inputs ({cosine['about']}), {facts['measured_with']}",
        f"relative error of {facts['errors_are_of']}, the largest:",
        *(f"  {one['relative_error']:.3f}  {one['bits']} bits  {one['name']}" for one in worst),
    ]
