# SPDX-License-Identifier: Apache-2.0
"""Show and write how long kernels took."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..measuring.profiles import Profiles, by_kernel, trace
from ..serial import to_plain
from .output import console


def check_trace(path: Path) -> None:
    """Refuse a file that cannot be written, before anything is measured."""
    if path.is_dir() or not path.parent.is_dir():
        raise ConfigError(
            f"{path} is a folder" if path.is_dir() else f"there is no folder {path.parent}",
            where="--trace",
            accepted=("a file in a folder that is there",),
        )


def write_trace(path: Path, profiles: Profiles) -> None:
    """Write the trace that chrome://tracing and Perfetto read."""
    path.write_text(json.dumps(trace(profiles)), encoding="utf-8")


def plain_profiles(profiles: Profiles) -> list[dict[str, Any]]:
    """Return JSON data."""
    return [
        {"cell": to_plain(cell), "dispatches": to_plain(profile)}
        for cell, profile in profiles.items()
    ]


def show_profiles(profiles: Profiles) -> None:
    """Print a table of kernels for each cell."""
    from rich import box
    from rich.table import Table

    out = console()
    for cell, profile in profiles.items():
        if not profile:
            out.print(f"{cell}: this engine does not time single kernels.")
            continue
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
        table.add_column("kernel")
        for heading in ("count", "ms", "share", "GFLOP/s"):
            table.add_column(heading, justify="right")
        for one in by_kernel(profile):
            rate = one.gflops_per_second
            table.add_row(
                one.kernel,
                str(one.count),
                f"{one.total_ms:.3f}",
                f"{one.share:.1%}",
                "-" if rate is None else f"{rate:.1f}",
            )
        whole_ms = sum(one.ms for one in profile)
        out.print(f"{cell}: {len(profile)} dispatches, {whole_ms:.3f} ms on the device")
        out.print(table)
