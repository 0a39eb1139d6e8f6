# SPDX-License-Identifier: Apache-2.0
"""What a workspace of Slack holds, and how arguments of its Web API are read."""

from __future__ import annotations

import base64
import json
from typing import Any

import attrs

from . import blocks as kit

#: "Truncating content" of page "chat.postMessage method".
TEXT_CUT_AT = 40_000

Arguments = dict[str, Any]


class Refused(Exception):
    """Answer `ok: false` with an error and what else Slack says about it."""

    def __init__(self, error: str, status: int = 200, **more: Any) -> None:
        super().__init__(error)
        self.status = status
        self.body = {"ok": False, "error": error, **more}


@attrs.define(kw_only=True)
class Channel:
    """Hold a channel; private ones are not there for those who are not in them."""

    id: str
    name: str
    is_member: bool = True
    is_private: bool = False
    is_archived: bool = False
    messages: list[dict[str, Any]] = attrs.field(factory=list)
    posted_at: float = 0.0

    def find(self, ts: str | None) -> dict[str, Any] | None:
        """Return the message with this timestamp."""
        return next((one for one in self.messages if one["ts"] == ts), None)


@attrs.define
class File:
    """Hold a file that is being uploaded, or was."""

    id: str
    name: str
    length: int
    content: bytes | None = None
    title: str = ""
    shared: bool = False


def decoded(data: Any) -> Any:
    """Return what is passed "as a URL-encoded string" of JSON, or as JSON."""
    return json.loads(data) if isinstance(data, str) else data


def true(data: Any) -> bool:
    """Return whether a flag is set, as JSON or in a form."""
    return data in (True, 1, "1", "true")


def described(channel: Channel) -> dict[str, Any]:
    """Return a channel as the documentation shows it."""
    return {
        "id": channel.id, "name": channel.name, "is_channel": True, "is_member": channel.is_member,
        "is_private": channel.is_private, "is_archived": channel.is_archived,
    }  # fmt: skip


def within(message: dict[str, Any], arguments: Arguments) -> bool:
    """Return whether a message lies between `oldest` and `latest`."""
    ts, ends = float(message["ts"]), true(arguments.get("inclusive"))
    oldest, latest = arguments.get("oldest"), arguments.get("latest")
    after = not oldest or ts > float(oldest) or (ends and ts == float(oldest))
    before = not latest or ts < float(latest) or (ends and ts == float(latest))
    return after and before


def read(message: dict[str, Any], arguments: Arguments) -> dict[str, Any]:
    """Leave out what metadata holds unless it is asked for."""
    if "metadata" not in message or true(arguments.get("include_all_metadata")):
        return message
    return {**message, "metadata": {"event_type": message["metadata"]["event_type"]}}


def content_of(arguments: Arguments) -> dict[str, Any]:
    """Return the checked text, blocks and metadata; text beyond the limit is cut by Slack."""
    content: dict[str, Any] = {}
    if arguments.get("text"):
        content["text"] = str(arguments["text"])[:TEXT_CUT_AT]
    if arguments.get("blocks") is not None:
        try:
            blocks = decoded(arguments["blocks"])
        except ValueError:
            raise Refused("invalid_blocks_format") from None
        if found := kit.problems(blocks):
            words = {"messages": [f"[ERROR] {one}" for one in found]}
            raise Refused("invalid_blocks", errors=found, response_metadata=words)
        if [one["type"] for one in blocks].count("table") > 1:
            raise Refused("invalid_attachments", errors=["only_one_table_allowed"])
        if kit.too_long(blocks):
            raise Refused("msg_blocks_too_long")
        content["blocks"] = blocks
    if not content:
        raise Refused("no_text")
    if arguments.get("metadata") is not None:
        metadata = decoded(arguments["metadata"])
        if not isinstance(metadata, dict):
            raise Refused("invalid_metadata_format")
        if metadata and not (
            isinstance(metadata.get("event_type"), str)
            and isinstance(metadata.get("event_payload"), dict)
        ):
            raise Refused("invalid_metadata_format")
        content["metadata"] = metadata
    return content


def page(items: list[Any], cursor: str, limit: int) -> tuple[list[Any], str]:
    """Return a page and the cursor of the next, empty at the end: page "Pagination"."""
    start = 0
    if cursor:
        kind, _, number = base64.b64decode(cursor, validate=True).decode().partition(":")
        if kind != "next":
            raise ValueError(cursor)
        start = int(number)
    end = start + limit
    following = base64.b64encode(f"next:{end}".encode()).decode() if end < len(items) else ""
    return items[start:end], following
