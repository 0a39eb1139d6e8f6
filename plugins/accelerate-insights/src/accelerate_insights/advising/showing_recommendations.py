# SPDX-License-Identifier: Apache-2.0
"""Recommendations as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from .candidates import Candidate
from .ranking import Answer, Choice
from .recommending import Recommendations, number

_KINDS = {True: "software adapters", False: "hardware", None: "adapter not known"}


def print_recommendations(console: Console, found: Recommendations) -> None:
    """Print a table for each answer."""
    machines = {one.question.machine for one in found.answers}
    for answer in found.answers:
        for part in _one(answer, len(machines) > 1):
            console.print(part)


def _one(answer: Answer, says_machine: bool) -> Iterator[RenderableType]:
    question = answer.question
    parts = [question.model, answer.objective.name, _KINDS[question.is_software]]
    if question.sequence_length:
        parts.append(f"{question.sequence_length} tokens")
    if question.scenario != "single_stream":
        parts.append(question.scenario)
    if says_machine:
        parts.append(f"machine {question.machine}")
    yield Text(", ".join(parts), style="bold")
    if not answer.choices:
        yield Text("  not enough data", style="yellow")
    else:
        yield _table(answer)
    for choice in answer.choices[:1]:
        yield Text(f"  {_conditions(choice.candidate)}", style="dim")
    for refused in answer.refused:
        yield Text(f"  not {refused.candidate}: {refused.reason}", style="dim")
    yield Text()


def _table(answer: Answer) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    table.add_column("target", overflow="fold")
    for name in (answer.objective.unit, "95 %", "runs", "ok"):
        table.add_column(name, justify="right", no_wrap=True)
    for index, choice in enumerate(answer.choices):
        one, score = choice.candidate, choice.score
        table.add_row(
            Text(_verdict(index, choice)),
            Text(f"{one}{_error(one)}"),
            number(score.value),
            "-" if score.low is None else f"{number(score.low)} to {number(score.high or 0.0)}",
            f"{one.runs:,}",
            f"{one.successes:,}/{one.tries:,}",
        )
    return table


def _verdict(index: int, choice: Choice) -> str:
    if index == 0:
        return "best"
    return "as good" if choice.is_as_good else ""


def _error(one: Candidate) -> str:
    if one.precision == "fp32":
        return ""
    return f" (error {one.relative_l2:.1g})"


def _conditions(one: Candidate) -> str:
    parts = [part for part in (one.browser_version, one.engine_version, one.adapter) if part]
    if one.threads:
        parts.append(f"threads {' or '.join(str(count) for count in one.threads)}")
    if one.first is not None and one.last is not None:
        days = -(-(one.last - one.first) // timedelta(days=1))
        parts.append(
            f"{one.measurements:,} measurements over {days} {'day' if days == 1 else 'days'}"
            f" until {one.last:%Y-%m-%d}"
        )
    return ", ".join(parts)
