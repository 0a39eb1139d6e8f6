# SPDX-License-Identifier: Apache-2.0
"""`accel models`: find, get, build, compile and quantize models."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Reference = Annotated[
    str,
    typer.Argument(
        metavar="REF",
        help="A directory, an .onnx file, or a reference: hf:ORG/NAME, dir:PATH, file:PATH, "
        "package:NAME/FOLDER. #PART names one of several graphs: whisper-tiny#decoder.",
    ),
]
Precision = Annotated[str, typer.Option(help="fp32, fp16, int8, int4, int3 or int2.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def models() -> None:
    """Get models, see what they are and cost, export them, and keep their cache small."""


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """List the models in the cache, the one used last first."""
    from accelerate_core.cli.output import console, print_json
    from accelerate_core.host import Host

    from . import kept, showing

    ctx = Host().context
    entries = [one for one in kept.read_entries(ctx) if one.spec is not None]
    rows = [_row(one, kept.reference_of(one.spec, ctx)) for one in entries if one.spec]
    total = kept.size_of(entries)
    if as_json:
        print_json({"cache": str(ctx.cache_dir), "size_bytes": total, "models": rows})
        return
    out = console()
    if not rows:
        out.print("No models yet. Get one:\n  accel models pull hf:ORG/NAME")
        out.print("Any command that is given a model keeps it here too.")
        return
    out.print(showing.kept_table(rows, time.time()))
    shared = "; files that models share are counted once" if len(rows) > 1 else ""
    out.print(f"\n{showing.size(total)} in {ctx.cache_dir}{shared}")


@app.command()
def inspect(
    reference: Reference,
    precision: Precision = "fp32",
    batch: Annotated[int, typer.Option(min=1, help="Items in one run.")] = 1,
    sequence: Annotated[
        int | None,
        typer.Option(min=1, help="Tokens per item. [32, or the most the model takes]"),
    ] = None,
    all_blocks: Annotated[
        bool, typer.Option("--all-blocks", help="Show each block of a stack of equal ones.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a model is and costs, and which backends can run it.

    Native backends load it to find out. For browsers the command that finds out is shown.
    """
    import asyncio

    from accelerate_core.cli.bench import reference as to_reference
    from accelerate_core.cli.output import console, print_json
    from accelerate_core.host import Host

    from . import inspection, showing
    from .coverage import coverage_of

    host, reference = Host(), to_reference(reference)
    spec = _resolve(host, reference, precision)
    inputs = inspection.sample_inputs(spec, host.source(reference), batch, sequence)
    costs = inspection.measure_costs(spec, inputs, host.context.assets)
    facts = inspection.with_costs(inspection.inspect(spec), spec, inputs, costs)
    sizes = facts["costs"]["dimensions"]
    facts["backends"] = asyncio.run(coverage_of(host, spec, sizes))
    facts["to_find_out"] = _bench(reference, precision, facts["backends"])
    if as_json:
        print_json(facts)
        return
    out = console()
    out.print(showing.summary_table(facts))
    out.print(f"\n{showing.ASSUMPTIONS}\n", style="dim")
    out.print(showing.blocks_table(facts["blocks"], is_all=all_blocks))
    out.print()
    out.print(showing.backends_table(facts["backends"]))
    if command := facts["to_find_out"]:
        out.print("\nWhat is unknown, this finds out:")
        out.print(f"  {command}", soft_wrap=True)


@app.command()
def pull(reference: Reference, precision: Precision = "fp32", as_json: AsJson = False) -> None:
    """Get a model and keep it in the cache, ready to run."""
    from accelerate_core.cli.bench import reference as to_reference
    from accelerate_core.cli.output import print_json
    from accelerate_core.host import Host

    from .showing import count, size

    host, reference = Host(), to_reference(reference)
    started = time.monotonic()
    spec = _resolve(host, reference, precision)
    seconds = time.monotonic() - started
    if as_json:
        print_json(
            {
                "source": reference,
                "sha256": spec.sha256,
                "family": spec.family,
                "precision": spec.precision,
                "parameters": spec.parameters,
                "size_bytes": spec.size_bytes,
                "seconds": round(seconds, 3),
            }
        )
        return
    parameters = "" if spec.parameters is None else f", {count(spec.parameters)} parameters"
    typer.echo(
        f"{reference}: {spec.family or 'ONNX'} in {spec.precision}{parameters}, "
        f"{size(spec.size_bytes)}, ready after {seconds:.1f} s"
    )


@app.command()
def build(
    reference: Reference,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where to write it.")
    ],
    precision: Precision = "fp32",
    is_forced: Annotated[
        bool, typer.Option("--force", help="Replace what an earlier build wrote there.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a model as ONNX into a folder, to use it elsewhere.

    It gets model.onnx, model.onnx.data, and the files that say how inputs are prepared.
    """
    from accelerate_core.cli.bench import reference as to_reference
    from accelerate_core.cli.output import print_json
    from accelerate_core.host import Host

    from .exporting import check_folder, export
    from .showing import size

    folder = output.expanduser().absolute()
    check_folder(folder, is_forced=is_forced)
    host = Host()
    spec = _resolve(host, to_reference(reference), precision)
    names = export(spec, folder, host.context, is_forced=is_forced)
    if as_json:
        print_json({"folder": str(folder), "files": names, "sha256": spec.sha256})
    else:
        typer.echo(f"{output}: {', '.join(names)} ({size(spec.size_bytes)})")


@app.command()
def prune(
    older_than: Annotated[
        str | None, typer.Option(metavar="TIME", help="Models not used for so long: 30d, 12h.")
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Those used longest ago, until 5GB or less is left."),
    ] = None,
    is_all: Annotated[
        bool, typer.Option("--all", help="Everything, also what another process uses now.")
    ] = False,
    is_dry: Annotated[bool, typer.Option("--dry-run", help="Remove nothing.")] = False,
    is_sure: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove models from the cache, and files that no model refers to.

    Without an option that is what is of no use any more. The files are shared with other
    processes: unless --all is given, nothing goes that was used or written within the last hour.
    """
    from accelerate_core.cli.output import console, print_json
    from accelerate_core.errors import ConfigError
    from accelerate_core.host import Host

    from . import kept, pruning, showing

    if is_all and (older_than or keep):
        raise ConfigError("--all leaves nothing that --older-than or --keep could be about")
    policy = pruning.Policy(
        older_than_s=None if older_than is None else pruning.parse_age(older_than),
        keep_bytes=None if keep is None else pruning.parse_size(keep),
        is_all=is_all,
    )
    ctx = Host().context
    here = pruning.Kept(kept.read_entries(ctx), kept.read_files(ctx), kept.read_downloads(ctx))
    gone = pruning.plan(here, policy, time.time())
    names = [
        kept.reference_of(one.spec, ctx) if one.spec else str(one.path) for one in gone.entries
    ]
    out = console(is_stderr=as_json)
    for name in names:
        out.print(
            f"{'would remove' if is_dry else 'to remove:'} {showing.short(name)}", soft_wrap=True
        )
    models = "1 model" if len(names) == 1 else f"{len(names)} models"
    asked = f"{models}, {showing.size(gone.size_bytes)}"
    is_nothing = not (gone.entries or gone.files or gone.downloads)
    if not (is_dry or is_sure or is_nothing) and sys.stdin.isatty():
        typer.confirm(f"Remove {asked}?", abort=True, err=True)
    freed = 0 if is_dry else kept.remove(gone.entries, gone.files, gone.downloads)
    left = here.size_bytes - (gone.size_bytes if is_dry else freed)
    if as_json:
        print_json(
            {
                "models": names,
                "files": len(gone.files),
                "downloads": [str(one.path) for one in gone.downloads],
                "is_dry_run": is_dry,
                "freed_bytes": gone.size_bytes if is_dry else freed,
                "left_bytes": left,
            }
        )
    elif is_dry:
        out.print(f"Would remove {asked}; {showing.size(left)} would be left.")
    else:
        out.print(f"Freed {showing.size(freed)}; {showing.size(left)} are left.")


def _row(entry: Any, reference: str) -> dict[str, Any]:
    spec = entry.spec
    return {
        "source": reference,
        "family": spec.family,
        "part": spec.metadata.get("part"),
        "precision": spec.precision,
        "size_bytes": sum(asset.size_bytes for asset in entry.assets),
        "used_at": entry.used_at,
        "is_current": entry.is_current,
        "sha256": spec.sha256,
    }


def _resolve(host: Any, reference: str, precision: str) -> Any:
    """Resolve a model, and on a terminal show that this goes on."""
    from accelerate_core.cli.output import console

    out = console(is_stderr=True)
    if not out.is_terminal:
        return host.resolve_model(reference, precision=precision)
    with out.status(f"getting {reference}"):
        return host.resolve_model(reference, precision=precision)


def _bench(reference: str, precision: str, backends: list[dict[str, Any]]) -> str | None:
    """Return the command that tries what nobody knows yet; None where nothing can."""
    targets = [one["backend"] for one in backends if one["covers"] is None and one["is_here"]]
    if not targets:
        return None
    words = ["accel", "bench", reference]
    words += [word for name in targets for word in ("--on", f"{name}:*")]
    words += [] if precision == "fp32" else ["--precision", precision]
    return shlex.join(words)
