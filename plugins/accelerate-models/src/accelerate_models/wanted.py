# SPDX-License-Identifier: Apache-2.0
"""What a reference asks for, read from its text."""

from __future__ import annotations

import re
from pathlib import Path

import attrs

#: What is built of a directory.
BUILT = ("fp32", "fp16")
#: What can be made of any fp32 model; see variants.py.
CONVERTIBLE = ("fp16", "int8", "int4", "int3", "int2")

_PART = re.compile(r"(?P<place>.+)#(?P<part>[a-z][a-z0-9_]*)")


@attrs.frozen
class Wanted:
    """Name one graph: a file or directory, which part of the model, and in which precision."""

    path: Path
    precision: str = "fp32"
    part: str = ""  #: "" is the builder's first one


def split_part(text: str) -> tuple[str, str]:
    """Return place and part of `PLACE#PART`; a path that exists as it stands has no part."""
    match = _PART.fullmatch(text)
    if match is None or Path(text).expanduser().exists():
        return text, ""
    return match["place"], match["part"]
