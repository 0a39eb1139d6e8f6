# SPDX-License-Identifier: Apache-2.0
"""Messages in the wiki markup of JIRA Data Center ("Text formatting notation help"). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from accelerate_core.addresses import is_link
from accelerate_core.delivering.message import Message

from .fitting import fitted, marker

#: What a backslash takes the meaning from; a backslash itself, which has no escape and twice is a
#: new line; what would be an entity; smileys made of letters.
_SPECIAL = re.compile(r"[-#*_+?^~|%{}\[\]()!@]|(\\|&(?=#?\w+;)|:(?=[DPp]))")
#: What makes a heading or a quotation of the line it begins.
_BLOCK = re.compile(r"^(\s*(?:h[1-6]|bq))\.")


def text(message: Message) -> str:
    """Return the text of a description or a comment, cut to what JIRA takes."""
    return fitted(message, _render, len)


def escape(words: str) -> str:
    """Return words of users so that they are shown as they are, in one line."""
    safe = _SPECIAL.sub(lambda found: f"&#{ord(found[1])};" if found[1] else f"\\{found[0]}", words)
    return _BLOCK.sub(r"\1&#46;", safe)


def _render(message: Message, missing: str) -> str:
    blocks = [escape(line) for line in message.text.splitlines() if line.strip()]
    blocks += _lines(f"* *{escape(name)}:* {escape(value)}" for name, value in message.facts)
    if message.rows:
        lines = ["||" + "||".join(map(_cell, message.header)) + "||"] if message.header else []
        lines += ["|" + "|".join(map(_cell, row)) + "|" for row in message.rows]
        blocks += _lines(lines)
    if missing:
        blocks.append(f"_{escape(missing)}_")
    if message.link:
        is_page = is_link(message.link)
        shown = f"[{_address(message.link)}]" if is_page else escape(message.link)
        blocks.append(f"The whole: {shown}")
    blocks = blocks or [escape(message.title)]
    return "\n\n".join([*blocks, f"{{{{{marker(message)}}}}}"])


def _lines(lines: Iterable[str]) -> list[str]:
    joined = "\n".join(lines)
    return [joined] if joined else []


def _cell(words: str) -> str:
    # A cell without anything in it is no cell.
    return escape(words) or " "


def _address(link: str) -> str:
    return re.sub(r"[\s\[\]|^{}\\]", lambda found: f"%{ord(found[0]):02X}", link)
