# SPDX-License-Identifier: Apache-2.0
"""What Slack accepts as blocks, and what people read of them.

Sources: the pages of the Block Kit reference ("Blocks", "Header block", "Section block", "Context
block", "Image block", "Actions block", "Table block", "Markdown block", "Rich text block", "Text
object") and "Formatting message text". Lengths are counted as sent, escapes included.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from typing import Any

#: Messages take 50 blocks: page "Blocks".
MOST_BLOCKS = 50
#: All blocks together: not documented. Staff names 12,000 characters "with a buffer for block
#: containers" in issue 2509 of bolt-js, whose measurements (13,297 characters in one block,
#: 125 fewer beside a divider) these two numbers are.
MOST_CHARACTERS = 13_422
CHARACTERS_OF_A_BLOCK = 125

# `<@U1>`, `<@W1>`, `<!here>`, `<!channel>`, `<!everyone>`, `<!subteam^S1>`.
_MENTION = re.compile(r"<(@[UW][A-Z0-9]+|!(?:here|channel|everyone|subteam\^[A-Z0-9]+))(\|[^>]*)?>")
_SPECIAL = re.compile(r"<([^<>|]*)(?:\|([^<>]*))?>")
_MEANT = re.compile(r"(?:[@#!]|https?://|mailto:|tel:)")
_BARE = re.compile(r"[<>]|&(?!(?:amp|lt|gt);)")


def problems(blocks: Any) -> list[str]:
    """Return what Slack would refuse, each with the JSON pointer to it."""
    if not isinstance(blocks, list) or not all(isinstance(one, dict) for one in blocks):
        return ["must be an array of objects [json-pointer:/blocks]"]
    found = []
    if len(blocks) > MOST_BLOCKS:
        found.append(f"no more than {MOST_BLOCKS} items allowed [json-pointer:/blocks]")
    ids = [one["block_id"] for one in blocks if "block_id" in one]
    for number, block in enumerate(blocks):
        where = f"/blocks/{number}"
        if block.get("type") not in _KINDS:
            found.append(f"unsupported type: {block.get('type')} [json-pointer:{where}/type]")
            continue
        if "block_id" in block:
            found += _length(block["block_id"], 255, f"{where}/block_id", least=0)
            if ids.count(block["block_id"]) > 1:
                found.append(f"`block_id` already exists [json-pointer:{where}/block_id]")
        check, known = _KINDS[block["type"]]
        found += [
            f"no more properties allowed: {name} [json-pointer:{where}]"
            for name in block.keys() - known - {"type", "block_id"}
        ]
        found += check(block, where)
    return found


def too_long(blocks: list[dict[str, Any]]) -> bool:
    """Return whether all blocks together are more than a message takes."""
    length = sum(len(text) for _, text in texts(blocks))
    return length + CHARACTERS_OF_A_BLOCK * len(blocks) > MOST_CHARACTERS


def texts(data: Any) -> Iterator[tuple[str, str]]:
    """Yield the kind and the content of each text in blocks."""
    if isinstance(data, list):
        for one in data:
            yield from texts(one)
    elif isinstance(data, dict):
        if isinstance(data.get("text"), str):
            yield str(data.get("type")), data["text"]
        for name, value in data.items():
            if isinstance(value, dict | list):
                yield from texts(value)
            elif name == "alt_text":
                yield name, str(value)


def mentions(message: dict[str, Any]) -> list[str]:
    """Return whom a message calls: people, groups, everyone here."""
    marked = [message.get("text") or ""]
    marked += [text for kind, text in texts(message.get("blocks")) if kind in _MARKED]
    found = [match.group(1) for text in marked for match in _MENTION.finditer(text)]
    described = json.dumps(message.get("blocks") or [])
    found += re.findall(r'"type": "(user|usergroup|broadcast)"', described)
    return found


def unescaped(message: dict[str, Any]) -> list[str]:
    """Return texts with a `&`, `<` or `>` that is neither escaped nor Slack's own syntax."""
    marked = [message.get("text") or ""]
    marked += [text for kind, text in texts(message.get("blocks")) if kind in _MARKED]
    return [
        text
        for text in marked
        if _BARE.search(_SPECIAL.sub(lambda it: "" if _MEANT.match(it[1]) else it[0], text))
    ]


def shown(message: dict[str, Any]) -> str:
    """Return what people read: links by their labels, escapes undone, blocks before the text."""
    parts = [*texts(message.get("blocks"))] or [("mrkdwn", message.get("text") or "")]
    return "\n".join(_read(text) if kind in _MARKED else text for kind, text in parts)


def _read(text: str) -> str:
    return html.unescape(
        _SPECIAL.sub(lambda it: it[2] or it[1] if _MEANT.match(it[1]) else it[0], text)
    )


_MARKED = ("mrkdwn", "markdown")


def _length(text: Any, most: int, where: str, least: int = 1) -> list[str]:
    if not isinstance(text, str):
        return [f"must be a string [json-pointer:{where}]"]
    if len(text) > most:
        return [f"must be less than {most + 1} characters [json-pointer:{where}]"]
    if len(text) < least:
        return [f"must be more than {least - 1} characters [json-pointer:{where}]"]
    return []


def _text(data: Any, most: int, where: str, kinds: tuple[str, ...]) -> list[str]:
    if not isinstance(data, dict) or data.get("type") not in kinds:
        return [f"must be a text object of type {' or '.join(kinds)} [json-pointer:{where}]"]
    known = {"type", "text"} | {"plain_text": {"emoji"}, "mrkdwn": {"verbatim"}}[data["type"]]
    if data.keys() - known:
        return [f"no more properties allowed [json-pointer:{where}]"]
    return _length(data.get("text"), most, f"{where}/text")


def _items(data: Any, most: int, where: str) -> list[str]:
    if not isinstance(data, list) or not data:
        return [f"must provide at least 1 item [json-pointer:{where}]"]
    return [f"no more than {most} items allowed [json-pointer:{where}]"] * (len(data) > most)


_BOTH = ("plain_text", "mrkdwn")


def _header(block: dict[str, Any], where: str) -> list[str]:
    return _text(block.get("text"), 150, f"{where}/text", ("plain_text",))


def _section(block: dict[str, Any], where: str) -> list[str]:
    found = []
    if "text" not in block and "fields" not in block:
        found.append(f"missing required field: text [json-pointer:{where}]")
    if "text" in block:
        found += _text(block["text"], 3000, f"{where}/text", _BOTH)
    if "fields" in block:
        found += _items(block["fields"], 10, f"{where}/fields")
        for number, field in enumerate(block["fields"]):
            found += _text(field, 2000, f"{where}/fields/{number}", _BOTH)
    return found


def _context(block: dict[str, Any], where: str) -> list[str]:
    found = _items(block.get("elements"), 10, f"{where}/elements")
    for number, element in enumerate(block.get("elements") or ()):
        place = f"{where}/elements/{number}"
        if element.get("type") == "image":
            found += _image(element, place)
        else:
            found += _text(element, 3000, place, _BOTH)
    return found


def _image(block: dict[str, Any], where: str) -> list[str]:
    found = _length(block.get("alt_text"), 2000, f"{where}/alt_text")
    if ("image_url" in block) == ("slack_file" in block):
        found.append(f"must provide image_url or slack_file [json-pointer:{where}]")
    if "image_url" in block:
        found += _length(block["image_url"], 3000, f"{where}/image_url")
        if not re.match(r"https?://", str(block["image_url"])):
            found.append(f"must be a valid URL [json-pointer:{where}/image_url]")
    if "title" in block:
        found += _text(block["title"], 2000, f"{where}/title", ("plain_text",))
    return found


def _actions(block: dict[str, Any], where: str) -> list[str]:
    found = _items(block.get("elements"), 25, f"{where}/elements")
    for number, element in enumerate(block.get("elements") or ()):
        place = f"{where}/elements/{number}"
        if element.get("type") != "button":
            continue
        found += _text(element.get("text"), 75, f"{place}/text", ("plain_text",))
        for name, most in (("url", 3000), ("action_id", 255), ("value", 2000)):
            if name in element:
                found += _length(element[name], most, f"{place}/{name}")
    return found


def _markdown(block: dict[str, Any], where: str) -> list[str]:
    return _length(block.get("text"), 12_000, f"{where}/text")


def _table(block: dict[str, Any], where: str) -> list[str]:
    found = _items(block.get("rows"), 100, f"{where}/rows")
    for number, row in enumerate(block.get("rows") or ()):
        found += _items(row, 20, f"{where}/rows/{number}")
        for column, cell in enumerate(row):
            place = f"{where}/rows/{number}/{column}"
            if cell.get("type") == "raw_text":
                found += _length(cell.get("text"), 10_000, f"{place}/text")
            elif cell.get("type") != "rich_text":
                found.append(f"unsupported type: {cell.get('type')} [json-pointer:{place}]")
    if "column_settings" in block:
        found += _items(block["column_settings"], 20, f"{where}/column_settings")
    return found


def _rich_text(block: dict[str, Any], where: str) -> list[str]:
    return _items(block.get("elements"), 1000, f"{where}/elements")


def _divider(block: dict[str, Any], where: str) -> list[str]:
    return []


_KINDS = {
    "actions": (_actions, {"elements"}),
    "context": (_context, {"elements"}),
    "divider": (_divider, set[str]()),
    "header": (_header, {"text"}),
    "image": (_image, {"image_url", "slack_file", "alt_text", "title"}),
    "markdown": (_markdown, {"text"}),
    "rich_text": (_rich_text, {"elements"}),
    "section": (_section, {"text", "fields", "accessory", "expand"}),
    "table": (_table, {"rows", "column_settings"}),
}
