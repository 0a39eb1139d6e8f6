# SPDX-License-Identifier: Apache-2.0
"""The test server of Slack answers as the documentation's examples do, to Slack's own client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from . import blocks as kit
from .server import SlackServer
from .workspace import Channel

HELLO = [{"type": "section", "text": {"type": "plain_text", "text": "Hello world"}}]
METADATA = {"event_type": "task_created", "event_payload": {"id": "TK-2132"}}
HERE = "C0BENCH0001"


@pytest.fixture
def server() -> Iterator[SlackServer]:
    with SlackServer() as server:
        yield server


@pytest.fixture
def client(server: SlackServer) -> WebClient:
    return WebClient(server.token, base_url=server.base_url, retry_handlers=[])


def refused(caught: pytest.ExceptionInfo[SlackApiError]) -> dict[str, Any]:
    return dict(caught.value.response.data)


def test_a_message_is_posted_found_updated_and_answered(
    server: SlackServer, client: WebClient
) -> None:
    first = client.chat_postMessage(
        channel="#benchmarks", text="Hi", blocks=HELLO, metadata=METADATA
    )
    assert first["channel"] == HERE and first["message"]["metadata"] == METADATA
    reply = client.chat_postMessage(channel=HERE, text="more", thread_ts=first["ts"])
    assert reply["message"]["thread_ts"] == first["ts"]
    client.chat_update(channel=HERE, ts=first["ts"], text="Bye", blocks=HELLO)
    [found] = client.conversations_history(channel=HERE, include_all_metadata=True)["messages"]
    assert found["text"] == "Bye" and found["metadata"] == METADATA and found["reply_count"] == 1
    [found] = client.conversations_history(channel=HERE)["messages"]
    assert found["metadata"] == {"event_type": "task_created"}, "the payload is to be asked for"
    thread = client.conversations_replies(channel=HERE, ts=first["ts"])["messages"]
    assert [one["text"] for one in thread] == ["Bye", "more"]
    client.chat_postMessage(
        channel=HERE, text="for all", thread_ts=first["ts"], reply_broadcast=True
    )
    [broadcast, _] = client.conversations_history(channel=HERE)["messages"]
    assert broadcast["text"] == "for all" and broadcast["thread_ts"] == first["ts"]
    assert broadcast["subtype"] == "thread_broadcast"
    link = client.chat_getPermalink(channel=HERE, message_ts=reply["ts"])["permalink"]
    assert f"thread_ts={first['ts']}" in link
    client.chat_update(channel=HERE, ts=first["ts"], text="words only", metadata={})
    assert "blocks" not in server.messages[0] and "metadata" not in server.messages[0]


def test_pages_hold_fewer_than_asked_for(server: SlackServer, client: WebClient) -> None:
    for number in range(5):
        client.chat_postMessage(channel=HERE, text=str(number))
    server.page_size = 2
    texts = [
        one["text"]
        for page in client.conversations_history(channel=HERE, limit=200)
        for one in page["messages"]
    ]
    assert texts == ["4", "3", "2", "1", "0"]
    ts = server.messages[2]["ts"]
    assert len(client.conversations_history(channel=HERE, oldest=ts)["messages"]) == 2
    older = client.conversations_history(channel=HERE, latest=ts, inclusive=True, limit=1)
    assert [one["text"] for one in older["messages"]] == ["2"]


def test_a_file_is_uploaded_in_three_steps(server: SlackServer, client: WebClient) -> None:
    root = client.chat_postMessage(channel=HERE, text="run")
    answer = client.files_upload_v2(
        content=b"\x89PNG", filename="a.png", title="Latency", channel=HERE, thread_ts=root["ts"]
    )
    assert answer["files"] == [{"id": server.files[0].id, "title": "Latency"}]
    assert server.files[0].content == b"\x89PNG"
    assert server.messages[1]["thread_ts"] == root["ts"]
    assert server.messages[1]["files"][0]["name"] == "a.png"
    with pytest.raises(SlackApiError) as caught:
        client.files_completeUploadExternal(files=[{"id": server.files[0].id}])
    assert refused(caught)["error"] == "file_not_found", "it can be completed only once"
    with pytest.raises(SlackApiError) as caught:
        client.files_upload_v2(content=b"x", filename="x", channel="#benchmarks")
    assert "must match regex" in refused(caught)["response_metadata"]["messages"][0]
    with pytest.raises(SlackApiError) as caught:
        client.api_call("files.upload", params={"content": "x"})
    assert refused(caught)["error"] == "method_deprecated"


def test_who_lacks_a_right_is_told_which(server: SlackServer) -> None:
    def error(client: WebClient, **arguments: Any) -> dict[str, Any]:
        with pytest.raises(SlackApiError) as caught:
            client.chat_postMessage(**{"channel": HERE, "text": "Hi", **arguments})
        return refused(caught)

    url = server.base_url
    client = WebClient(server.token, base_url=url)
    assert error(WebClient("wrong", base_url=url))["error"] == "invalid_auth"
    assert error(WebClient(base_url=url))["error"] == "not_authed"
    assert error(client, channel="#elsewhere")["error"] == "not_in_channel"
    assert error(client, channel="old")["error"] == "is_archived"
    assert error(client, channel="nowhere")["error"] == "channel_not_found"
    server.channels.append(Channel(id="G0SECRET001", name="s", is_member=False, is_private=True))
    assert error(client, channel="G0SECRET001")["error"] == "channel_not_found"
    assert client.auth_test().headers["x-oauth-scopes"] == ",".join(server.scopes)
    server.scopes = ("channels:read",)
    missing = error(client)
    assert (missing["needed"], missing["provided"]) == ("chat:write", "channels:read")
    server.revoked = "token_revoked"
    assert error(client)["error"] == "token_revoked"


def test_channels_are_listed_by_kind(server: SlackServer, client: WebClient) -> None:
    names = [one["name"] for one in client.conversations_list()["channels"]]
    assert names == ["benchmarks", "elsewhere", "old"]
    current = client.conversations_list(exclude_archived=True, limit=1)
    assert [one["name"] for one in current["channels"]] == ["benchmarks"]
    assert current["response_metadata"]["next_cursor"]
    assert not client.conversations_info(channel="C0ELSE00001")["channel"]["is_member"]


def section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def header(text: str, kind: str = "plain_text") -> dict[str, Any]:
    return {"type": "header", "text": {"type": kind, "text": text}}


def table(text: str, columns: int) -> dict[str, Any]:
    return {"type": "table", "rows": [[{"type": "raw_text", "text": text}] * columns]}


FIELD = {"type": "mrkdwn", "text": "x"}


@pytest.mark.parametrize(
    ("blocks", "where"),
    [
        ([section("x" * 3001)], "/blocks/0/text/text"),
        ([header("x" * 151)], "/blocks/0/text/text"),
        ([header("x", "mrkdwn")], "/blocks/0/text"),
        ([section("")], "/blocks/0/text/text"),
        ([{"type": "section", "fields": [FIELD] * 11}], "/blocks/0/fields"),
        ([{"type": "divider"}] * 51, "/blocks"),
        ([{"type": "divider", "block_id": "x" * 256}], "/blocks/0/block_id"),
        ([{"type": "image", "image_url": "https://x/y.png"}], "/blocks/0/alt_text"),
        ([table("x", 21)], "/blocks/0/rows/0"),
        ([table("", 1)], "/blocks/0/rows/0/0/text"),
        ([{"type": "marquee"}], "/blocks/0/type"),
    ],
)
def test_wrong_blocks_are_refused(client: WebClient, blocks: list[Any], where: str) -> None:
    with pytest.raises(SlackApiError) as caught:
        client.chat_postMessage(channel=HERE, text="x", blocks=blocks)
    answer = refused(caught)
    assert answer["error"] == "invalid_blocks"
    assert any(f"[json-pointer:{where}]" in one for one in answer["errors"])


def test_too_much_is_refused_or_cut(server: SlackServer, client: WebClient) -> None:
    with pytest.raises(SlackApiError) as caught:
        client.chat_postMessage(channel=HERE, text="x", blocks=[section("x" * 3000)] * 5)
    assert refused(caught)["error"] == "msg_blocks_too_long"
    posted = client.chat_postMessage(channel=HERE, text="x" * 50_000)
    assert len(server.messages[0]["text"]) == 40_000
    with pytest.raises(SlackApiError) as caught:
        client.chat_update(channel=HERE, ts=posted["ts"], text="x" * 4001)
    assert refused(caught)["error"] == "msg_too_long"


def test_mentions_and_what_is_not_escaped_are_noticed(
    server: SlackServer, client: WebClient
) -> None:
    client.chat_postMessage(channel=HERE, text="&lt;!channel&gt; <https://a.b/?c&amp;d|link> &amp;")
    assert not server.mentions and not kit.unescaped(server.messages[0])
    assert kit.shown(server.messages[0]) == "<!channel> link &"
    client.chat_postMessage(channel=HERE, text="<!channel> <@U012AB3CD> <!subteam^S1|team>")
    assert server.mentions == ["!channel", "@U012AB3CD", "!subteam^S1"]
    client.chat_postMessage(channel=HERE, text="<script>a & b</script>")
    assert kit.unescaped(server.messages[2])


def test_a_channel_takes_a_message_a_second(server: SlackServer, client: WebClient) -> None:
    server.paced = True
    client.chat_postMessage(channel=HERE, text="one")
    with pytest.raises(SlackApiError) as caught:
        client.chat_postMessage(channel=HERE, text="two")
    assert caught.value.response.status_code == 429
    assert caught.value.response.headers["retry-after"] == "1"
    assert refused(caught) == {"ok": False, "error": "ratelimited"}


def test_reactions_are_added_once(server: SlackServer, client: WebClient) -> None:
    ts = client.chat_postMessage(channel=HERE, text="one")["ts"]
    client.reactions_add(channel=HERE, timestamp=ts, name="white_check_mark")
    with pytest.raises(SlackApiError) as caught:
        client.reactions_add(channel=HERE, timestamp=ts, name="white_check_mark")
    assert refused(caught)["error"] == "already_reacted"
