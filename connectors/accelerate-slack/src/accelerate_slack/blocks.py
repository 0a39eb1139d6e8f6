# SPDX-License-Identifier: Apache-2.0
"""A message in Slack's blocks. Pure.

People's words stand in plain text, rich text and cells of a table, which hold text and nothing
else: no markup in them is obeyed, nobody can be mentioned, and nothing is to be escaped. Limits are
those of Slack's pages "Blocks", "Header block" and "Table block"; that all blocks together may hold
about 13,000 characters is known from the answer `msg_blocks_too_long` only.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import attrs

from accelerate_core.addresses import is_link
from accelerate_core.delivering.message import Message
from accelerate_core.texts import cut

_TITLE_MOST = 150
_TEXT_MOST = 3000
_FACTS_MOST = 3000
_TABLE_MOST = 5000
#: One fact or cell does not push out the others.
_ONE_MOST = 500
_ROWS_MOST = 100
_COLUMNS_MOST = 20

_ICONS = {
    "good": "\N{LARGE GREEN CIRCLE}",
    "info": "\N{LARGE BLUE CIRCLE}",
    "minor": "\N{LARGE YELLOW CIRCLE}",
    "major": "\N{LARGE ORANGE CIRCLE}",
    "critical": "\N{LARGE RED CIRCLE}",
}

_Block = dict[str, Any]


@attrs.frozen
class Rendered:
    """Hold a message as Slack takes it."""

    text: str  #: what notifications and screen readers say
    blocks: list[_Block]


def rendered(message: Message) -> Rendered:
    """Return a message in blocks, cut to Slack's limits, with a link to the whole."""
    title = f"{_ICONS[message.severity]} {message.title}"
    head = cut(title, _TITLE_MOST)
    # A title that was cut is said in full below.
    told = message.text if head == title else f"{message.title}\n\n{message.text}".rstrip()
    table = [row for row in (message.header, *message.rows) if row]
    text = cut(told, _TEXT_MOST)
    facts = _fitting(message.facts, _FACTS_MOST)
    rows = _fitting(table, _TABLE_MOST)
    lines = [*_text(text), *itertools.chain.from_iterable(map(_fact, facts))]
    is_cut = (text, facts, rows) != (told, list(message.facts), table)
    last = _more(message.link, len(table) - len(rows), is_cut)
    blocks: list[_Block] = [
        {"type": "header", "text": {"type": "plain_text", "text": head, "emoji": False}},
        *_rich(lines),
        *([{"type": "table", "rows": [_row(row) for row in rows]}] if rows else ()),
        *_rich(last),
    ]
    return Rendered(escaped(title, _TEXT_MOST), blocks)


def escaped(text: str, most: int) -> str:
    """Return text for where &, < and > are Slack's own ("Formatting message text")."""
    length = most
    while True:
        kept = cut(text, length)
        safe = kept.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        if len(safe) <= most:
            return safe
        length -= max(1, (len(safe) - most) // 5)


def _fitting(rows: Sequence[tuple[str, ...]], most: int) -> list[tuple[str, ...]]:
    """Return as many of the rows as fit, each cell cut."""
    short = [
        tuple(cut(cell, _ONE_MOST) for cell in row[:_COLUMNS_MOST]) for row in rows[:_ROWS_MOST]
    ]
    ends = itertools.accumulate(sum(map(len, row)) for row in short)
    return [row for row, end in zip(short, ends, strict=True) if end <= most]


def _text(text: str) -> list[_Block]:
    return [{"type": "text", "text": f"{text}\n"}] if text else []


def _fact(fact: tuple[str, ...]) -> list[_Block]:
    name, value = fact
    return [
        {"type": "text", "text": f"{name}: ", "style": {"bold": True}},
        {"type": "text", "text": f"{value}\n"},
    ]


def _row(row: tuple[str, ...]) -> list[_Block]:
    # A cell may not be empty.
    return [{"type": "raw_text", "text": cell or "-"} for cell in row]


def _more(link: str | None, rows: int, is_cut: bool) -> list[_Block]:
    """Return what is missing, and where the whole is."""
    said = f"{rows} more rows. " if rows else "Long texts are cut. " if is_cut else ""
    words: list[_Block] = [{"type": "text", "text": said}] if said else []
    if is_link(link):
        name = "See the whole" if said else "See more"
        words.append({"type": "link", "url": link, "text": name})
    elif link:
        words.append({"type": "text", "text": link})
    return words


def _rich(elements: list[_Block]) -> list[_Block]:
    section = {"type": "rich_text_section", "elements": elements}
    return [{"type": "rich_text", "elements": [section]}] if elements else []
