# SPDX-License-Identifier: Apache-2.0
"""Users' words in a TextBlock, as they are ("Text features" of Adaptive Cards). Pure."""

from __future__ import annotations

import re

#: Entities are read by all of Teams' programs; a backslash is read where Markdown is.
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
#: What begins emphasis, links, code and strike-through, and what dates begin with.
_MARKS = re.compile(r"[\\`*_\[\]]|~(?=~)|(?<=\{)\{(?=(?:DATE|TIME)\()")
#: What begins an item of a list, a line across or a heading, at the start of a line.
_AT_START = re.compile(r"^(\d{0,9})([-+#](?=[-+#\s]|$)|(?<=\d)[.)](?=\s|$))")


def literal(text: str) -> str:
    """Return Markdown that shows `text`; its lines become paragraphs, as Teams wants them."""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    return "\n\n".join(_escaped(line) for line in lines if line)


def _escaped(line: str) -> str:
    marked = _MARKS.sub(r"\\\g<0>", line.translate(_ENTITIES))
    # In "1." it is the full stop that makes a list.
    return _AT_START.sub(r"\1\\\2", marked)
