# SPDX-License-Identifier: Apache-2.0
"""What is wrong with an Adaptive Card, and what people read of it.

Sources: the Adaptive Cards schema explorer (elements, required properties, version 1.5), "Text
features" of the Adaptive Cards documentation and "Format cards in Teams". Hosts leave out what they
do not know; here it is a problem, so that nothing gets lost unseen.
"""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Iterator
from typing import Any

#: Newest version that Teams shows.
NEWEST = (1, 5)

_ALIGNED = ("left", "center", "right")
_SPACING = ("default", "none", "small", "medium", "large", "extraLarge", "padding")
_COLOURS = ("default", "dark", "light", "accent", "good", "warning", "attention")
_STYLES = ("default", "emphasis", "good", "attention", "warning", "accent")
#: By type: the properties that are required, and the kind of each: what lists hold are types.
_REQUIRED: dict[str, dict[str, Any]] = {
    "TextBlock": {"text": str},
    "Image": {"url": str},
    "FactSet": {"facts": ["Fact"]},
    "Fact": {"title": str, "value": str},
    "Container": {"items": ["element"]},
    "ColumnSet": {"columns": ["Column"]},
    "Column": {"items": ["element"]},
    "ImageSet": {"images": ["Image"]},
    "ActionSet": {"actions": ["action"]},
    "RichTextBlock": {"inlines": ["TextRun"]},
    "TextRun": {"text": str},
    "Table": {"columns": ["TableColumnDefinition"], "rows": ["TableRow"]},
    "TableColumnDefinition": {},
    "TableRow": {"cells": ["TableCell"]},
    "TableCell": {"items": ["element"]},
    "Action.OpenUrl": {"url": str},
    "Action.ShowCard": {"card": "AdaptiveCard"},
    "Action.ToggleVisibility": {"targetElements": list},
}
_ELEMENTS = (
    "TextBlock", "Image", "FactSet", "Container", "ColumnSet", "ImageSet", "ActionSet",
    "RichTextBlock", "Table",
)  # fmt: skip
#: "Action.Submit" is for bots: a workflow's card has nobody to take it.
_ACTIONS = ("Action.OpenUrl", "Action.ShowCard", "Action.ToggleVisibility")
#: Those whose type need not be said where only one is possible.
_IMPLIED = ("Fact", "Column", "TableColumnDefinition", "TextRun", "Image", "AdaptiveCard")
_CHOICES: dict[str, tuple[str, ...]] = {
    "size": ("default", "small", "medium", "large", "extraLarge", "auto", "stretch"),
    "weight": ("default", "lighter", "bolder"),
    "color": _COLOURS,
    "fontType": ("default", "monospace"),
    "horizontalAlignment": _ALIGNED,
    "horizontalCellContentAlignment": _ALIGNED,
    "spacing": _SPACING,
    "gridStyle": _STYLES,
}
_BOOLEANS = ("wrap", "isSubtle", "separator", "isVisible", "showGridLines", "firstRowAsHeader")


def problems(card: Any) -> list[str]:
    """Return what the schema forbids, each with its place in the card."""
    if not isinstance(card, dict) or card.get("type") != "AdaptiveCard":
        return ["card: the type must be AdaptiveCard"]
    found = []
    match = re.fullmatch(r"(\d+)\.(\d+)", str(card.get("version")))
    if match is None or (int(match[1]), int(match[2])) > NEWEST:
        found.append(f"card.version: {card.get('version')} is not 1.0 to 1.5")
    for name, kind in (("body", "element"), ("actions", "action")):
        if name in card:
            found += _list(card[name], kind, f"card.{name}")
    # A mention is `<at>NAME</at>` in a text with its entity in `msteams`.
    for entity in card.get("msteams", {}).get("entities", []):
        if entity.get("type") == "mention" and entity.get("text") not in json.dumps(card["body"]):
            found.append("card.msteams.entities: its text is nowhere in the card")
    return found


def _list(data: Any, kind: str, where: str) -> list[str]:
    if not isinstance(data, list):
        return [f"{where}: must be an array"]
    return [one for at, item in enumerate(data) for one in _one(item, kind, f"{where}[{at}]")]


def _one(item: Any, kind: str, where: str) -> list[str]:
    if not isinstance(item, dict):
        return [f"{where}: must be an object"]
    if kind == "AdaptiveCard":
        return problems(item)
    name = item.get("type", kind if kind in _IMPLIED else None)
    possible = {"element": _ELEMENTS, "action": _ACTIONS}.get(kind, (kind,))
    if name not in possible:
        return [f"{where}.type: {name} is not one of {', '.join(possible)}"]
    found = []
    for key, wanted in _REQUIRED[name].items():
        place = f"{where}.{key}"
        if key not in item:
            found.append(f"{place}: is required")
        elif isinstance(wanted, list):
            found += _list(item[key], wanted[0], place)
        elif isinstance(wanted, str):
            found += _one(item[key], wanted, place)
        elif not isinstance(item[key], wanted):
            found.append(f"{place}: must be of type {wanted.__name__}")
    for key, choices in _CHOICES.items():
        if key in item and str(item[key]).lower() not in {one.lower() for one in choices}:
            found.append(f"{where}.{key}: {item[key]} is not one of {', '.join(choices)}")
    found += [
        f"{where}.{key}: must be true or false"
        for key in _BOOLEANS
        if not isinstance(item.get(key, True), bool)
    ]
    if name == "Image":
        found += _image(str(item.get("url")), f"{where}.url")
    if name == "Action.OpenUrl" and not re.match(r"https?://\S+$", str(item.get("url"))):
        found.append(f"{where}.url: must be a whole URL")
    if name == "Table" and not found:
        widest = max((len(row["cells"]) for row in item["rows"]), default=0)
        if widest > len(item["columns"]):
            found.append(f"{where}.columns: are fewer than the cells of a row")
    return found


def _image(url: str, where: str) -> list[str]:
    if url.startswith("https://"):
        return []
    match = re.fullmatch(r"data:image/(?:png|jpeg|gif);base64,(.+)", url)
    if match is None:
        return [f"{where}: must be an https URL or the data of a PNG, JPEG or GIF"]
    try:
        base64.b64decode(match[1], validate=True)
    except binascii.Error:
        return [f"{where}: is no base64"]
    return []


# --- what people read -------------------------------------------------------------------------

_LINK = re.compile(r"(?<!\\)\[((?:\\.|[^\[\]\\])*)\]\(((?:\\.|[^()\s\\])+)\)")
_BOLD = re.compile(r"(?<!\\)\*\*(?=\S)((?:\\.|[^\\])+?)(?<=\S)\*\*")
_ITALIC = re.compile(
    r"(?<![\w\\])_(?=\S)((?:\\.|[^\\])+?)(?<=\S)_(?!\w)|(?<![*\\])\*(?=[^\s*])((?:\\.|[^\\*])+?)\*"
)
_ITEM = re.compile(r"^ {0,3}(?:[-*+]|\d{1,9}[.)])[ \t]+", re.MULTILINE)
_TIME = re.compile(r"\{\{(?:DATE|TIME)\([^)]*\)\}\}")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")


def markdown(card: dict[str, Any]) -> list[str]:
    """Return the texts of a card in which Markdown is read: text blocks and facts."""
    return [text for text, is_marked in _texts(card) if is_marked]


def links(card: dict[str, Any]) -> list[str]:
    """Return where links in texts go; those of actions are not among them."""
    return [match[2] for text in markdown(card) for match in _LINK.finditer(text)]


def formatted(card: dict[str, Any]) -> list[str]:
    """Return what Markdown would format: bold and italic words, items of lists, links, times."""
    patterns = (_LINK, _BOLD, _ITALIC, _ITEM, _TIME)
    return [
        match[0]
        for text in markdown(card)
        for pattern in patterns
        for match in pattern.finditer(text)
    ]


def mentions(card: dict[str, Any]) -> list[str]:
    """Return whom a card calls."""
    entities = card.get("msteams", {}).get("entities", [])
    return [one["text"] for one in entities if one.get("type") == "mention"]


def shown(card: dict[str, Any]) -> str:
    """Return what people read: formatting gone, links by their labels, escapes undone."""
    return "\n".join(_read(text) if is_marked else text for text, is_marked in _texts(card))


def _read(text: str) -> str:
    text = _LINK.sub(r"\1", text)
    text = _BOLD.sub(r"\1", text)
    text = _ITALIC.sub(lambda it: it[1] or it[2], text)
    return html.unescape(_ESCAPED.sub(r"\1", text))


def _texts(data: Any) -> Iterator[tuple[str, bool]]:
    """Yield each text that is shown, and whether Markdown is read in it."""
    if isinstance(data, list):
        for one in data:
            yield from _texts(one)
    elif isinstance(data, dict):
        is_fact = "title" in data and "value" in data
        for key, value in data.items():
            if key in ("text", "title", "value") and isinstance(value, str):
                yield value, is_fact or data.get("type") == "TextBlock"
            elif isinstance(value, dict | list):
                yield from _texts(value)
