# SPDX-License-Identifier: Apache-2.0
"""Users' words, made fit for showing. Each format escapes what is left by its own rules. Pure."""

from __future__ import annotations

import re

# Control characters (a terminal would obey them), marks that turn the direction of what follows,
# lone surrogates (no encoder takes them) and what XML 1.0 forbids. Tab, newline and carriage
# return stay: they are white space.
_UNPRINTABLE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)

#: An id that we made up.
_RANDOM = re.compile(r"[0-9a-f]{32}")


def clean(text: str) -> str:
    """Return `text` with everything unprintable replaced, safe for every format's encoder."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def one_line(text: str) -> str:
    """Return `text` cleaned, with white space collapsed to single spaces."""
    return " ".join(clean(text).split())


def cut(text: str, most: int) -> str:
    """Return at most `most` characters of `text`, with an ellipsis where some are missing."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def short_id(run_id: str) -> str:
    """Return how a run is named to people: by the beginning of a random id, else by all of it."""
    return run_id[:12] if _RANDOM.fullmatch(run_id) else one_line(run_id)
