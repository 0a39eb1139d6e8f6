# SPDX-License-Identifier: Apache-2.0
"""A mail as plain text, for whoever reads it so. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from accelerate_core.delivering.message import Message
from accelerate_core.texts import cut

from .fitting import Letter

#: Characters of a column.
_WIDEST = 40


def plain(letter: Letter) -> str:
    """Return the text of a letter, good by itself."""
    return "\n\n".join(part for part in _parts(letter) if part) + "\n"


def _parts(letter: Letter) -> Iterator[str]:
    message = letter.message
    yield f"{message.title}\n{'=' * min(len(message.title), 72)}"
    yield f"[{message.severity}]"
    yield message.text
    yield _facts(message)
    yield _table(message)
    yield "\n".join(
        f"Attached: {one.name}" + (f" ({one.description})" if one.description else "")
        for one in (*letter.pictures, *letter.files)
    )
    yield "\n".join(letter.notes)
    if message.link:
        yield f"More: {message.link}"


def _facts(message: Message) -> str:
    width = min(max((len(name) for name, _ in message.facts), default=0), _WIDEST) + 1
    return "\n".join(f"{name + ':':<{width}} {value}" for name, value in message.facts)


def _table(message: Message) -> str:
    if not message.rows:
        return ""
    lines = [message.header, *message.rows] if message.header else list(message.rows)
    cells = [[cut(cell, _WIDEST) for cell in line] for line in lines]
    columns = max(map(len, cells))
    widths = [max(len(line[n]) for line in cells if n < len(line)) for n in range(columns)]
    if message.header:
        cells.insert(1, ["-" * width for width in widths[: len(message.header)]])
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=False)).rstrip()
        for line in cells
    )
