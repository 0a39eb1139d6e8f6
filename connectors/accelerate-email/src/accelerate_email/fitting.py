# SPDX-License-Identifier: Apache-2.0
"""How much of a message a mail shows. Pure."""

from __future__ import annotations

import attrs
from markupsafe import escape

from accelerate_core.delivering.message import Message
from accelerate_core.events import Attachment
from accelerate_core.texts import cut

#: Kinds of pictures that mail programs show inside a mail; others are attached as files.
_SHOWN = ("image/png", "image/jpeg", "image/gif")
_TITLE, _TEXT, _FACTS, _NAME, _FACT, _ROWS, _CELL = 200, 4000, 30, 60, 500, 50, 200
#: HTML of all rows, so that the page stays below the 102 kB after which Gmail cuts it off.
_ROWS_BYTES = 40_000
_OF_A_CELL = 100


@attrs.frozen(kw_only=True)
class Letter:
    """Hold what of a message is shown; texts are not escaped."""

    message: Message
    notes: tuple[str, ...] = ()  #: what is missing
    pictures: tuple[Attachment, ...] = ()  #: shown inside
    files: tuple[Attachment, ...] = ()


def fitted(message: Message, *, has_files: bool = True) -> Letter:
    """Return what a mail shows of a message, and notes about what it does not show."""
    rows = _rows(message)
    shown = attrs.evolve(
        message,
        title=cut(message.title, _TITLE),
        text=cut(message.text.strip(), _TEXT),
        facts=tuple(
            (cut(name, _NAME), cut(value, _FACT)) for name, value in message.facts[:_FACTS]
        ),
        header=tuple(cut(cell, _CELL) for cell in message.header),
        rows=rows,
    )
    left_out = (
        (len(message.rows) - len(rows), "more row"),
        (len(message.facts) - len(shown.facts), "more fact"),
        (0 if has_files else len(message.attachments), "file, too large for the server"),
    )
    notes = [f"Not shown: {_counted(count, what)}." for count, what in left_out if count]
    if len(shown.text) < len(message.text.strip()):
        notes.insert(0, "The text was cut.")
    attached = message.attachments if has_files else ()
    return Letter(
        message=shown,
        notes=tuple(notes),
        pictures=tuple(one for one in attached if one.media_type in _SHOWN),
        files=tuple(one for one in attached if one.media_type not in _SHOWN),
    )


def web_link(link: str | None) -> str | None:
    """Return a link that may be clicked: of the web, and nothing that runs."""
    return link if link and link.startswith(("https://", "http://")) else None


def _rows(message: Message) -> tuple[tuple[str, ...], ...]:
    rows: list[tuple[str, ...]] = []
    left = _ROWS_BYTES
    for row in message.rows[:_ROWS]:
        cells = tuple(cut(cell, _CELL) for cell in row)
        left -= sum(len(escape(cell).encode()) + _OF_A_CELL for cell in cells)
        if left < 0:
            break
        rows.append(cells)
    return tuple(rows)


def _counted(count: int, what: str) -> str:
    head, _, rest = what.partition(",")
    return f"{count} {head}{'' if count == 1 else 's'}{',' if rest else ''}{rest}"
