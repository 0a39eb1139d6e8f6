# SPDX-License-Identifier: Apache-2.0
"""One key of a TOML text, changed with all else kept: comments, order, spaces. Pure."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Sequence
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Array, InlineTable, Item

from accelerate_core.errors import Unsupported

#: Begins what this module says in a comment. What stands before it is the user's.
SIGN = "accel optimize: "


def changed(text: str, key: Sequence[str | int], value: Any, why: str) -> str:
    """Return the text with a key set and a comment on its line.

    Tables on the way are made. A list may only change its order. Unsupported where the text
    cannot be changed without losing something, or would then say something else.
    """
    wanted = copy.deepcopy(tomllib.loads(text))
    _put(wanted, key, value)
    try:
        document = tomlkit.parse(text)
        _edit(document, key, value, why)
        new = tomlkit.dumps(document)
        is_as_wanted = tomllib.loads(new) == wanted
    except (TOMLKitError, tomllib.TOMLDecodeError, TypeError, ValueError, KeyError) as error:
        raise _unsupported(key, str(error)) from None
    if not is_as_wanted or not _comments(text) <= _comments(new):
        raise _unsupported(key, "it would not say the same")
    return new


def _put(data: Any, key: Sequence[str | int], value: Any) -> None:
    for part in key[:-1]:
        data = data[part] if isinstance(part, int) else data.setdefault(part, {})
    data[key[-1]] = value


def _edit(document: Any, key: Sequence[str | int], value: Any, why: str) -> None:
    place, line = document, None
    for depth, part in enumerate(key[:-1]):
        if isinstance(part, str) and part not in place:
            is_last = depth == len(key) - 2
            place[part] = tomlkit.table(is_super_table=not is_last)
        place = place[part]
        # The comment of an inline table stands behind the outermost one.
        if isinstance(place, InlineTable) and line is None:
            line = place
    name = key[-1]
    if isinstance(value, list):
        _reorder(place[name], value)
    else:
        held = _comment(place[name]) if name in place else ""
        place[name] = tomlkit.item(value)
        if held and line is None:
            place[name].comment(held)
    _explain(place[name] if line is None else line, why)


def _reorder(array: Any, wanted: list[Any]) -> None:
    if not isinstance(array, Array) or "#" in array.as_string():
        raise ValueError("the list has comments inside")
    items = list(array)
    for index, value in enumerate(wanted):
        array[index] = items[items.index(value)]


def _explain(item: Item, why: str) -> None:
    said = _comment(item).partition(SIGN)[0].rstrip("; ")
    item.comment(f"{said}; {SIGN}{why}" if said else f"{SIGN}{why}")


def _comment(item: Any) -> str:
    return str(item.trivia.comment).removeprefix("#").strip()


def _comments(text: str) -> set[str]:
    """Return what users said in comments."""
    said = set()
    for line in text.splitlines():
        _, sign, comment = line.rpartition("#")
        if sign and (own := comment.partition(SIGN)[0].strip("; ")):
            said.add(own)
    return said


def _unsupported(key: Sequence[str | int], reason: str) -> Unsupported:
    name = ".".join(str(part) for part in key)
    return Unsupported(f"{name} cannot be changed here: {reason}", hint="Change it by hand.")
