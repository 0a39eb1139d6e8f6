# SPDX-License-Identifier: Apache-2.0
"""Messages cut to what JIRA takes. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar

import attrs

from accelerate_core.delivering.message import Message
from accelerate_core.texts import cut

#: Most characters of a summary, of a description and of a comment ("Advanced settings",
#: jira.text.field.character.limit). It is kept by what is sent, markup and all: what JIRA counts of
#: a document is not documented.
SUMMARY, BODY = 255, 32_767
#: Most characters of one text, from what people should read to what fits in any case.
_LONGEST = (10_000, 3_000, 1_000, 300, 100, 30)
_MOST_FACTS = 50

T = TypeVar("T")


def summary(message: Message) -> str:
    """Return the title as a summary."""
    return cut(message.title, SUMMARY) or "accelerate"


def with_title(message: Message) -> Message:
    """Return a message that says its title in the text: a comment has no other place for it."""
    return attrs.evolve(message, text=f"{message.title}\n{message.text}")


def marker(message: Message) -> str:
    """Return what a description or comment ends with: by it a message is told once."""
    return f"accelerate-message-{hashlib.sha256(message.key.encode()).hexdigest()[:16]}"


def fitted(message: Message, render: Callable[[Message, str], T], size: Callable[[T], int]) -> T:
    """Return the message rendered, with as many rows and as much of its texts as fit.

    `render` also gets a sentence on what is missing; it is empty when nothing is.
    """
    for longest in _LONGEST:
        short = _shortened(message, longest)
        if size(render(attrs.evolve(short, rows=()), _missing(message, short, 0))) <= BODY:
            break
    fit, over = 0, len(short.rows) + 1
    while over - fit > 1:
        middle = (fit + over) // 2
        if size(_with_rows(message, short, middle, render)) <= BODY:
            fit = middle
        else:
            over = middle
    return _with_rows(message, short, fit, render)


def _with_rows(
    message: Message, short: Message, count: int, render: Callable[[Message, str], T]
) -> T:
    shown = attrs.evolve(short, rows=short.rows[:count])
    return render(shown, _missing(message, short, count))


def _shortened(message: Message, longest: int) -> Message:
    return attrs.evolve(
        message,
        text=cut(message.text, longest),
        facts=tuple(
            (cut(name, longest), cut(value, longest)) for name, value in message.facts[:_MOST_FACTS]
        ),
        header=tuple(cut(one, longest) for one in message.header),
        rows=tuple(tuple(cut(cell, longest) for cell in row) for row in message.rows),
    )


def _missing(message: Message, short: Message, rows: int) -> str:
    left = len(message.rows) - rows
    words = [f"{left} more row{'' if left == 1 else 's'}"] if left else []
    if attrs.evolve(short, rows=()) != attrs.evolve(message, rows=()) or (
        short.rows[:rows] != message.rows[:rows]
    ):
        words.append("longer texts")
    if not words:
        return ""
    return f"Not shown here: {' and '.join(words)}."
