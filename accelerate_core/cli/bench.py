# SPDX-License-Identifier: Apache-2.0
"""`accel bench MODEL`: a pipeline without a file."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import Annotated, Any

import attrs
import typer

from ..errors import ConfigError

app = typer.Typer(rich_markup_mode=None)

#: File and folder names that say nothing about the model in them.
_GENERIC = ("model", "onnx", "")
WHERE = "accel bench"
#: Keys of `[[benchmarks]]` whose option is called otherwise.
_OPTIONS = {"targets": "on", "batch_sizes": "batch", "precisions": "precision"}


@app.command()
def bench(
    model: Annotated[
        str,
        typer.Argument(
            help="A directory, an .onnx file, or a reference: dir:PATH, file:PATH, package:NAME.",
            metavar="MODEL",
        ),
    ],
    on: Annotated[
        list[str] | None,
        typer.Option(metavar="TARGET", help="cpu, webgpu:chromium, wasm:*. Repeatable. [cpu]"),
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option(help="Items in one request. Repeatable. [1]")
    ] = None,
    precision: Annotated[
        list[str] | None, typer.Option(help="fp32, fp16, ... Repeatable. [fp32]")
    ] = None,
    bits: Annotated[
        list[int] | None,
        typer.Option(help="32, 16 or 8: the same as fp32, fp16, int8. Repeatable."),
    ] = None,
    sequence_length: Annotated[
        int | None, typer.Option(help="Tokens per item, for text. [32]")
    ] = None,
    scenario: Annotated[
        list[str] | None,
        typer.Option(
            help="single_stream, multi_stream, server, offline. Repeatable. [single_stream]"
        ),
    ] = None,
    streams: Annotated[int, typer.Option(help="Requests at once, for multi_stream.")] = 8,
    rate: Annotated[
        str | None, typer.Option(help="Requests a second, for server; max: the highest in time.")
    ] = None,
    latency_bound: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="How late an answer may be, for server: 100ms."),
    ] = None,
    repeats: Annotated[int, typer.Option(help="Timed runs per cell.")] = 20,
    interval: Annotated[
        str | None,
        typer.Option(metavar="PERCENT", help="2%: go on until the median is sure within 2 %."),
    ] = None,
    warmup: Annotated[int, typer.Option(help="Runs before the timed ones.")] = 1,
    budget: Annotated[
        str, typer.Option(metavar="TIME", help="Time for the timed runs of a cell.")
    ] = "10s",
    required: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TARGET",
            help="Fail when this one is missing. Repeatable. [all of --on without a star]",
        ),
    ] = None,
    fallback: Annotated[
        list[str] | None,
        typer.Option(metavar="TARGET", help="Use this when the asked one is not there. In order."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads, for backends that let one choose.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="What to call the model in results.")] = None,
    store: Annotated[
        str, typer.Option(metavar="FILE", help="DuckDB file to keep the results in.")
    ] = "none",
    report: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[=FILE]", help="html=report.html, junit=x.xml. Repeatable."),
    ] = None,
    is_profiled: Annotated[
        bool, typer.Option("--profile", help="Show how long each kernel took, where it is known.")
    ] = False,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Profile, and write a trace for chrome://tracing."),
    ] = None,
    is_dry: Annotated[
        bool, typer.Option("--dry-run", help="Show the cells; start nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON on stdout, progress on stderr.")
    ] = False,
) -> None:
    """Benchmark one model without a file.

    Results are shown and not kept, unless --store or --report say where. Exit codes as for run.
    """
    from ..config import parse
    from .execute import execute, preview

    source = reference(model)
    targets = tuple(dict.fromkeys(on or ("cpu",)))
    data: dict[str, Any] = {
        "name": "bench",
        "models": [{"name": name or model_name(source), "source": source}],
        "benchmarks": [
            {
                "targets": list(targets),
                "batch_sizes": batch or [1],
                "precisions": [*(precision or ()), *map(_precision, bits or ())] or ["fp32"],
                "sequence_length": sequence_length,
                "scenario": scenario or ["single_stream"],
                "streams": streams,
                "rate": _number(rate) if rate is not None else None,
                "latency_bound": _number(latency_bound) if latency_bound is not None else None,
                "repeats": repeats,
                "interval": _number(interval) if interval is not None else None,
                "warmup": warmup,
                "budget": _number(budget),
                # Who names a browser wants it; a star takes what is there.
                "required": required or [one for one in targets if not one.endswith("*")],
                "fallback": fallback or [],
            }
        ],
        "reports": [_report(one) for one in report or ()],
    }
    if store != "none":
        data["store"] = {"use": "duckdb", "path": store}
    if threads is not None:
        data["backends"] = _threads(targets, threads)
    with _as_typed():
        config = parse(data, where=WHERE)
    if is_dry:
        raise typer.Exit(preview(config, only=(), as_json=as_json))
    code = execute(config, only=(), as_json=as_json, is_profiled=is_profiled, trace=trace)
    raise typer.Exit(code)


def reference(model: str) -> str:
    """Return the reference for what the user typed: an existing path gets its scheme."""
    base, mark, part = model.partition("#")
    for name, rest in ((model, ""), (base, mark + part)):
        path = Path(name).expanduser()
        if path.is_dir():
            return f"dir:{path}{rest}"
        if path.is_file():
            return f"file:{path}{rest}"
    if ":" not in model:
        beside = [one.name for one in _entries(path.parent) if not one.name.startswith(".")]
        guess = get_close_matches(path.name, beside, n=1)
        raise ConfigError(
            f"there is no file or directory {model!r}",
            where="MODEL",
            accepted=(
                "a model file",
                "a directory",
                "dir:...",
                "file:...",
                "hf:...",
                "package:...",
            ),
            hint=f"Did you mean '{path.with_name(guess[0])}'?" if guess else None,
        )
    return model


def _entries(folder: Path) -> Sequence[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return ()


def model_name(source: str) -> str:
    """Return the last part of a reference that says something."""
    parts = PurePath(source.partition(":")[2] or source).parts
    for part in reversed(parts):
        if (stem := part.removesuffix(".onnx")) not in _GENERIC and stem.strip("/."):
            return stem
    return source


@contextlib.contextmanager
def _as_typed() -> Iterator[None]:
    """Name the option in an error, not the key of a file that nobody wrote."""
    try:
        yield
    except ConfigError as error:
        found = re.search(r" key benchmarks\[0\](?:\.(\w+))?", error.info.where or "")
        if found:
            key = found[1] or ""
            option = f" --{_OPTIONS.get(key, key.replace('_', '-'))}" if key else ""
            error.info = attrs.evolve(error.info, where=WHERE + option)
        raise


def _precision(bits: int) -> str:
    """Return the precision of so many bits."""
    from ..types import PRECISION_BITS

    names = {size: name for name, size in PRECISION_BITS.items()}
    if bits not in names:
        raise ConfigError(
            f"no precision has {bits} bits",
            where=f"{WHERE} --bits",
            accepted=tuple(map(str, names)),
        )
    return names[bits]


def _number(text: str) -> str | float:
    return float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else text


def _report(text: str) -> dict[str, str]:
    use, equals, path = text.partition("=")
    return {"use": use, "path": path} if equals else {"use": use}


def _threads(targets: Sequence[str], threads: int) -> dict[str, dict[str, int]]:
    """Return the tables that set the threads of every backend that has the option."""
    from ..host import Host
    from ..types import Target

    host = Host()
    names = dict.fromkeys(Target.parse(target).backend for target in targets)
    tables = {
        name: {"threads": threads} for name in names if host.takes("backends", name, "threads")
    }
    if not tables:
        raise ConfigError(
            f"no thread count can be chosen for {', '.join(names)}", where=f"{WHERE} --threads"
        )
    return tables
