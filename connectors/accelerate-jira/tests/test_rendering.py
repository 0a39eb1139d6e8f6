# SPDX-License-Identifier: Apache-2.0
"""Messages as documents and as markup: readable, escaped, and as long as JIRA takes."""

from __future__ import annotations

import json
import re

import attrs
import pytest
from accelerate_jira import adf, markup
from accelerate_jira.fitting import BODY, SUMMARY, marker, summary
from hypothesis import given, settings
from hypothesis import strategies as st

from accelerate_core.delivering.message import Message, message_of
from accelerate_core.testing import samples
from accelerate_core.texts import clean, one_line

from . import adf as read

LONG = Message(
    key="k",
    subject="s",
    title="t" * 300,
    text="\n".join("x" * 100 for _ in range(400)),
    facts=tuple((f"fact {number}", '"' * 5_000) for number in range(80)),
    header=("Name", "Why"),
    rows=tuple((str(number), "\\" * 2_000) for number in range(500)),
    link="https://ci.example.com/run/1",
)


@pytest.mark.parametrize("text", ["minilm", *samples.HOSTILE])
def test_every_event_is_a_document_that_shows_its_words(text: str) -> None:
    for event in samples.every_event(text):
        told = message_of(attrs.evolve(event, link="https://ci.example.com/run/1"))
        made = adf.document(told)
        assert not read.wrong(made)
        shown = read.text(made)
        cells = [cell for row in told.rows for cell in row]
        assert all(words in shown for words in (*cells, *(value for _, value in told.facts)))
        assert "https://ci.example.com/run/1" in shown and marker(told) in shown


def test_what_is_empty_is_a_document_too() -> None:
    told = Message(key="k", subject="s", title="Something", rows=(("", "x"),), header=("", ""))
    assert not read.wrong(adf.document(told))
    bare = Message(key="k", subject="s", title="Something")
    assert not read.wrong(adf.document(bare)) and "Something" in markup.text(bare)


@pytest.mark.parametrize("link", ["javascript:alert(1)", "/var/report.html", "file:///x"])
def test_only_addresses_of_the_web_are_links(link: str) -> None:
    told = Message(key="k", subject="s", title="Something", link=link)
    assert '"link"' not in json.dumps(adf.document(told)) and "[" not in markup.text(told)
    assert link in read.text(adf.document(told))


def test_a_link_with_markup_stays_one() -> None:
    told = Message(key="k", subject="s", title="x", link="https://ci.example.com/a|b]{c}?d=e f")
    assert "[https://ci.example.com/a%7Cb%5D%7Bc%7D?d=e%20f]" in markup.text(told)


def test_what_is_too_long_is_cut_to_what_fits_and_says_so() -> None:
    document, text = adf.document(LONG), markup.text(LONG)
    assert len(json.dumps(document, ensure_ascii=False)) <= BODY and len(text) <= BODY
    for shown in (read.text(document), text.replace("\\", "")):
        assert re.search(r"Not shown here: \d+ more rows and longer texts\.", shown)
        assert LONG.link is not None and LONG.link in shown and marker(LONG) in shown
    assert len(summary(LONG)) == SUMMARY and summary(Message(key="", subject="", title=""))


def test_ten_thousand_characters_fit_whole() -> None:
    told = Message(key="k", subject="s", title="x", text="y" * 10_000)
    assert "y" * 10_000 in read.text(adf.document(told)) and "y" * 10_000 in markup.text(told)


def test_as_many_rows_are_shown_as_fit() -> None:
    told = attrs.evolve(LONG, text="", facts=(), rows=LONG.rows[:1] * 40)
    count = read.text(adf.document(told)).count("\\" * 2_000)
    assert 5 < count < 10
    rows = len(markup.text(attrs.evolve(told, rows=((str("a" * 700), "b"),) * 60)).splitlines())
    assert rows > 40


#: What a backslash escapes, and what it does not: "Text formatting notation help" of JIRA.
ESCAPED = re.compile(r"\\([-#*_+?^~|%{}\[\]()!@])|&#(\d+);|&amp;")


def shown(text: str) -> str:
    """Return what JIRA shows of escaped words, without anything that is markup."""
    bare = ESCAPED.sub("·", text)
    assert not re.search(r"[-#*_+?^~|%{}\[\]()!@\\]|^\s*(h[1-6]|bq)\.|:[DPp]", bare), text
    return ESCAPED.sub(lambda one: one[1] or (chr(int(one[2])) if one[2] else "&"), text)


HARD = ("", *samples.HOSTILE, "h1. Title", " bq. quote", "&lt; :D \\\\")


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(HARD), st.text(alphabet="-#*_+?^~|%{}[]()!@\\&;:DPhb1q. x", max_size=40))
def test_words_are_shown_as_they_are(more: str, text: str) -> None:
    for line in (clean(more + text), clean(text + more)):
        words = " ".join(line.splitlines())
        assert shown(markup.escape(words)) == words


def test_a_table_of_hostile_words_has_its_cells() -> None:
    rows = tuple((one_line(one), "") for one in samples.HOSTILE)
    told = Message(key="k", subject="s", title="x", header=("a|b", "c"), rows=rows)
    lines = [line for line in markup.text(told).splitlines() if line.startswith("|")]
    assert lines[0] == "||a\\|b||c||" and len(lines) == len(rows) + 1
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 3 for line in lines[1:])
