# SPDX-License-Identifier: Apache-2.0
"""What every format of a report about several runs says, in words. Pure."""

from __future__ import annotations

from accelerate_core.texts import one_line

from .known import Known
from .ratings import EXCELLENT, GOOD, Grade, Rating
from .report import NOISY, PerformanceReport

NO_CHANGES = "No change of level was found."
NO_TRENDS = "Nothing moved by more than its noise between the first and the last third of the time."
NO_MATRIX = "Nothing was asked for."
NOTHING_MISSING = "Everything that was asked for was measured."
GRADES = (
    f"excellent: all works within its tolerance, at no more than {EXCELLENT:g} times the latency "
    "of the best target of the same machine that is no software adapter; good: at no more than "
    f"{GOOD:g} times; limited: slower, something fails, or there is only a software adapter to go "
    "by; untested: nothing ran. Each is about the best backend in that browser."
)


def headline(report: PerformanceReport) -> str:
    """Return what a reader must know, in one line."""
    worse = sum(one.is_worse for one in report.changes)
    better = len(report.changes) - worse
    parts = [
        f"{count} {word}{'s' if count > 1 else ''}"
        for count, word in ((worse, "regression"), (better, "improvement"))
        if count
    ]
    return f"Performance of the last {report.days:g} days: {', '.join(parts) or 'no changes'}"


def scope(report: PerformanceReport) -> str:
    """Return what the report is about."""
    counted = ", ".join(
        f"{count:,} {name if count != 1 else _ONE[name]}" for name, count in report.counts.items()
    )
    return f"{report.since:%Y-%m-%d} to {report.until:%Y-%m-%d %H:%M} UTC: {counted}."


_ONE = {
    "runs": "run",
    "measurements": "measurement",
    "commits": "commit",
    "series": "series",
    "machines": "machine",
}


def confidence(share: float) -> str:
    """Return a confidence in percent, which is never 100."""
    return f"{share:.2%}" if share < 0.9999 else "over 99.99%"


def evidence(one: Known) -> tuple[str, ...]:
    """Return why a change is believed, and what led to it."""
    said = [one_line(one.cause)] if one.cause else []
    counts = [one.evidence.get(name) for name in ("runs_before", "runs_after")]
    numbers = []
    if None not in counts:
        numbers.append(f"{counts[0]} runs before and {counts[1]} since")
    if isinstance(noise := one.evidence.get("noise"), float):
        numbers.append(f"noise {noise:.1%}")
    belief = f"confidence {confidence(one.confidence)}"
    if one.was_measured_again:
        belief += ", measured again"
    belief += f", {one.status}" if one.is_stored else ", not stored"
    said.append(one_line(", ".join((belief, *numbers))))
    if one.note:
        said.append(one_line(one.note))
    return tuple(said)


def noise(report: PerformanceReport) -> str:
    """Return how noisy what was measured is."""
    if not report.noisy:
        return f"No series differs by more than {NOISY:.0%}, typically, from its median."
    return (
        f"These differ by more than {NOISY:.0%}, typically, from their median: small changes in "
        "them cannot be seen. Close other programs, or ask for more repeats."
    )


def rating(one: Rating) -> str:
    """Return a grade with what it is about."""
    if one.grade is Grade.UNTESTED:
        return one.grade.value
    times = f" {one.times:.2g}\N{MULTIPLICATION SIGN}" if one.times is not None else ""
    software = ", software" if one.is_software else ""
    failed = f", {one.failed} of {one.ok + one.failed} fail" if one.failed else ""
    return f"{one.grade.value} ({one.backend}{times}{software}{failed})"
