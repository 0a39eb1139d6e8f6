# SPDX-License-Identifier: Apache-2.0
"""A workspace of Slack as its Web API is documented: channels, messages, threads, files.

Each method cites the page of the Slack developer documentation that it follows. All methods take
POST with JSON or a form ("Using the Slack Web API"); errors are HTTP 200 with `ok: false`, only too
many calls are HTTP 429 ("Rate limits").
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

from accelerate_core.testing.service import Answer, Request, Service, route

from . import blocks as kit
from .workspace import (
    Arguments,
    Channel,
    File,
    Refused,
    content_of,
    decoded,
    described,
    page,
    read,
    true,
    within,
)

BOT, BOT_USER, TEAM = "B0BOT000001", "U0BOT000001", "T0TEAM00001"
EVERY_SCOPE = (
    "channels:history", "channels:read", "chat:write", "files:write",
    "groups:history", "groups:read", "reactions:write",
)  # fmt: skip
#: Error `msg_too_long` of page "chat.update method".
MOST_TEXT_OF_UPDATE = 4_000


def method(name: str) -> Callable[[Any], Any]:
    """Serve a method of the Web API by a function of its arguments."""

    def mark(function: Callable[[Any, Arguments], dict[str, Any]]) -> Any:
        def handler(self: SlackServer, request: Request) -> Answer:
            try:
                body = function(self, self._arguments(request))
            except Refused as refused:
                headers = {"retry-after": "1"} if refused.status == 429 else {}
                return self._answer(refused.body, refused.status, headers)
            return self._answer({"ok": True, **body})

        handler.__doc__ = function.__doc__
        return route("POST", f"/api/{re.escape(name)}")(handler)

    return mark


class SlackServer(Service):
    """Serve a workspace with the channels #benchmarks, #elsewhere (not joined) and #old.

    Set `token`, `scopes`, `channels`, `page_size` (fewer items a page than asked for, as Slack
    may), `paced` (one message a second and channel), `revoked` (`token_revoked`, ...) and
    `needs_parents` at will: a reply to what is not there appears in the channel, says who has
    tried, or is refused (slackapi/bolt-js, issue 2307).
    """

    #: Whole seconds, as documented; the client fails to read others.
    retry_after_s: float = 0

    def __init__(
        self, token: str = "xoxb-not-a-token", scopes: tuple[str, ...] = EVERY_SCOPE
    ) -> None:
        super().__init__()
        self.token, self.scopes = token, scopes
        self.channels = [
            Channel(id="C0BENCH0001", name="benchmarks"),
            Channel(id="C0ELSE00001", name="elsewhere", is_member=False),
            Channel(id="C0OLD000001", name="old", is_archived=True),
        ]
        self.files: list[File] = []
        self.page_size: int | None = None
        self.paced = False
        self.needs_parents = False
        self.called: list[str] = []  #: names in texts that were not to be left alone
        self.revoked: str | None = None
        self._count = 0

    # --- for tests ----------------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """Where the Web API is."""
        return f"{self.url}/api/"

    @property
    def messages(self) -> list[dict[str, Any]]:
        """All messages in the first channel, oldest first; file shares are messages, too."""
        return self.channels[0].messages

    @property
    def mentions(self) -> list[str]:
        """Whom messages called, of which none was meant to."""
        meant = [one for message in self.messages for one in kit.mentions(message)]
        return meant + self.called

    def delete(self, message: dict[str, Any]) -> None:
        """Delete a message as people do; one with replies leaves a tombstone, as apps have seen."""
        if "reply_count" not in message:
            return self.messages.remove(message)
        for name in message.keys() - {"type", "ts", "thread_ts", "reply_count", "latest_reply"}:
            del message[name]
        text = "This message was deleted."
        message.update(subtype="tombstone", hidden=True, user="USLACKBOT", text=text)

    # --- everything ---------------------------------------------------------------------------

    def refusal(self, status: int) -> Answer:
        """Word an error as Slack does: page "Using the Slack Web API", "Rate limits"."""
        if status in (502, 503):
            body_of_edge = b"<!DOCTYPE html><title>Server Error | Slack</title>"
            return Answer(status=status, body=body_of_edge, headers={"content-type": "text/html"})
        words = {
            401: (200, {"error": "invalid_auth"}),
            403: (200, {"error": "missing_scope", "needed": "chat:write", "provided": "none"}),
            404: (200, {"error": "channel_not_found"}),
            409: (200, {"error": "fatal_error"}),
            413: (200, {"error": "msg_too_long"}),
            429: (429, {"error": "ratelimited"}),
        }
        shown, body = words.get(status, (status, {"error": "internal_error"}))
        return self._answer({"ok": False, **body}, shown)

    def missing(self, request: Request) -> Answer:
        """Answer unknown methods: page "Using the Slack Web API"."""
        name = request.path.removeprefix("/api/")
        return self._answer({"ok": False, "error": "unknown_method", "req_method": name})

    def _answer(
        self, body: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
    ) -> Answer:
        more = {"x-oauth-scopes": ",".join(self.scopes), **(headers or {})}
        return Answer.of(body, status, **more)

    def _arguments(self, request: Request) -> Arguments:
        """Return what is passed as JSON, a form or a query, once the token is right."""
        arguments: Arguments = {name: values[-1] for name, values in request.query.items()}
        if request.body and request.headers.get("content-type", "").startswith("application/json"):
            try:
                data = json.loads(request.body)
            except ValueError:
                raise Refused("invalid_json") from None
            if not isinstance(data, dict):
                raise Refused("json_not_object")
            arguments |= data
        else:
            arguments |= request.form()
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        token = token or str(arguments.pop("token", ""))
        if not token:
            raise Refused("not_authed")
        if token != self.token:
            raise Refused("invalid_auth")
        if self.revoked:
            raise Refused(self.revoked)
        return arguments

    def _need(self, *scopes: str) -> None:
        """Refuse those without any of these scopes: page "missing_scope" of each method."""
        if not set(scopes) & set(self.scopes):
            raise Refused("missing_scope", needed=",".join(scopes), provided=",".join(self.scopes))

    def _channel(self, given: Any, scope: str = "", by_name: bool = False) -> Channel:
        """Return a channel by its id; refuse one that the scope `KIND:scope` is missing for."""
        for one in self.channels:
            names = (one.id, one.name, f"#{one.name}") if by_name else (one.id,)
            if given in names and (one.is_member or not one.is_private):
                if scope:
                    self._need(f"{'groups' if one.is_private else 'channels'}:{scope}")
                return one
        raise Refused("channel_not_found")

    def _message(self, channel: Channel, ts: Any) -> dict[str, Any]:
        if (message := channel.find(ts)) is None:
            raise Refused("message_not_found")
        return message

    # --- who and where ------------------------------------------------------------------------

    @method("auth.test")
    def auth_test(self, arguments: Arguments) -> dict[str, Any]:
        """Follow page "auth.test method": it needs no scope."""
        return {
            "url": f"{self.url}/", "team": "Accelerate", "user": "accelerate",
            "team_id": TEAM, "user_id": BOT_USER, "bot_id": BOT, "is_enterprise_install": False,
        }  # fmt: skip

    @method("conversations.info")
    def conversations_info(self, arguments: Arguments) -> dict[str, Any]:
        """Follow page "conversations.info method"."""
        return {"channel": described(self._channel(arguments.get("channel"), "read"))}

    @method("conversations.list")
    def conversations_list(self, arguments: Arguments) -> dict[str, Any]:
        """Follow page "conversations.list method": public ones that are not archived count, too."""
        kinds = str(arguments.get("types", "public_channel")).split(",")
        if "public_channel" in kinds:
            self._need("channels:read")
        if "private_channel" in kinds:
            self._need("groups:read")
        found = [
            described(one)
            for one in self.channels
            if ("private_channel" if one.is_private else "public_channel") in kinds
            and (one.is_member or not one.is_private)
            and not (one.is_archived and true(arguments.get("exclude_archived")))
        ]
        return self._page("channels", found, arguments, most=999)

    @method("conversations.history")
    def conversations_history(self, arguments: Arguments) -> dict[str, Any]:
        """Follow page "conversations.history method": newest first, of replies those broadcast.

        A broadcast one is a message of the channel, too: page "thread_broadcast message".
        """
        channel = self._channel(arguments.get("channel"), "history")
        if not channel.is_member:
            raise Refused("not_in_channel")
        found = [
            one
            for one in channel.messages
            if one.get("thread_ts", one["ts"]) == one["ts"]
            or one.get("subtype") == "thread_broadcast"
        ]
        chosen = [read(one, arguments) for one in reversed(found) if within(one, arguments)]
        return self._page("messages", chosen, arguments, most=999)

    @method("conversations.replies")
    def conversations_replies(self, arguments: Arguments) -> dict[str, Any]:
        """Follow page "conversations.replies method": the parent, then replies, oldest first."""
        channel = self._channel(arguments.get("channel"), "history")
        if not channel.is_member:
            raise Refused("not_in_channel")
        if (message := channel.find(arguments.get("ts"))) is None:
            raise Refused("thread_not_found")
        root = message.get("thread_ts", message["ts"])
        thread = [one for one in channel.messages if root in (one["ts"], one.get("thread_ts"))]
        chosen = [read(one, arguments) for one in thread if within(one, arguments)]
        return self._page("messages", chosen, arguments, most=1000, default=1000)

    def _page(
        self, name: str, items: list[Any], arguments: Arguments, most: int, default: int = 100
    ) -> dict[str, Any]:
        limit = min(int(arguments.get("limit") or default), most, self.page_size or most)
        try:
            chosen, following = page(items, str(arguments.get("cursor") or ""), limit)
        except ValueError:
            raise Refused("invalid_cursor") from None
        more = {"has_more": bool(following)} if name == "messages" else {}
        return {name: chosen, **more, "response_metadata": {"next_cursor": following}}

    # --- messages -----------------------------------------------------------------------------

    @method("chat.postMessage")
    def chat_post_message(self, arguments: Arguments) -> dict[str, Any]:
        """Follow page "chat.postMessage method"; a channel is known by its name here, too."""
        self._need("chat:write")
        channel = self._channel(arguments.get("channel"), by_name=True)
        self._writable(channel)
        content = content_of(arguments)
        now = time.monotonic()
        if self.paced and now - channel.posted_at < 1:
            raise Refused("ratelimited", 429)
        channel.posted_at = now
        message = self._post(channel, content, arguments.get("thread_ts"))
        if "thread_ts" in message and true(arguments.get("reply_broadcast")):
            message["subtype"] = "thread_broadcast"
        return {"channel": channel.id, "ts": message["ts"], "message": message}

    @method("chat.update")
    def chat_update(self, arguments: Arguments) -> dict[str, Any]:
        """Follow page "chat.update method": what is left out stays, but text alone drops blocks.

        `parse` "defaults to `client`, unlike chat.postMessage": names in texts are then linked.
        """
        self._need("chat:write")
        if arguments.get("parse") != "none":
            self.called += re.findall(r"@\w+", str(arguments.get("text") or ""))
        channel = self._channel(arguments.get("channel"))
        message = self._message(channel, arguments.get("ts"))
        if message.get("bot_id") != BOT:
            raise Refused("cant_update_message")
        if channel.is_archived:
            raise Refused("is_archived")
        if len(str(arguments.get("text") or "")) > MOST_TEXT_OF_UPDATE:
            raise Refused("msg_too_long")
        content = content_of(arguments)
        if "blocks" not in content and "text" in content:
            message.pop("blocks", None)
            message["edited"] = {"user": BOT_USER, "ts": self._ts()}
        message.update(content)
        if not message.get("metadata", True):
            del message["metadata"]
        return {
            "channel": channel.id, "ts": message["ts"], "text": message["text"], "message": message,
        }  # fmt: skip

    @method("chat.getPermalink")
    def chat_get_permalink(self, arguments: Arguments) -> dict[str, Any]:
        """Follow page "chat.getPermalink method": it needs no scope."""
        channel = self._channel(arguments.get("channel"))
        message = self._message(channel, arguments.get("message_ts"))
        link = f"{self.url}/archives/{channel.id}/p{message['ts'].replace('.', '')}"
        if (root := message.get("thread_ts")) not in (None, message["ts"]):
            link += f"?thread_ts={root}&cid={channel.id}"
        return {"channel": channel.id, "permalink": link}

    @method("reactions.add")
    def reactions_add(self, arguments: Arguments) -> dict[str, Any]:
        """Follow page "reactions.add method"."""
        self._need("reactions:write")
        channel = self._channel(arguments.get("channel"))
        message = self._message(channel, arguments.get("timestamp"))
        name = str(arguments.get("name") or "")
        if not re.fullmatch(r"[a-z0-9_+'-]+", name):
            raise Refused("invalid_name")
        given = message.setdefault("reactions", [])
        if any(one["name"] == name for one in given):
            raise Refused("already_reacted")
        given.append({"name": name, "users": [BOT_USER], "count": 1})
        return {}

    def _writable(self, channel: Channel) -> None:
        if channel.is_archived:
            raise Refused("is_archived")
        if not channel.is_member and "chat:write.public" not in self.scopes:
            raise Refused("not_in_channel")

    def _ts(self) -> str:
        self._count += 1
        return f"{int(time.time())}.{self._count:06d}"

    def _post(self, channel: Channel, content: dict[str, Any], thread: Any) -> dict[str, Any]:
        message = {
            "type": "message", "text": "", **content, "ts": self._ts(),
            "user": BOT_USER, "bot_id": BOT, "app_id": "A0APP000001", "team": TEAM,
        }  # fmt: skip
        parent = channel.find(str(thread)) if thread is not None else None
        if thread is not None and parent is None and self.needs_parents:
            raise Refused("thread_not_found")
        if parent is not None:
            root = channel.find(parent.get("thread_ts")) or parent
            root["thread_ts"] = message["thread_ts"] = root["ts"]
            root["reply_count"] = root.get("reply_count", 0) + 1
            root["latest_reply"] = message["ts"]
        channel.messages.append(message)
        return message

    # --- files --------------------------------------------------------------------------------

    @method("files.upload")
    def files_upload(self, arguments: Arguments) -> dict[str, Any]:
        """Follow changelog "files.upload is sunset": it is gone since November 2025."""
        raise Refused("method_deprecated")

    @method("files.getUploadURLExternal")
    def files_get_upload_url(self, arguments: Arguments) -> dict[str, Any]:
        """Follow page "files.getUploadURLExternal method"; JSON is not taken."""
        self._need("files:write")
        missing = [name for name in ("filename", "length") if not arguments.get(name)]
        if missing:
            words = [f"[ERROR] missing required field: {name}" for name in missing]
            raise Refused("invalid_arguments", response_metadata={"messages": words})
        number = f"F0FILE{len(self.files):05d}"
        self.files.append(File(number, str(arguments["filename"]), int(arguments["length"])))
        return {"upload_url": f"{self.url}/upload/v1/{number}", "file_id": number}

    @route("POST", r"/upload/v1/(\w+)")
    def upload(self, request: Request) -> Answer:
        """Follow page "files.getUploadURLExternal method": raw bytes, no token."""
        assert request.match is not None
        file = next((one for one in self.files if one.id == request.match[1]), None)
        if file is None:
            return Answer(status=404)
        if len(request.body) != file.length:
            return Answer(status=400, body=b"length differs from what was announced")
        file.content = request.body
        return Answer(body=f"OK - {file.length}".encode())

    @method("files.completeUploadExternal")
    def files_complete_upload(self, arguments: Arguments) -> dict[str, Any]:
        """Follow page "files.completeUploadExternal method": once a file; shared as a message."""
        self._need("files:write")
        given = decoded(arguments.get("files"))
        if not isinstance(given, list) or not given:
            raise Refused("invalid_arguments")
        files = []
        for one in given:
            file = next((known for known in self.files if known.id == one.get("id")), None)
            if file is None or file.content is None or file.shared:
                raise Refused("file_not_found")
            file.title = one.get("title") or file.name
            files.append(file)
        if (where := arguments.get("channel_id") or arguments.get("channels")) is not None:
            if not re.fullmatch(r"[CGDZ][A-Z0-9]{8,}", where):
                words = "[ERROR] input must match regex pattern: ^[CGDZ][A-Z0-9]{8,}$"
                words += " [json-pointer:/channel_id]"
                raise Refused("invalid_arguments", response_metadata={"messages": [words]})
            channel = self._channel(where)
            self._writable(channel)
            shared = [{"id": one.id, "name": one.name, "title": one.title} for one in files]
            content = {"text": arguments.get("initial_comment") or "", "files": shared}
            self._post(channel, content, arguments.get("thread_ts"))
        for file in files:
            file.shared = True
        return {"files": [{"id": one.id, "title": one.title} for one in files]}
