# SPDX-License-Identifier: Apache-2.0
"""A message as an Adaptive Card (schema 1.5) in the envelope a workflow takes. Pure.

A workflow answers 202 to whatever it gets, and fails afterwards where only its owner sees it: what
is not in the schema must not get there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

import attrs

from accelerate_core.delivering.message import Message
from accelerate_core.events import Attachment
from accelerate_core.texts import cut

from .markdown import literal

Json = dict[str, Any]

#: Bytes of a whole request ("Create incoming webhooks": 28 KB).
MOST_BYTES = 28_000
_TITLE, _NAME, _FACTS, _COLUMNS = 200, 60, 25, 10
#: Kinds of pictures a card shows ("Image element").
_SHOWN = ("image/png", "image/jpeg", "image/gif")
_STYLES = {
    "good": "good",
    "info": "accent",
    "minor": "warning",
    "major": "attention",
    "critical": "attention",
}


@attrs.frozen
class _Amount:
    """Say how much of a message is shown."""

    has_pictures: bool
    rows: int
    text: int
    cell: int


#: From all to little: pictures go first, then rows, then words.
_AMOUNTS = (
    _Amount(True, 50, 4000, 200),
    *(_Amount(False, rows, 4000, 200) for rows in (50, 40, 30, 20, 15, 10, 6, 3, 0)),
    *(_Amount(False, 0, text, 200) for text in (2000, 1000, 500)),
    _Amount(False, 0, 200, 50),
)


def payload(message: Message) -> bytes:
    """Return the request that posts a message: as much of it as fits, and a link to the whole."""
    for amount in _AMOUNTS:
        envelope = {
            "type": "message",
            "attachments": [
                {
                    "contentType": "application/vnd.microsoft.card.adaptive",
                    "contentUrl": None,
                    "content": card(message, amount),
                }
            ],
        }
        data = json.dumps(envelope, ensure_ascii=False, separators=(",", ":")).encode()
        if len(data) <= MOST_BYTES:
            break
    return data


def card_id(key: str) -> str:
    """Return the id that a card about an event has: the same when it is posted again."""
    return f"accelerate-{hashlib.sha256(key.encode()).hexdigest()[:32]}"


def card(message: Message, amount: _Amount = _AMOUNTS[0]) -> Json:
    """Return the card."""
    title = literal(cut(message.title, _TITLE))
    made: Json = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.5",
        "fallbackText": title,
        "msteams": {"width": "Full"},
        "body": [_head(message, title), *_body(message, amount)],
    }
    if _is_web(message.link):
        made["actions"] = [
            {"type": "Action.OpenUrl", "title": "See the whole", "url": message.link}
        ]
    return made


def _head(message: Message, title: str) -> Json:
    return {
        "type": "Container",
        "id": card_id(message.key),
        "style": _STYLES.get(message.severity, "accent"),
        "bleed": True,
        "items": [
            _text(message.severity, size="Small", isSubtle=True),
            _text(title, size="Medium", weight="Bolder", spacing="None", style="heading"),
        ],
    }


def _body(message: Message, amount: _Amount) -> Iterator[Json]:
    text = cut(message.text.strip(), amount.text)
    if text:
        yield _text(literal(text))
    facts = [
        {"title": literal(cut(name, _NAME)), "value": literal(cut(value, amount.cell))}
        for name, value in message.facts[:_FACTS]
    ]
    if facts:
        yield {"type": "FactSet", "facts": facts}
    pictures = [one for one in message.attachments if one.media_type in _SHOWN]
    shown = pictures if amount.has_pictures else []
    yield from map(_picture, shown)
    rows = message.rows[: amount.rows]
    if rows:
        yield _table(message.header, rows, amount.cell)
    missing = (
        (len(message.attachments) - len(shown), "file"),
        (len(message.rows) - len(rows), "more row"),
        (len(message.facts) - len(facts), "more fact"),
        (int(len(text) < len(message.text.strip())), "end of the text"),
    )
    notes = [f"{count} {what}{'s' * (count > 1)}" for count, what in missing if count]
    if notes:
        yield _text(f"Not shown: {', '.join(notes)}.", isSubtle=True, size="Small")
    if message.link and not _is_web(message.link):
        yield _text(literal(cut(message.link, amount.text)))


def _is_web(link: str | None) -> bool:
    """Whether a link may be clicked: it is whole, of the web, and nothing that runs."""
    return bool(link and re.fullmatch(r"https?://\S{1,2000}", link))


def _text(markdown: str, **more: Any) -> Json:
    return {"type": "TextBlock", "text": markdown, "wrap": True, **more}


def _picture(one: Attachment) -> Json:
    data = base64.b64encode(one.data).decode("ascii")
    return {
        "type": "Image",
        "url": f"data:{one.media_type};base64,{data}",
        "altText": cut(one.description or one.name, _TITLE),
        "size": "Stretch",
    }


def _table(header: tuple[str, ...], rows: tuple[tuple[str, ...], ...], cell: int) -> Json:
    lines = [header, *rows] if header else list(rows)
    width = min(_COLUMNS, max(map(len, lines)))
    return {
        "type": "Table",
        "columns": [{"width": _share(lines, n)} for n in range(width)],
        "firstRowAsHeader": bool(header),
        "showGridLines": False,
        "rows": [_row(line, width, cell) for line in lines],
    }


def _share(lines: list[tuple[str, ...]], column: int) -> int:
    """Return how wide a column is among the others: long words need room, none takes all."""
    longest = max(len(line[column]) for line in lines if column < len(line))
    return min(4, 1 + longest // 12)


def _row(line: tuple[str, ...], width: int, most: int) -> Json:
    cells = [*line[:width], *[""] * (width - len(line))]
    return {
        "type": "TableRow",
        "cells": [
            {"type": "TableCell", "items": [_text(literal(cut(one, most)))] if one else []}
            for one in cells
        ],
    }
