# SPDX-License-Identifier: Apache-2.0
"""Kernel times as totals and as a trace."""

from __future__ import annotations

from accelerate_core.measuring.profiles import by_kernel, trace
from accelerate_core.types import Cell, KernelTime, Target

PROFILE = (
    KernelTime(label="a", kernel="linear/row", ms=2.0, flops=4_000_000),
    KernelTime(label="b", kernel="softmax/rows", ms=5.0),
    KernelTime(label="c", kernel="linear/row", ms=1.0, flops=5_000_000),
)


def test_totals_by_kernel_the_longest_first() -> None:
    softmax, linear = by_kernel(PROFILE)
    assert (softmax.kernel, softmax.count, softmax.total_ms) == ("softmax/rows", 1, 5.0)
    assert softmax.share == 0.625 and softmax.gflops_per_second is None
    assert (linear.count, linear.total_ms, linear.gflops_per_second) == (2, 3.0, 3.0)
    assert by_kernel(()) == ()


def test_what_took_no_time_has_no_rate_and_no_share() -> None:
    (one,) = by_kernel([KernelTime(label="", kernel="k", ms=0.0, flops=1)])
    assert (one.share, one.gflops_per_second) == (0.0, None)


def test_a_trace_lays_dispatches_end_to_end_a_process_a_cell() -> None:
    cells = [Cell(model=name, target=Target("cpu")) for name in ("x", "y")]
    made = trace({cells[0]: PROFILE, cells[1]: PROFILE[:1]})
    events = made["traceEvents"]
    names = [one["args"]["name"] for one in events if one["ph"] == "M"]
    assert names == [str(cell) for cell in cells]
    spans = [(one["pid"], one["ts"], one["dur"]) for one in events if one["ph"] == "X"]
    assert spans == [(1, 0.0, 2e3), (1, 2e3, 5e3), (1, 7e3, 1e3), (2, 0.0, 2e3)]
    assert events[1]["args"] == {"label": "a", "flops": 4_000_000}
