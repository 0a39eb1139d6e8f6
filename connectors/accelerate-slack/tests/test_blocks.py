# SPDX-License-Identifier: Apache-2.0
"""Messages in blocks: readable, escaped, cut to Slack's limits with a link to the whole."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from accelerate_slack.blocks import escaped, rendered

from accelerate_core.delivering.message import SEVERITIES, Message, message_of
from accelerate_core.testing import samples

from . import blocks as kit

LINK = "https://reports.example.com/run-1.html"
EXAMPLE = Message(
    key="k",
    subject="s",
    title="latency became worse",
    severity="major",
    text="two\nlines",
    facts=(("Change", "+50%"), ("Cause", "commit 0a1b")),
    header=("Model", "Latency"),
    rows=(("minilm", "15 ms"), ("bert", "")),
    link=LINK,
)


def as_sent(message: Message) -> dict[str, Any]:
    """Return what Slack would be sent, checked as Slack would."""
    made = rendered(message)
    assert kit.problems(made.blocks) == []
    assert not kit.too_long(made.blocks)
    assert len(json.dumps(made.blocks)) < 100_000
    sent = {"text": made.text, "blocks": made.blocks}
    assert kit.mentions(sent) == [] and kit.unescaped(sent) == []
    return sent


def shown(message: Message) -> str:
    return kit.shown(as_sent(message))


def test_all_parts_are_shown_in_order() -> None:
    sent = as_sent(EXAMPLE)
    assert [one["type"] for one in sent["blocks"]] == ["header", "rich_text", "table", "rich_text"]
    read = kit.shown(sent)
    places = [
        read.index(one)
        for one in ("latency became worse", "two\nlines", "Change", "+50%", "Latency", "15 ms")
    ]
    assert places == sorted(places)
    assert "Change: " in read and "See more" in read
    assert sent["blocks"][-1]["elements"][0]["elements"][-1]["url"] == LINK
    # A cell may not be empty.
    assert sent["blocks"][2]["rows"][2][1] == {"type": "raw_text", "text": "-"}


def test_a_title_alone_is_one_block() -> None:
    sent = as_sent(Message(key="k", subject="s", title="run-1 started"))
    assert len(sent["blocks"]) == 1 and "run-1 started" in sent["text"]


def test_each_severity_has_a_colour_of_its_own() -> None:
    colours = {rendered(attrs.evolve(EXAMPLE, severity=one)).text[0] for one in SEVERITIES}
    assert len(colours) == len(SEVERITIES)


@pytest.mark.parametrize(
    "text", [*samples.HOSTILE, "<!channel> @here <@U123> &amp; *b* `c` :fire:"]
)
def test_hostile_texts_are_shown_as_they_are(text: str) -> None:
    for event in samples.every_event(text):
        message = message_of(event)
        read = shown(message)
        for one in (message.title, message.text, *(value for _, value in message.facts)):
            assert one in read


def test_people_are_not_called_and_markup_is_not_obeyed() -> None:
    text = "<!channel> <@U0HUMAN0001> *bold* <https://evil.example|click>"
    message = attrs.evolve(EXAMPLE, title=text, text=text, rows=((text, text),))
    message = attrs.evolve(message, facts=((text, text),))
    sent = as_sent(message)
    kinds = {kind for kind, _ in kit.texts(sent["blocks"])}
    assert "mrkdwn" not in kinds, "only there is markup obeyed"
    assert kit.shown(sent).count(text) == 6
    # What notifications say is marked up, so it is escaped.
    assert "&lt;!channel&gt;" in sent["text"] and kit.shown({"text": sent["text"]}).count(text) == 1


def test_10_000_characters_are_cut_with_a_link_to_the_whole() -> None:
    for long in ("x" * 10_000, "&<>" * 3_333, "🙂" * 10_000, "ש" * 10_000):
        message = attrs.evolve(
            EXAMPLE, title=long, text=long, facts=((long, long),), rows=((long, long),) * 200
        )
        read = shown(message)
        assert "…" in read and "See the whole" in read
        assert "196 more rows" in read
        assert long[:2000] in read


def test_a_title_that_is_cut_is_said_in_full_below() -> None:
    title = f"{'long ' * 40}title"
    read = shown(attrs.evolve(EXAMPLE, title=title))
    assert read.count(title) == 1 and "two\nlines" in read
    assert "Long texts are cut" not in read, "nothing is missing"


def test_rows_beyond_a_table_are_counted() -> None:
    rows = tuple((f"model-{number}", f"{number} ms") for number in range(150))
    read = shown(attrs.evolve(EXAMPLE, rows=rows))
    assert "model-98" in read and "model-99" not in read and "51 more rows" in read
    wide = shown(attrs.evolve(EXAMPLE, header=tuple("abcdefghijklmnopqrstuvwxyz"), rows=()))
    assert "See the whole" in wide


def test_many_facts_are_cut() -> None:
    facts = tuple((f"fact {number}", "v" * 100) for number in range(200))
    read = shown(attrs.evolve(EXAMPLE, facts=facts))
    assert "fact 20" in read and "fact 199" not in read and "Long texts are cut" in read


def test_without_a_link_it_is_said_that_something_is_missing() -> None:
    read = shown(attrs.evolve(EXAMPLE, link=None, text="x" * 10_000))
    assert "Long texts are cut" in read
    assert "See" not in shown(attrs.evolve(EXAMPLE, link=None))


def test_a_link_that_is_no_address_of_the_web_is_text() -> None:
    sent = as_sent(attrs.evolve(EXAMPLE, link="javascript:alert(1)"))
    assert '"link"' not in json.dumps(sent["blocks"])
    assert "javascript:alert(1)" in kit.shown(sent)


def test_escapes_are_never_cut_in_two() -> None:
    for most in range(8, 40):
        text = escaped("a&b<c>&&&&<<<<>>>>" * 5, most)
        assert len(text) <= most
        assert kit.unescaped({"text": text}) == []
