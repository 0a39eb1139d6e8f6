# SPDX-License-Identifier: Apache-2.0
"""The test server of Teams answers as a workflow of Power Automate does."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from . import cards
from .server import TeamsServer

PIXEL = "data:image/png;base64,iVBORw0KGgo="


@pytest.fixture
def server() -> Iterator[TeamsServer]:
    with TeamsServer() as server:
        yield server


def card(*body: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "AdaptiveCard", "version": "1.5", "body": list(body), **more}


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "TextBlock", "text": words, **more}


def post(url: str, content: Any, kind: str = "application/json") -> tuple[int, str]:
    request = urllib.request.Request(url, json.dumps(content).encode(), {"content-type": kind})
    try:
        with urllib.request.urlopen(request) as answer:
            assert answer.headers["x-ms-workflow-run-id"]
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())["error"]["code"]


def message(content: Any) -> dict[str, Any]:
    kind = "application/vnd.microsoft.card.adaptive"
    attachment = {"contentType": kind, "contentUrl": None, "content": content}
    return {"type": "message", "attachments": [attachment]}


def test_a_card_is_posted_and_answered_without_a_body(server: TeamsServer) -> None:
    assert post(server.webhook, message(card(text("Hello")))) == (202, "")
    assert server.cards == [card(text("Hello"))] and not server.failed
    newer = server.webhook.replace("/workflows", "/powerautomate/automations/direct/workflows")
    assert post(newer, message(card(text("Hello")))) == (202, "")


def test_a_wrong_url_is_refused(server: TeamsServer) -> None:
    hello, url = message(card(text("Hello"))), server.webhook
    without = url.partition("&sig=")[0]
    assert post(without, hello) == (401, "DirectApiAuthorizationRequired")
    assert post(f"{without}&sig=other", hello) == (401, "AuthorizationFailed")
    assert post(url.replace("/0123", "/f123"), hello) == (404, "WorkflowNotFound")
    assert post(url.partition("?")[0], hello) == (400, "MissingApiVersionParameter")
    server.is_for_tenant = True
    assert post(url, hello) == (401, "DirectApiAuthorizationRequired")
    server.is_for_tenant, server.state = False, "Disabled"
    assert post(url, hello) == (400, "WorkflowTriggerIsNotEnabled")
    assert not server.cards and not server.failed


def test_what_cannot_be_posted_is_accepted_and_lost(server: TeamsServer) -> None:
    assert post(server.webhook, {"text": "Hello"}) == (202, "")
    assert post(server.webhook, message(card(text("x" * 28 * 1024)))) == (202, "")
    assert post(server.webhook, message(card(text("Hello"))), "text/plain") == (202, "")
    assert post(server.webhook, message({"type": "MessageCard"})) == (202, "")
    assert [one.code for one in server.failed] == [
        "ExpressionEvaluationFailed",
        "RequestEntityTooLarge",
        "ExpressionEvaluationFailed",
        "BadRequest",
    ]
    assert not server.cards


CELL = {"type": "TableCell", "items": [text("x")]}
TABLE = {
    "type": "Table",
    "columns": [{"width": 1}],
    "rows": [{"type": "TableRow", "cells": [CELL]}],
}
FACTS = {"type": "FactSet", "facts": [{"title": "p50", "value": "1 ms"}]}
OPEN = {"type": "Action.OpenUrl", "title": "Report", "url": "https://reports.example/1"}


def test_what_the_schema_has_is_right() -> None:
    full = card(
        text("x", size="ExtraLarge", weight="Bolder", wrap=True, color="attention"),
        {"type": "Image", "url": PIXEL, "altText": "latency"},
        {"type": "ColumnSet", "columns": [{"type": "Column", "items": [text("x")]}]},
        {"type": "ActionSet", "actions": [OPEN]},
        TABLE,
        FACTS,
        actions=[OPEN],
        msteams={"width": "Full"},
    )
    assert cards.problems(full) == []


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        (card(version="1.6"), "card.version"),
        (card({"type": "Chart"}), "card.body[0].type"),
        (card({"type": "TextBlock"}), "card.body[0].text"),
        (card(text("x", wrap="yes")), "card.body[0].wrap"),
        (card(text("x", color="red")), "card.body[0].color"),
        (card({"type": "FactSet", "facts": [{"title": "a"}]}), "card.body[0].facts[0].value"),
        (card({"type": "FactSet", "facts": [{"title": "a", "value": 1}]}), "facts[0].value"),
        (card({"type": "Image", "url": "file:///x.png"}), "card.body[0].url"),
        (card({"type": "Image", "url": PIXEL + "!"}), "card.body[0].url"),
        (card({**TABLE, "columns": []}), "card.body[0].columns"),
        (card({**TABLE, "rows": [{"type": "TableRow"}]}), "card.body[0].rows[0].cells"),
        (card(actions=[{**OPEN, "url": "reports/1"}]), "card.actions[0].url"),
        (card(actions=[{"type": "Action.Submit", "title": "x"}]), "card.actions[0].type"),
    ],
)
def test_what_the_schema_has_not_is_wrong(wrong: dict[str, Any], where: str) -> None:
    [found] = cards.problems(wrong)
    assert where in found.partition(": ")[0]


def test_markdown_is_read_in_texts_and_facts_only() -> None:
    marked = card(text("**bold** _it_ [here](https://a.b)\n- one"), FACTS, actions=[OPEN])
    assert cards.formatted(marked) == ["[here](https://a.b)", "**bold**", "_it_", "- "]
    assert cards.shown(marked).startswith("bold it here") and "Report" in cards.shown(marked)
    plain = card(text(r"\*\*bold\*\* \_it\_ \[here\](x) 2 * 3 * 4 snake_case_name &lt;b&gt;"))
    assert cards.formatted(plain) == []
    assert cards.shown(plain) == "**bold** _it_ [here](x) 2 * 3 * 4 snake_case_name <b>"
    assert cards.links(marked) == ["https://a.b"]
