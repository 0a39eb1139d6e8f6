# SPDX-License-Identifier: Apache-2.0
"""A run and its regressions as Markdown, as findings, and as what a job shows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import quote

from accelerate_core import events
from accelerate_core.delivering.message import Message, message_of
from accelerate_core.texts import clean, cut, one_line

from .values import Finding, Shown

#: More of a text, or of a table, is read where all of it stands.
_CELL, _TITLE, _ROWS = 200, 250, 100
_MARKS = str.maketrans(
    {
        **{mark: f"\\{mark}" for mark in "\\`*_[]{}#|~!"},
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        # Mentions are looked for in what is rendered: an entity would call people all the same.
        "@": "@\N{WORD JOINER}",
    }
)


def escaped(text: str, most: int = _CELL) -> str:
    """Return a text that Markdown shows as it is, on one line, cut where it is long."""
    return cut(one_line(text), most).translate(_MARKS)


def shown(event: events.RunFinished, regressions: Sequence[events.Regression]) -> Shown:
    """Return what a job shows of a run that ended, and of what became worse in it."""
    message = message_of(event)
    told = [message_of(one) for one in regressions]
    return Shown(
        name=event.summary.run.name or "accelerate",
        title=message.title,
        is_failed=event.summary.is_failed or any(one.fails_run for one in regressions),
        markdown=markdown(message, told),
        summary=event.summary,
        key=event.key,
        findings=tuple(found for one in (event, *regressions) for found in findings(one)),
    )


def markdown(message: Message, regressions: Iterable[Message] = ()) -> str:
    """Return a message as GitHub-flavoured Markdown: title, regressions, table, facts."""
    parts = [f"### {escaped(message.title, _TITLE)}"]
    parts += [_regression(one) for one in regressions]
    if message.text:
        parts.append("\n".join(map(escaped, message.text.splitlines())))
    if message.rows:
        parts.append(_table(message.header, message.rows[:_ROWS]))
    if (left := len(message.rows) - _ROWS) > 0:
        parts.append(f"… and {left} more rows.")
    if message.facts:
        facts = (f"- {escaped(name)}: {escaped(value)}" for name, value in message.facts)
        parts.append("\n".join(facts))
    if message.link:
        parts.append(f"[More]({linked(message.link)})")
    return "\n\n".join(parts) + "\n"


def linked(address: str) -> str:
    """Return an address that ends nowhere in the middle of a Markdown link."""
    return quote(clean(address), safe=":/?#@!$&'*+,;=%~-._")


def fitted(text: str, most: int, link: str | None) -> str:
    """Return Markdown of at most `most` characters, whole lines, and where the rest stands."""
    if len(text) <= most:
        return text
    end = f"\n\n… [the rest]({linked(link)})\n" if link else "\n\n… the rest is in the report.\n"
    head = text[: most - len(end)]
    return head[: head.rfind("\n")] + end if "\n" in head else head + end


def findings(event: events.Event) -> list[Finding]:
    """Return what people should look at: cells that failed, a regression, a run's own error."""
    if isinstance(event, events.RunFinished):
        return [
            Finding(
                title=f"{one.cell}: {one.status}",
                text=one.error.message if one.error else "",
                level="error",
            )
            for one in event.summary.measurements
            if one.is_failure
        ]
    if isinstance(event, events.RunFailed) and event.error is None:
        return []  # its cells were told
    message = message_of(event)
    if isinstance(event, events.Regression):
        is_bad = event.fails_run or event.severity == "critical"
        level = "notice" if event.status == "fixed" else "error" if is_bad else "warning"
    else:
        level = "error"
    text = "\n".join((message.text, *(f"{name}: {value}" for name, value in message.facts))).strip()
    return [Finding(title=message.title, text=text, level=level)]


def _regression(message: Message) -> str:
    mark = "✅" if message.severity == "good" else "⚠️"
    facts = "; ".join(f"{escaped(name)}: {escaped(value)}" for name, value in message.facts)
    return f"{mark} **{escaped(message.title, _TITLE)}**\n{facts}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(map(escaped, header))} |", f"|{' --- |' * len(header)}"]
    lines += [f"| {' | '.join(map(escaped, row))} |" for row in rows]
    return "\n".join(lines)
