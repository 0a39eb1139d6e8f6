# SPDX-License-Identifier: Apache-2.0
"""Rows as an experiment would find them."""

from __future__ import annotations

from accelerate_chaos.checker import Finding
from accelerate_chaos.records import Request, Row, Run, Struck

MS = 1_000_000


def request(
    number: int, asked_ms: int = 0, ended_ms: int = 10, error: str | None = None
) -> Request:
    """Return a request."""
    return Request(number=number, asked_ns=asked_ms * MS, ended_ns=ended_ms * MS, error=error)


def run(number: int, worker: str, began_ms: int, ended_ms: int, *, is_ok: bool = True) -> Run:
    """Return an attempt."""
    return Run(
        request=number,
        worker=worker,
        began_ns=began_ms * MS,
        ended_ns=ended_ms * MS,
        is_ok=is_ok,
    )


def struck(worker: str, at_ms: int, *, until_ms: int = 0) -> Struck:
    """Return a fault that happened."""
    return Struck(
        fault="f", worker=worker, at_ns=at_ms * MS, ended_ns=until_ms * MS, seen="happened"
    )


def row(
    scenario: str = "browser_crash",
    strategy: str = "immediate",
    *,
    errors: int = 0,
    findings: tuple[Finding, ...] = (),
    reason: str | None = None,
) -> Row:
    """Return a row of ten requests and one fault."""
    if reason is not None:
        return Row(scenario=scenario, strategy=strategy, targets=("wasm",), reason=reason)
    requests = tuple(
        request(number, number * 100, number * 100 + 20, "JobTimeout" if number < errors else None)
        for number in range(10)
    )
    struck = Struck(
        fault=scenario, worker="a", at_ns=450 * MS, seen="pid 1 is gone", recovery_ms=(40.0, 90.0)
    )
    return Row(
        scenario=scenario,
        strategy=strategy,
        targets=("wasm:chromium",),
        rate=10.0,
        deadline_s=5.0,
        requests=requests,
        struck=(struck,),
        findings=findings,
    )
