# SPDX-License-Identifier: Apache-2.0
"""What the commands print for people: tables that fit 80 columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

_INDEX = re.compile(r"(?P<stem>.*)\.(?P<index>\d+)")
#: Of a value in the summary: templates and lists of labels are longer than anybody reads.
_LONGEST = 120
_COVERS = {True: "all", False: "no", None: "unknown"}


def size(size_bytes: float) -> str:
    """Return bytes with a unit: 86.6 MiB."""
    return _scaled(size_bytes, 1024, ("B", "KiB", "MiB", "GiB", "TiB"))


def count(number: float, unit: str = "") -> str:
    """Return a number in thousands: 692 M, or with a unit 692 MFLOP."""
    return _scaled(number, 1000, [f"{prefix}{unit}" for prefix in ("", "k", "M", "G", "T", "P")])


def age(seconds: float) -> str:
    """Return how long ago something was, in its largest unit."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return "now"


def short(reference: str) -> str:
    """Return a reference with `~` for the home folder, and of a commit what tells it apart."""
    text = reference.replace(f":{Path.home()}/", ":~/")
    return re.sub(r"@([0-9a-f]{7})[0-9a-f]{33}", r"@\1", text)


def kept_table(rows: Iterable[Mapping[str, Any]], now: float) -> Table:
    """Return remembered models as a table."""
    table = _table()
    table.add_column("model", overflow="fold", ratio=1)
    for heading in ("family", "prec", "size", "last used"):
        table.add_column(heading, justify="right" if heading == "size" else "left", no_wrap=True)
    for row in rows:
        note = "" if row["is_current"] else "\n(its files changed: it is built again when asked)"
        table.add_row(
            short(row["source"]) + note,
            row["family"] or "-",
            row["precision"],
            size(row["size_bytes"]),
            age(now - row["used_at"]),
            style=None if row["is_current"] else "dim",
        )
    return table


def summary_table(facts: Mapping[str, Any]) -> Table:
    """Return what a model is, and what a run of it needs."""
    table = _table(show_header=False, title=short(facts["source"]))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    costs = facts["costs"]
    least = "at least " if costs["uncounted_operators"] else ""
    shapes = ", ".join(f"{name} {value}" for name, value in costs["dimensions"].items())
    for label, value in (
        ("task", facts["task"] or "unknown"),
        ("family", facts["family"] or "unknown"),
        ("precision", facts["precision"]),
        ("parts", ", ".join(facts["metadata"].get("parts", ()))),
        ("parameters", f"{facts['parameters']:,}"),
        ("size", size(facts["size_bytes"])),
        ("inputs", "\n".join(map(_tensor, facts["inputs"]))),
        ("outputs", "\n".join(map(_tensor, facts["outputs"]))),
        ("operators", ", ".join(facts["operators"])),
        ("files", "\n".join(f"{a['name']}  {a['sha256'][:12]}" for a in facts["assets"])),
        ("processor", _pairs(facts["processor"])),
        ("more", _pairs(facts["metadata"], ("parts",))),
        ("", ""),
        ("one run", f"with {shapes or 'inputs of fixed sizes'}"),
        ("computes", f"{least}{count(costs['flops'], 'FLOP')}"),
        ("moves", f"{least}{size(costs['moved_bytes'])}"),
        (
            "memory",
            f"{least}{size(costs['memory_bytes'])}: weights {size(costs['weights_bytes'])},"
            f" activations {size(costs['activations_bytes'])}",
        ),
        ("not counted", ", ".join(costs["uncounted_operators"])),
    ):
        if value or not label:
            table.add_row(label, value)
    return table


#: Below the summary: what its numbers rest on.
ASSUMPTIONS = (
    "FLOP: 2 for each multiplication summed up in products and convolutions, 1 for each element "
    "other operators put out. Memory: nodes in their order, nothing fused or written in place, "
    "each tensor freed after its last use."
)


def blocks_table(blocks: Sequence[Mapping[str, Any]], *, is_all: bool) -> Table:
    """Return what each block has and costs; runs of numbered ones as one line unless all."""
    table = _table(title="blocks")
    table.add_column("block", overflow="fold")
    for heading in ("parameters", "weights", "FLOP", "moved"):
        table.add_column(heading, justify="right", no_wrap=True)
    for block in blocks if is_all else sum_up(blocks):
        table.add_row(
            block["name"],
            f"{block['parameters']:,}",
            size(block["size_bytes"]),
            count(block["flops"]),
            size(block["moved_bytes"]),
        )
    return table


def sum_up(blocks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Add up neighbours of one name with numbers that follow: `encoder.layer.0-11`."""

    def run(item: tuple[int, Mapping[str, Any]]) -> tuple[str, int | None]:
        position, block = item
        match = _INDEX.fullmatch(block["name"])
        return (match["stem"], int(match["index"]) - position) if match else (block["name"], None)

    rows = []
    for (stem, offset), group in groupby(enumerate(blocks), key=run):
        members = [block for _, block in group]
        row = {
            key: sum(block[key] for block in members)
            for key in ("parameters", "size_bytes", "flops", "moved_bytes")
        }
        name = members[0]["name"]
        if offset is not None and len(members) > 1:
            name += f"-{members[-1]['name'].removeprefix(f'{stem}.')}"
        rows.append({"name": name, **row})
    return rows


def backends_table(rows: Iterable[Mapping[str, Any]]) -> Table:
    """Return which backends have all operators."""
    table = _table(title="backends")
    table.add_column("backend", no_wrap=True)
    table.add_column("operators", no_wrap=True)
    table.add_column("", overflow="fold")
    for row in rows:
        lacking = f"lacks {', '.join(row['lacking'])}\n" if row["lacking"] else ""
        table.add_row(row["backend"], _COVERS[row["covers"]], lacking + row["detail"])
    return table


def _table(**more: Any) -> Table:
    from rich.table import Table

    return Table(box=None, pad_edge=False, title_justify="left", title_style="bold", **more)


def _tensor(spec: Mapping[str, Any]) -> str:
    return f"{spec['name']}: {spec['dtype']}[{', '.join(map(str, spec['shape']))}]"


def _pairs(values: Mapping[str, Any] | None, without: Sequence[str] = ()) -> str:
    if values is None:
        return "none: it takes tensors"
    return "\n".join(
        f"{key}: {_cut(str(value))}" for key, value in values.items() if key not in without
    )


def _cut(text: str) -> str:
    line = text.replace("\n", "\\n")
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}... ({len(text):,} characters)"


def _scaled(number: float, step: int, units: Sequence[str]) -> str:
    for unit in units:
        if number < step or unit == units[-1]:
            break
        number /= step
    is_whole = unit == units[0] or number >= 100
    return f"{number:.0f} {unit}".strip() if is_whole else f"{number:.3g} {unit}"
