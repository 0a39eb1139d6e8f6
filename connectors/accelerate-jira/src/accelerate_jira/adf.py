# SPDX-License-Identifier: Apache-2.0
"""Messages as documents of JIRA Cloud ("Atlassian Document Format"), unescaped. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from accelerate_core.addresses import is_link
from accelerate_core.delivering.message import Message

from .fitting import fitted, marker

Node = dict[str, Any]


def document(message: Message) -> Node:
    """Return the document of a description or a comment, cut to what JIRA takes."""
    return fitted(message, _render, lambda node: len(json.dumps(node, ensure_ascii=False)))


def _render(message: Message, missing: str) -> Node:
    blocks = [_paragraph(_text(line)) for line in message.text.splitlines() if line.strip()]
    if message.facts:
        items = [
            {
                "type": "listItem",
                "content": [_paragraph(_text(f"{name}: ", _STRONG), _text(value))],
            }
            for name, value in message.facts
        ]
        blocks.append({"type": "bulletList", "content": items})
    if message.rows:
        rows = [_row("tableHeader", message.header)] if message.header else []
        rows += [_row("tableCell", row) for row in message.rows]
        blocks.append({"type": "table", "content": rows})
    if missing:
        blocks.append(_paragraph(_text(missing, {"type": "em"})))
    if message.link:
        href = {"type": "link", "attrs": {"href": message.link}}
        marks = [href] if is_link(message.link) else []
        blocks.append(_paragraph(_text("The whole: "), _text(message.link, *marks)))
    if not blocks:
        blocks.append(_paragraph(_text(message.title)))
    blocks.append(_paragraph(_text(marker(message), {"type": "code"})))
    return {"type": "doc", "version": 1, "content": blocks}


_STRONG = {"type": "strong"}


def _row(kind: str, cells: Iterable[str]) -> Node:
    content = [{"type": kind, "content": [_paragraph(_text(cell))]} for cell in cells]
    return {"type": "tableRow", "content": content}


def _paragraph(*texts: Node) -> Node:
    # An empty text is none: a document with one is refused.
    return {"type": "paragraph", "content": [one for one in texts if one["text"]]}


def _text(text: str, *marks: Node) -> Node:
    node: Node = {"type": "text", "text": text}
    return {**node, "marks": list(marks)} if marks else node
