# SPDX-License-Identifier: Apache-2.0
"""`accel kernels`: list, time and tune the kernels of our WebGPU engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from accelerate_core.host import Host
    from accelerate_core.protocols import Store
    from accelerate_core.types import Target

    from ..catalogue import Catalogue
    from ..kernels import Device
    from ..measuring import Timing
    from ..tuning_book import Book
    from ..workload import Workload

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

On = Annotated[
    str, typer.Option(metavar="TARGET", help="wgpu, webgpu/plan:chromium, webgpu/plan:firefox.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback()
def kernels() -> None:
    """See what kernels there are, how fast they are here, and choose by measuring."""


@app.command("list")
def list_kernels(
    operations: Annotated[
        list[str] | None, typer.Argument(metavar="OPERATION", help="Only these.")
    ] = None,
    on: Annotated[
        str | None,
        typer.Option(metavar="TARGET", help="Show which variant each speed case gets there."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List operations and their variants, and on a target which would be chosen and why."""
    from accelerate_core.cli.output import console, print_json

    from .. import showing
    from .working import plan_target

    target = plan_target(on, where="--on") if on else None
    host, catalogue = _loaded(operations or [])
    names = operations or sorted(catalogue.kernels)
    chosen = _chosen(host, catalogue, names, target) if target else {}
    rows = [row for name in names for row in _variants(host, catalogue, name, chosen)]
    if as_json:
        print_json(rows)
        return
    out = console()
    out.print(showing.kernels_table(rows))
    if on is None:
        out.print("Which would be chosen shows --on TARGET.")


@app.command()
def bench(
    operation: Annotated[str, typer.Argument(help="Which operation.")],
    on: On,
    rounds: Annotated[int, typer.Option(min=1, help="Timed runs of each variant.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Time all variants of an operation at its speed cases, in turn."""
    import asyncio

    from accelerate_core.cli.output import console, print_json, warn

    from .. import showing
    from ..choosing import candidates
    from ..devices import device_of
    from ..measuring import measure
    from ..tuning import speed_workloads
    from .working import plan_target, scratch_host, worker_of

    target = plan_target(on, where="--on")
    host, catalogue = _loaded([operation])
    rows: list[dict[str, Any]] = []

    async def run() -> None:
        with scratch_host(host) as scratch:
            async with worker_of(scratch, target) as worker:
                device = device_of(worker.info)
                warn(f"{device.adapter}, {'in software' if device.is_software else 'hardware'}")
                kernel = catalogue.kernel(operation)
                for one in speed_workloads(catalogue, [operation]):
                    choices = list(candidates(kernel, one.step(), device))
                    timings = await measure(
                        worker, catalogue, one, choices, scratch.context, rounds=rounds
                    )
                    rows.extend(_rates(one, timings))

    asyncio.run(run())
    if as_json:
        print_json(rows)
    else:
        console().print(showing.rates_table(rows))


@app.command()
def tune(
    on: On,
    operations: Annotated[
        list[str] | None,
        typer.Argument(metavar="OPERATION", help="Only these. [all, or those of the model]"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="REF", help="Measure the steps of this model, not the speed cases."),
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Items in one run of the model.")] = 1,
    sequence: Annotated[
        int | None, typer.Option(min=1, help="Tokens per item. [32, or the most it takes]")
    ] = None,
    db: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep the measurements there, too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the variants on an adapter, and use the fastest from now on."""
    import asyncio
    import contextlib

    from accelerate_core.cli.output import print_json, warn

    from ..devices import adapter_key
    from ..tables import save
    from ..tuning import speed_workloads
    from ..tuning import tune as measure_all
    from ..tuning_book import read_book, write_book
    from ..workload import of_program
    from .working import plan_target, program_of, scratch_host, worker_of

    target = plan_target(on, where="--on")
    host, catalogue = _loaded(operations or [])
    names = operations or sorted(catalogue.kernels)
    if model is None:
        workloads = list(speed_workloads(catalogue, names))
    else:
        steps = of_program(catalogue, program_of(host, model, batch, sequence))
        workloads = [one for one in steps if one.operation in names]
    said: dict[str, Any] = {"measured": 0}

    async def run(store: Store | None) -> None:
        with scratch_host(host) as scratch:
            async with worker_of(scratch, target) as worker:
                said["adapter"] = adapter_key(worker.info)
                state = host.context.state_dir
                said["book"] = str(write_book(state, read_book(state, said["adapter"])))
                async for one in measure_all(worker, catalogue, workloads, scratch.context):
                    warn(_fastest(one.workload, one.timings))
                    # At once: whoever interrupts this keeps what was measured.
                    book = read_book(state, said["adapter"]).with_entries(one.entries)
                    write_book(state, book)
                    if store is not None:
                        save(store, one.entries)
                    said["measured"] += len(one.entries)

    with contextlib.ExitStack() as stack:
        store = stack.enter_context(contextlib.closing(_open_store(host, db))) if db else None
        asyncio.run(run(store))
    if as_json:
        print_json(said)
    else:
        typer.echo(f"{said['adapter']}: {said['measured']} measurements, kept in {said['book']}")


def _fastest(workload: Workload, timings: list[Timing]) -> str:
    first, second = timings[:2]
    margin = second.best_ms / max(first.best_ms, 1e-9)
    return (
        f"{workload.operation} {workload.label}: {first.choice.variant.name} "
        f"{first.best_ms:.3g} ms, {margin:.2f} times as fast as the next"
    )


def _loaded(operations: list[str]) -> tuple[Host, Catalogue]:
    """Return a host and the installed kernels; PluginError for an operation nobody has."""
    from accelerate_core.host import Host

    from ..catalogue import load_catalogue

    host = Host()
    catalogue = load_catalogue(host)
    for name in operations:
        catalogue.kernel(name)
    return host, catalogue


def _chosen(
    host: Host, catalogue: Catalogue, names: list[str], target: Target
) -> dict[str, dict[str, list[str]]]:
    """Return why each variant of an operation is chosen on a target, if it is."""
    import asyncio

    from ..devices import device_of
    from ..tuning_book import read_book
    from .working import scratch_host, worker_of

    async def device() -> Device:
        with scratch_host(host) as scratch:
            async with worker_of(scratch, target) as worker:
                return device_of(worker.info)

    found = asyncio.run(device())
    book = read_book(host.context.state_dir, found.adapter)
    return {name: _reasons(catalogue, name, book, found) for name in names}


def _reasons(
    catalogue: Catalogue, operation: str, book: Book, device: Device
) -> dict[str, list[str]]:
    from ..choosing import choice
    from ..showing import constants_text
    from ..tuning import speed_workloads

    kernel = catalogue.kernel(operation)
    reasons: dict[str, list[str]] = {}
    for one in speed_workloads(catalogue, [operation]):
        made = choice(book, kernel, one.step(), device)
        how = "guessed" if made.measured_ms is None else f"measured {made.measured_ms:.3g} ms"
        text = f"{one.label}: {how}"
        if constants := constants_text(made.constants):
            text += f" ({constants})"
        reasons.setdefault(made.variant.name, []).append(text)
    return reasons


def _variants(
    host: Host, catalogue: Catalogue, operation: str, chosen: dict[str, dict[str, list[str]]]
) -> list[dict[str, Any]]:
    """Return an operation's variants as JSON data."""
    from ..hookspecs import KERNELS

    found = host.found(KERNELS.name)
    distributions = {name: claims[0].distribution for name, claims in found.items()}
    kernel = catalogue.kernel(operation)
    return [
        {
            "operation": operation,
            "summary": kernel.summary,
            "variant": one.name,
            "distribution": distributions[
                one.name.partition("/")[0] if "/" in one.name else catalogue.owners[operation]
            ],
            "when": " ".join(one.when.split()),
            "features": list(one.features),
            "limits": dict(one.limits),
            "suits": one.suits,
            "constants": dict(one.constants),
            "tune": {name: list(values) for name, values in one.tune.items()},
            "chosen": "\n".join(chosen.get(operation, {}).get(one.name, ())) or None,
        }
        for one in kernel.variants
    ]


def _rates(workload: Workload, timings: list[Timing]) -> list[dict[str, Any]]:
    """Return what was measured of a workload as JSON data, the fastest first."""

    def rate(amount: int, ms: float) -> float:
        return amount / ms / 1e6 if ms else 0.0

    return [
        {
            "operation": workload.operation,
            "case": workload.label,
            "variant": one.choice.variant.name,
            "constants": dict(one.choice.constants),
            "best_ms": one.best_ms,
            "median_ms": one.median_ms,
            "spread": one.spread,
            "samples": one.samples,
            "method": one.method,
            "gflops": rate(workload.flops, one.best_ms) if workload.flops else None,
            "gbytes": rate(workload.bytes, one.best_ms),
            "is_fastest": one is timings[0],
        }
        for one in timings
    ]


def _open_store(host: Host, path: Path) -> Store:
    """Open the database with our table; StoreError before anything is measured."""
    store: Store = host.create(
        "stores", "duckdb", {"path": str(path)}, where="--db", tables=host.tables()
    )
    return store
