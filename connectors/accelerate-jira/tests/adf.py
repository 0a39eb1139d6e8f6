# SPDX-License-Identifier: Apache-2.0
"""Check documents in the Atlassian Document Format as its documentation describes them.

Source: "Atlassian Document Format", structure, nodes and marks (Jira Cloud platform guides).
"""

from __future__ import annotations

import re
from typing import Any

INLINE = {"text", "hardBreak", "emoji", "mention", "date", "status", "inlineCard", "mediaInline"}
LISTS = {"bulletList", "orderedList"}
MEDIA = {"mediaSingle", "mediaGroup"}
BLOCKS = {"paragraph", "heading", "codeBlock", "blockquote", "panel", "rule", *LISTS, *MEDIA}
TOP = BLOCKS | {"table", "expand"}
CELL = BLOCKS | {"nestedExpand"}

#: What each node may hold; None: nothing.
CONTENT: dict[str, set[str] | None] = {
    "doc": TOP,
    "paragraph": INLINE,
    "heading": INLINE,
    "codeBlock": {"text"},
    "blockquote": {"paragraph", "codeBlock", *LISTS, *MEDIA},
    "panel": {"paragraph", "heading", "codeBlock", "rule", *LISTS, *MEDIA},
    "bulletList": {"listItem"},
    "orderedList": {"listItem"},
    "listItem": {"paragraph", "codeBlock", "mediaSingle", *LISTS},
    "table": {"tableRow"},
    "tableRow": {"tableCell", "tableHeader"},
    "tableCell": CELL,
    "tableHeader": CELL,
    "expand": BLOCKS | {"table", "nestedExpand"},
    "nestedExpand": BLOCKS,
    "mediaSingle": {"media"},
    "mediaGroup": {"media"},
    **dict.fromkeys(INLINE | {"rule", "media"}),
}
#: What must hold something.
FILLED = {
    "blockquote", "panel", *LISTS, "listItem", "table", "tableRow", "tableCell", "tableHeader",
    "expand", "nestedExpand", *MEDIA,
}  # fmt: skip
#: Attributes that must be there, and what they look like.
ATTRS: dict[str, dict[str, str]] = {
    "heading": {"level": "[1-6]"},
    "panel": {"panelType": "info|note|warning|success|error"},
    "mention": {"id": ".+"},
    "emoji": {"shortName": ".+"},
    "date": {"timestamp": ".+"},
    "status": {"text": ".+", "color": "neutral|purple|blue|red|yellow|green"},
    "media": {"type": "file|link|external"},
}
MARKS: dict[str, dict[str, str]] = {
    "strong": {},
    "em": {},
    "code": {},
    "strike": {},
    "underline": {},
    "link": {"href": ".+"},
    "subsup": {"type": "sub|sup"},
    "textColor": {"color": "#[0-9a-fA-F]{6}"},
    "backgroundColor": {"color": "#[0-9a-fA-F]{6}"},
}
MARKED = {"text", "media", "mediaSingle", "paragraph", "heading", "codeBlock", "expand"}


def is_document(value: Any) -> bool:
    """Say whether a value looks like a document at all."""
    return isinstance(value, dict) and value.get("type") == "doc" and "content" in value


def wrong(document: dict[str, Any]) -> list[str]:
    """Return what is wrong with a document, a sentence each."""
    found = [] if document.get("version") == 1 else ["doc: version must be 1"]
    if unknown := set(document) - {"type", "version", "content"}:
        found.append(f"doc: unknown {sorted(unknown)}")
    return found + _node(document, "doc")


def text(node: Any) -> str:
    """Return the text of a node: a line for each block."""
    if isinstance(node, str):
        return node
    if node["type"] == "text":
        return str(node["text"])
    parts = [text(child) for child in node.get("content", [])]
    inside = CONTENT[node["type"]] or set()
    return ("" if inside <= INLINE else "\n").join(parts) if inside else "\n"


def of(plain: str) -> dict[str, Any]:
    """Return plain text as a document: a paragraph for each line."""
    lines = [[{"type": "text", "text": line}] if line else [] for line in plain.splitlines()]
    content = [{"type": "paragraph", "content": line} for line in lines]
    return {"type": "doc", "version": 1, "content": content}


def _node(node: Any, path: str) -> list[str]:
    if not isinstance(node, dict) or node.get("type") not in CONTENT:
        return [f"{path}: no node that is known"]
    kind = node["type"]
    found = _attrs(node.get("attrs", {}), ATTRS.get(kind, {}), path)
    if kind == "text" and not (isinstance(node.get("text"), str) and node["text"]):
        found.append(f"{path}: text must not be empty")
    if kind == "inlineCard" and not {"url", "data"} & set(node.get("attrs", {})):
        found.append(f"{path}: attrs.url or attrs.data is missing")
    found += _marks(node, path)
    allowed, content = CONTENT[kind], node.get("content")
    if content is None:
        return [*found, f"{path}: content is missing"] if kind in FILLED | {"doc"} else found
    if not isinstance(content, list) or allowed is None:
        return [*found, f"{path}: {kind} takes no such content"]
    if not content and kind in FILLED:
        found.append(f"{path}: {kind} must not be empty")
    for number, child in enumerate(content):
        name = child.get("type") if isinstance(child, dict) else child
        inside = f"{path}.{number}.{name}"
        if name not in allowed:
            found.append(f"{inside}: not allowed in {kind}")
        else:
            found += _node(child, inside)
        if kind == "codeBlock" and isinstance(child, dict) and child.get("marks"):
            found.append(f"{inside}: no marks in code blocks")
    return found


def _marks(node: dict[str, Any], path: str) -> list[str]:
    marks = node.get("marks", [])
    if marks and node["type"] not in MARKED:
        return [f"{path}: {node['type']} takes no marks"]
    found, kinds = [], [mark.get("type") for mark in marks]
    for mark in marks:
        if mark.get("type") not in MARKS:
            found.append(f"{path}: unknown mark {mark.get('type')}")
        else:
            found += _attrs(mark.get("attrs", {}), MARKS[mark["type"]], f"{path}:{mark['type']}")
    if "code" in kinds and set(kinds) - {"code", "link"}:
        found.append(f"{path}: code goes together with link only")
    return found


def _attrs(attrs: dict[str, Any], needed: dict[str, str], path: str) -> list[str]:
    return [
        f"{path}: attrs.{name} is missing or not {pattern}"
        for name, pattern in needed.items()
        if not re.fullmatch(pattern, str(attrs.get(name, "")), re.DOTALL)
    ]
