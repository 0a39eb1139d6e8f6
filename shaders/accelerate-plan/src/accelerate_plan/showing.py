# SPDX-License-Identifier: Apache-2.0
"""Plans and kernels as JSON data and as tables. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .plan import Dispatch, Plan

if TYPE_CHECKING:
    from rich.table import Table


#: Characters of a condition that a table shows.
_WHEN = 60


def plan_facts(plan: Plan, file_bytes: int) -> dict[str, Any]:
    """Return what a plan is, as JSON data."""
    dispatches = [_dispatch(plan, one) for one in plan.dispatches]
    arena = sum(one.size for one in plan.buffers if one.role == "arena")
    peak = plan.about.get("peak_bytes")
    return {
        "name": plan.name,
        "totals": {
            "dispatches": len(dispatches),
            "pipelines": len(plan.pipelines),
            "flops": sum(one.flops for one in plan.dispatches),
            "bytes": sum(one["bytes"] for one in dispatches),
            "arena_bytes": arena,
            "peak_bytes": peak,
            "arena_ratio": arena / peak if peak else None,
            "weights_bytes": plan.weights_bytes,
            "file_bytes": file_bytes,
        },
        "inputs": [_slot(one) for one in plan.inputs],
        "outputs": [_slot(one) for one in plan.outputs],
        "dispatches": dispatches,
        "tensors": [
            dict(zip(("name", "buffer", "offset", "bytes", "first", "last"), one, strict=True))
            for one in plan.about.get("tensors", ())
        ],
        "about": {name: one for name, one in plan.about.items() if name != "tensors"},
    }


def _dispatch(plan: Plan, one: Dispatch) -> dict[str, Any]:
    pipeline = plan.pipelines[one.pipeline]
    return {
        "label": one.label,
        "kernel": pipeline.name,
        "constants": dict(pipeline.constants),
        "grid": list(one.grid),
        "bytes": sum(s.size for s in one.bindings if plan.buffers[s.buffer].role != "spare"),
        "flops": one.flops,
    }


def _slot(one: Any) -> dict[str, Any]:
    return {"name": one.name, "dtype": one.dtype, "shape": list(one.shape)}


def plan_table(facts: Mapping[str, Any]) -> Table:
    """Return the dispatches of a plan, and their sums."""
    totals = facts["totals"]
    table = _table(("", "right"), ("where", "left"), ("kernel", "left"), ("grid", "left"))
    for name in ("bytes", "MFLOP"):
        table.add_column(name, justify="right", no_wrap=True)
    for number, one in enumerate(facts["dispatches"]):
        grid = " x ".join(map(str, one["grid"]))
        flops = mega(one["flops"])
        table.add_row(str(number), one["label"], one["kernel"], grid, size(one["bytes"]), flops)
    table.add_section()
    kernels = f"{totals['pipelines']} pipelines"
    table.add_row("", "all", kernels, "", size(totals["bytes"]), mega(totals["flops"]))
    return table


def plan_summary(facts: Mapping[str, Any]) -> list[str]:
    """Return a few lines about a whole plan."""
    totals = facts["totals"]
    ratio = totals["arena_ratio"]
    arena = f"{size(totals['arena_bytes'])} of activations"
    if ratio is not None:
        arena += f", {ratio:.3f} times the peak of what lives at once"
    lines = [f"{facts['name']}: {totals['dispatches']} dispatches, {arena}"]
    for which in ("inputs", "outputs"):
        shown = (f"{one['name']} {one['dtype']}{one['shape']}" for one in facts[which])
        lines.append(f"{which}: {', '.join(shown)}")
    lines.append(f"weights {size(totals['weights_bytes'])}, plan {size(totals['file_bytes'])}")
    return lines


def kernels_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Return operations with their variants."""
    table = _table(("operation", "left"), ("variant", "left"), ("from", "left"), ("for", "left"))
    table.add_column("chosen", justify="left")
    last = None
    for row in rows:
        shown = row["operation"] if row["operation"] != last else ""
        if last is not None and shown:
            table.add_section()
        last = row["operation"]
        cells = (row["variant"], row["distribution"], _needs(row), row.get("chosen") or "")
        table.add_row(shown, *cells)
    return table


def _needs(row: Mapping[str, Any]) -> str:
    when = row["when"]
    if len(when) > _WHEN:  # whole in JSON
        when = when[: _WHEN - 1].rstrip() + "…"
    needs = [when] if when != "1" else []
    needs += row["features"]
    needs += [f"{name} >= {least:g}" for name, least in row["limits"].items()]
    if row["suits"] != "any":
        needs.append(f"suits {row['suits']}")
    return ", ".join(needs)


def rates_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return what was measured of variants."""
    table = _table(("case", "left"), ("variant", "left"), ("constants", "left"))
    for name in ("best ms", "median", "spread", "GFLOP/s", "GB/s"):
        table.add_column(name, justify="right", no_wrap=True)
    last = None
    for row in rows:
        shown = row["case"] if row["case"] != last else ""
        if last is not None and shown:
            table.add_section()
        last = row["case"]
        table.add_row(
            shown,
            row["variant"] + (" *" if row["is_fastest"] else ""),
            constants_text(row["constants"]),
            f"{row['best_ms']:.3g}",
            f"{row['median_ms']:.3g}",
            f"{row['spread']:.0%}",
            "" if row["gflops"] is None else f"{row['gflops']:.3g}",
            f"{row['gbytes']:.3g}",
        )
    return table


def constants_text(constants: Mapping[str, float]) -> str:
    """Return constants on one line: `workgroup 8, tile 4`."""
    return ", ".join(f"{name} {value:g}" for name, value in sorted(constants.items()))


def size(count: float) -> str:
    """Return bytes in words."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.2f} GiB"


def mega(count: float) -> str:
    """Return a count in millions; empty for none."""
    return f"{count / 1e6:.2f}" if count else ""


def _table(*columns: tuple[str, str]) -> Table:
    from rich import box
    from rich.table import Table as Grid

    table = Grid(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, justify in columns:
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    return table
