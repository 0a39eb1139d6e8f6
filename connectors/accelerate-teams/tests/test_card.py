# SPDX-License-Identifier: Apache-2.0
"""A card as it is posted: schema, escaping, and what is left out when it is too large."""

from __future__ import annotations

import json
import random
from typing import Any

import attrs
import pytest
from accelerate_teams.card import card, card_id, payload
from accelerate_teams.markdown import literal

from accelerate_core.delivering.message import Message, message_of
from accelerate_core.events import Attachment, Regression
from accelerate_core.testing import samples

from . import cards
from .server import MOST_BYTES

LINK = "https://reports.example.com/run-1.html"
MESSAGE = Message(
    key="k",
    subject="s",
    title="2 regressions",
    severity="major",
    text="First line.\nSecond line.",
    facts=(("Cause", "commit abc"),),
    header=("Metric", "Before"),
    rows=(("latency", "10 ms"), ("memory",)),
    link=LINK,
)


def picture(size: int) -> Attachment:
    noise = random.Random(1).randbytes(size)
    return Attachment(name="p.png", media_type="image/png", data=noise, description="A history")


def posted(message: Message) -> dict[str, Any]:
    """Return the card that is posted; it is right, and not too large."""
    data = payload(message)
    assert len(data) <= MOST_BYTES
    (attachment,) = json.loads(data)["attachments"]
    made: dict[str, Any] = attachment["content"]
    assert cards.problems(made) == []
    return made


def kinds(made: dict[str, Any]) -> list[str]:
    return [one["type"] for one in made["body"]]


def test_a_card_says_all_of_a_message() -> None:
    made = posted(attrs.evolve(MESSAGE, attachments=(picture(1000),)))
    assert kinds(made) == ["Container", "TextBlock", "FactSet", "Image", "Table"]
    assert made["body"][0]["style"] == "attention" and made["body"][0]["id"] == card_id("k")
    assert made["actions"] == [{"type": "Action.OpenUrl", "title": "See the whole", "url": LINK}]
    assert made["body"][3]["altText"] == "A history"
    assert cards.shown(made).splitlines() == [
        "major", "2 regressions", "First line.", "", "Second line.", "Cause", "commit abc",
        "Metric", "Before", "latency", "10 ms", "memory", "See the whole",
    ]  # fmt: skip
    table = made["body"][4]
    assert table["firstRowAsHeader"] and {len(row["cells"]) for row in table["rows"]} == {2}


def test_the_id_is_that_of_the_event() -> None:
    (found,) = (event for event in samples.every_event() if isinstance(event, Regression))
    fixed = attrs.evolve(found, status="fixed")
    ids = [card(message_of(event))["body"][0]["id"] for event in (found, found, fixed)]
    assert ids[0] == ids[1] != ids[2]
    assert card(message_of(fixed))["body"][0]["style"] == "good"


HARD = (
    "**bold** _italic_ *it* __b__ snake_case ~~gone~~ `code`",
    "[title](https://evil.example) ![x](y) <https://evil.example>",
    "- item", "* item", "+ item", "1. first", "12) x", "# head", "> quoted", "---", "-",
    "{{DATE(2017-02-14T06:00:00Z, SHORT)}} {{7*7}}",
    "&lt;b&gt; &amp; & <b> \\* \\\\ <at>All</at>",
    "-5% is no item, 12.5 ms no list, +3 nothing, 2.5. neither",
)  # fmt: skip


@pytest.mark.parametrize("text", [*HARD, *samples.HOSTILE])
def test_markdown_in_a_text_is_shown_as_it_is(text: str) -> None:
    event = next(one for one in samples.every_event(text) if one.kind == "notification")
    told = message_of(event)
    value = told.facts[0][1]
    message = attrs.evolve(told, link=None, facts=((value[:50], value),))
    made = posted(message)
    assert cards.formatted(made) == []
    words = cards.shown(made).split()
    for one in (message.title, message.text, f"{value[:50]} {value}", message.rows[0][0]):
        assert " ".join(one.split()) in " ".join(words), one


def test_numbers_stay_as_they_are_and_nothing_is_struck_through() -> None:
    assert literal("~~gone~~ ~5") == r"\~~gone\~~ ~5"
    assert literal("12.5 ms → -5% (10.0)") == "12.5 ms → -5% (10.0)"


LONG = ("x" * 10_000, "word " * 2000, "🙂" * 10_000, "*" * 10_000, "<" * 10_000, "\n\n" * 5000)


@pytest.mark.parametrize("text", LONG, ids=["x", "words", "emoji", "stars", "markup", "lines"])
def test_long_texts_are_cut_with_a_link_to_the_whole(text: str) -> None:
    for event in samples.every_event(text):
        made = posted(message_of(attrs.evolve(event, link=LINK)))
        assert made["actions"][0]["url"] == LINK


def test_pictures_go_first_then_rows_then_words() -> None:
    rows = tuple((f"row {n}", "x" * 100) for n in range(45))
    small = attrs.evolve(MESSAGE, attachments=(picture(5000),))
    assert "Image" in kinds(posted(small))
    assert "Not shown" not in cards.shown(posted(small))
    large = attrs.evolve(MESSAGE, attachments=(picture(21_000),), rows=rows[:10])
    assert "Image" not in kinds(posted(large)) and "row 9" in cards.shown(posted(large))
    assert "Not shown: 1 file." in cards.shown(posted(large))
    many = attrs.evolve(MESSAGE, rows=tuple((*row, "y" * 200, "z" * 200) for row in rows))
    shown = cards.shown(posted(many))
    assert "row 20" in shown and "row 44" not in shown and "more rows." in shown
    wordy = attrs.evolve(
        MESSAGE,
        text="🙂" * 4000,
        facts=tuple((f"name {n}", "🙂" * 200) for n in range(30)),
        rows=rows,
    )
    made = posted(wordy)
    assert "Table" not in kinds(made) and "FactSet" in kinds(made)
    assert "1 end of the text" in cards.shown(made) and made["actions"][0]["url"] == LINK


def test_a_card_of_any_size_is_not_too_large() -> None:
    shown = {
        size: "Image" in kinds(posted(attrs.evolve(MESSAGE, attachments=(picture(size),))))
        for size in range(18_000, 22_000, 200)
    }
    assert shown[18_000] and not shown[21_800]


def test_a_link_that_runs_is_no_link() -> None:
    made = posted(attrs.evolve(MESSAGE, link="javascript:alert(1)"))
    assert "actions" not in made and "javascript:alert(1)" in cards.shown(made)


def test_other_files_are_not_posted() -> None:
    table = Attachment(name="a.csv", media_type="text/csv", data=b"a,b")
    drawing = Attachment(name="a.svg", media_type="image/svg+xml", data=b"<svg/>")
    made = posted(attrs.evolve(MESSAGE, attachments=(table, drawing)))
    assert "Image" not in kinds(made) and "2 files" in cards.shown(made)
