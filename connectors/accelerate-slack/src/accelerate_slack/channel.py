# SPDX-License-Identifier: Apache-2.0
"""A channel: what is shown in it, found again and brought up to date."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

import attrs

from accelerate_core.errors import ConnectorError
from accelerate_core.events import Attachment
from accelerate_core.texts import cut, one_line

from .api import Slack
from .blocks import Rendered
from .plugin import CHANNEL_ID

#: How messages of accelerate are called in their metadata.
EVENT_TYPE = "accelerate_item"
#: How far back earlier messages are looked for: ten times as long as the outbox tries.
_LOOKS_BACK_S = 30 * 86_400.0
#: A message that cannot be changed any more is told anew.
_GONE = ("cant_update_message", "edit_window_closed", "message_not_found")
#: The head of a thread was deleted, and it had no replies ("conversations.replies method").
_HEADLESS = ("thread_not_found",)


@attrs.frozen(kw_only=True)
class Item:
    """What a message is about, in its metadata."""

    subject: str  #: a message about the same is brought up to date
    key: str  #: of the event it tells
    at: str  #: when that happened (UTC); in the order of texts

    def metadata(self) -> dict[str, Any]:
        """Return it as Slack keeps it ("Message metadata")."""
        return {"event_type": EVENT_TYPE, "event_payload": attrs.asdict(self)}


@attrs.frozen
class Posted:
    """A message in the channel."""

    item: Item
    ts: str  #: what Slack calls it
    thread_ts: str | None  #: the head of its thread, where it is a reply


@attrs.define
class Listing:
    """What is known of messages that are listed together: a channel's, or those of one thread."""

    newest: str  #: what comes after it was not read
    items: dict[str, Posted] = attrs.field(factory=dict)
    files: list[str] = attrs.field(factory=list)
    is_current: bool = False  #: nothing is there that is not known


class Channel:
    """Show messages in one channel, each once."""

    def __init__(self, slack: Slack, name: str) -> None:
        self._slack = slack
        self._name = name
        self._id = name if CHANNEL_ID.fullmatch(name) else None
        self._workspace: str | None = None
        self._all = Listing(f"{time.time() - _LOOKS_BACK_S:.6f}")
        #: One thread at a time: runs tell of themselves one after the other.
        self._thread: tuple[str, Listing] = ("", Listing("0"))

    @property
    def id(self) -> str:
        """The channel's id, asked for where the settings say a name."""
        if self._id is None:
            self._id = str(self.info()["id"])
        return self._id

    def info(self) -> dict[str, Any]:
        """Return what Slack says of the channel; ConnectorError when it does not see it."""
        web = self._slack.web
        if self._id is not None:
            return dict(self._slack.call(web.conversations_info, channel=self._id)["channel"])
        name = self._name.removeprefix("#")
        pages = self._slack.pages(web.conversations_list, types="public_channel,private_channel")
        for page in pages:
            for one in page["channels"]:
                if one["name"] == name:
                    return dict(one)
        raise ConnectorError(
            f"the bot sees no channel #{name}",
            where="slack",
            hint="Mend `channel`; the bot sees a private one once it was invited: /invite @bot.",
            retryable=False,
        )

    def doubt(self) -> None:
        """Look at what is there before anything is told: a request failed, and may have worked."""
        self._all.is_current = self._thread[1].is_current = False

    def thread(self, subject: str) -> str | None:
        """Return the thread of the message about a subject; None where it is not there."""
        (listing,) = self._listings(None)
        head = listing.items.get(subject)
        if head is not None and len(self._listings(head.ts)) == 1:
            del listing.items[subject]
            return None
        return head.ts if head is not None else None

    def show(
        self,
        item: Item,
        message: Rendered,
        thread_ts: str | None,
        is_broadcast: bool,
    ) -> Posted:
        """Post a message, or bring the one about the same subject up to date.

        One in a thread stands in the channel as well when it is broadcast. What is older than what
        the message says already is not told any more.
        """
        content: dict[str, Any] = {
            "channel": self.id,
            "text": message.text,
            "blocks": message.blocks,
            "metadata": item.metadata(),
            # What is brought up to date is else read anew for names and channels.
            "parse": "none",
        }
        web = self._slack.web
        listings = self._listings(thread_ts)
        for listing in listings:
            known = listing.items.get(item.subject)
            if known is None:
                continue
            if known.item.key == item.key or item.at < known.item.at:
                return known
            if self._slack.call(web.chat_update, expected=_GONE, ts=known.ts, **content):
                updated = listing.items[item.subject] = attrs.evolve(known, item=item)
                return updated
        content |= {"unfurl_links": False, "unfurl_media": False}
        answer = thread_ts and self._slack.call(
            web.chat_postMessage,
            expected=_HEADLESS,
            thread_ts=thread_ts,
            reply_broadcast=is_broadcast or None,
            **content,
        )
        answer = answer or self._slack.call(web.chat_postMessage, **content)
        head = answer["message"].get("thread_ts")
        listing = listings[0] if is_broadcast or head is None else listings[-1]
        posted = listing.items[item.subject] = Posted(item, answer["ts"], head)
        return posted

    def attach(self, thread_ts: str, key: str, file: Attachment) -> None:
        """Show a file in a thread, unless it is there, or the thread is not."""
        mark = hashlib.sha256(f"{key} {file.name}".encode()).hexdigest()[:12]
        _, *threads = self._listings(thread_ts)
        if not threads or any(mark in name for name in threads[0].files):
            return
        name = f"{mark}-{file.name}"
        # No `alt_txt`: Slack then answers that all is well, and does not share the file
        # (slackapi/python-slack-sdk, issue 1818).
        self._slack.call(
            self._slack.web.files_upload_v2,
            channel=self.id,
            thread_ts=thread_ts,
            filename=name,
            file=file.data,
            title=cut(one_line(file.description or file.name), 150),
        )
        threads[0].files.append(name)

    def link(self, posted: Posted) -> str:
        """Return where people see a message."""
        if self._workspace is None:
            self._workspace = self._slack.call(self._slack.web.auth_test)["url"]
        place = f"{self._workspace}archives/{self.id}/p{posted.ts.replace('.', '')}"
        if posted.thread_ts is None:
            return place
        return f"{place}?thread_ts={posted.thread_ts}&cid={self.id}"

    def _listings(self, thread_ts: str | None) -> list[Listing]:
        """Return the channel's messages, and a thread's where it is there, read up to now."""
        web = self._slack.web
        self._read(self._all, web.conversations_history)
        if thread_ts is None:
            return [self._all]
        if self._thread[0] != thread_ts:
            self._thread = (thread_ts, Listing(thread_ts))
        thread = self._thread[1]
        self._read(thread, web.conversations_replies, expected=_HEADLESS, ts=thread_ts)
        return [self._all, thread] if thread.is_current else [self._all]

    def _read(self, listing: Listing, method: Callable[..., Any], **arguments: Any) -> None:
        """Read what is new; a thread that is not there stays unread."""
        if listing.is_current:
            return
        pages = self._slack.pages(
            method,
            channel=self.id,
            oldest=listing.newest,
            include_all_metadata=True,
            **arguments,
        )
        newest, is_there = listing.newest, False
        for page in pages:
            is_there = True
            for message in page["messages"]:
                newest = max(newest, message["ts"])
                _note(listing, message)
        # The newest come first: what was read of some pages only is read again.
        listing.newest, listing.is_current = newest, is_there


def _note(listing: Listing, message: dict[str, Any]) -> None:
    listing.files += [str(file.get("name")) for file in message.get("files") or ()]
    metadata = message.get("metadata") or {}
    payload = metadata.get("event_payload") or {}
    names = attrs.fields_dict(Item)
    if metadata.get("event_type") != EVENT_TYPE or not names.keys() <= payload.keys():
        return
    item = Item(**{name: str(payload[name]) for name in names})
    head = message.get("thread_ts")
    posted = Posted(item, message["ts"], None if head == message["ts"] else head)
    known = listing.items.get(item.subject)
    # The newest about it: what could not be changed any more was told anew.
    if known is None or known.ts < posted.ts:
        listing.items[item.subject] = posted
