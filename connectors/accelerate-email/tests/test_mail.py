# SPDX-License-Identifier: Apache-2.0
"""A mail as it is written: headers, parts, escaping and limits."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any

import attrs
import pytest
from accelerate_email.fitting import fitted
from accelerate_email.mail import compose

from accelerate_core.delivering.message import Message, message_of
from accelerate_core.events import Attachment, Event
from accelerate_core.testing import samples

from .samples import LINK, picture, regression

NOW = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)
SENDER = ("Benchmarks", "bench@x.example")
#: Events in which users' words stand in every part of a message.
WORDY = ("run_failed", "measurement_stored", "notification")
#: After so many bytes of HTML Gmail shows the rest only on request.
CLIPPED = 102_000


class Page(HTMLParser):
    """Hold what a browser would make of a page: its tags, links, pictures and words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(mail: EmailMessage) -> EmailMessage:
    """Return the mail as whoever receives it reads it."""
    return email.message_from_bytes(mail.as_bytes(), policy=email.policy.default)


def events(text: str) -> list[Event]:
    return [attrs.evolve(one, link=LINK) for one in samples.every_event(text) if one.kind in WORDY]


def written(message: Message, **changes: Any) -> EmailMessage:
    return read(compose(message, sender=SENDER, to=[("", "team@x.example")], now=NOW, **changes))


def text_of(mail: EmailMessage) -> str:
    part = mail.get_body(("plain",))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def page_of(mail: EmailMessage) -> Page:
    part = mail.get_body(("html",))
    assert part is not None
    return Page(part.get_content().replace("\r\n", "\n"))


def test_text_and_page_say_the_same() -> None:
    mail = written(message_of(regression()))
    page = page_of(mail)
    for said in ("latency of tiny on cpu became worse: 10 → 15 ms", "Before → after", "high"):
        assert said in text_of(mail) and said in page.words, said
    assert mail["Subject"] == "latency of tiny on cpu became worse: 10 → 15 ms"
    assert mail["From"] == "Benchmarks <bench@x.example>" and mail["To"] == "team@x.example"
    assert f"More: {LINK}" in text_of(mail) and ("href", LINK) in page.attributes
    assert mail["Date"].datetime == NOW and mail["Auto-Submitted"] == "auto-generated"


def test_the_same_message_has_one_id_and_others_about_its_subject_are_in_its_thread() -> None:
    found, again = (written(message_of(regression(id="r-1"))) for _ in range(2))
    fixed = written(message_of(regression(id="r-1", status="fixed")))
    other = written(message_of(regression(id="r-2")))
    assert found["Message-ID"] == again["Message-ID"]
    assert len({found["Message-ID"], fixed["Message-ID"], other["Message-ID"]}) == 3
    assert found["References"] == fixed["References"] == fixed["In-Reply-To"]
    assert found["References"] != other["References"]
    assert found["References"] not in (found["Message-ID"], fixed["Message-ID"])


def test_a_picture_is_shown_inside_and_other_files_are_attached() -> None:
    table = Attachment(name="../a\r\nb.csv", media_type="text/csv", data=b"a,b\n1,2\n")
    drawing = Attachment(name="a.svg", media_type="image/svg+xml", data=b"<svg/>")
    event = regression(attachments=(picture(), picture(), table, drawing))
    mail = written(message_of(event))
    kinds = [part.get_content_type() for part in mail.walk()]
    assert kinds == [
        "multipart/mixed", "multipart/alternative", "text/plain",
        "multipart/related", "text/html", "image/png", "image/png",
        "text/csv", "image/svg+xml",
    ]  # fmt: skip
    parts = list(mail.walk())
    shown = [value for name, value in page_of(mail).attributes if name == "src"]
    assert shown == [f"cid:{part['Content-ID'].strip('<>')}" for part in parts[5:7]]
    assert len(set(shown)) == 2 and parts[5].get_content() == picture().data
    assert ("alt", "Latency over 30 runs") in page_of(mail).attributes
    assert [part.get_filename() for part in parts[7:]] == ["a b.csv", "a.svg"]
    assert parts[5].get_content_disposition() == "inline"
    assert "Attached: history.png (Latency over 30 runs)" in text_of(mail)


@pytest.mark.parametrize("text", samples.HOSTILE)
def test_any_text_arrives_as_it_is_and_runs_nowhere(text: str) -> None:
    harmless = page_of(written(Message(key="k", subject="s", title="t"))).tags
    for event in events(text):
        message = message_of(event)
        mail = written(message)
        page = page_of(mail)
        assert page.tags <= harmless | {"p", "div", "tr", "th", "td", "img", "a"}
        # A folded header may begin with white space, which programs leave out.
        assert mail["Subject"].strip() == message.title
        said = [message.title, message.text, *(cell for row in message.rows for cell in row)]
        for one in (one.strip().replace("\r\n", "\n") for one in said):
            assert one in "".join(page.words), one
            assert all(line in text_of(mail) for line in one.splitlines() if len(line) < 40)


def test_a_line_break_makes_no_header() -> None:
    event = regression()
    hostile = "x\r\nBcc: all@x.example\r\n\r\nhello"
    sneaking = attrs.evolve(event, id=hostile, label=hostile, run_id=hostile)
    for message in (
        message_of(sneaking),
        attrs.evolve(message_of(event), key=hostile, subject=hostile),
    ):
        mail = written(message)
        assert mail["Bcc"] is None and mail.get_content_type() == "multipart/alternative"
    with pytest.raises(ValueError):
        compose(message_of(event), sender=("a\r\nBcc: b", SENDER[1]), to=[SENDER], now=NOW)


LONG = ("x" * 10_000, "word " * 2000, "🙂" * 10_000, "<" * 10_000, "שלום " * 2000, "\n" * 10_000)


@pytest.mark.parametrize("text", LONG, ids=["x", "words", "emoji", "markup", "hebrew", "lines"])
def test_long_texts_are_cut_with_a_link_to_the_whole(text: str) -> None:
    for event in events(text):
        mail = written(message_of(event))
        html = mail.get_body(("html",))
        assert html is not None and len(html.get_content().encode()) < CLIPPED
        assert ("href", LINK) in page_of(mail).attributes and LINK in text_of(mail)
        assert len(mail["Subject"]) <= 200
        assert max(map(len, mail.as_bytes().splitlines())) <= 998  # RFC 5322, 2.1.1


def test_what_is_not_shown_is_said() -> None:
    message = Message(
        key="k",
        subject="s",
        title="t",
        text="x" * 5000,
        facts=(("name", "value"),) * 31,
        header=("a", "b"),
        rows=(("<" * 200,) * 7,) * 900,
        attachments=(picture(),),
    )
    mail = written(message, has_files=False)
    (shown,) = [len(fitted(message).message.rows)]
    assert 0 < shown < 50
    for note in (
        "The text was cut.",
        f"Not shown: {900 - shown} more rows.",
        "Not shown: 1 more fact.",
        "Not shown: 1 file, too large for the server.",
    ):
        assert note in text_of(mail) and note in page_of(mail).words
    html = mail.get_body(("html",))
    assert html is not None and len(html.get_content().encode()) < CLIPPED


def test_a_link_that_runs_is_no_link() -> None:
    message = attrs.evolve(message_of(regression()), link="javascript:alert(1)//<b>")
    page = page_of(written(message))
    assert not {"a", "b"} & page.tags and "javascript:alert(1)//<b>" in page.words


def test_tables_are_such_in_plain_text_too() -> None:
    message = Message(
        key="k",
        subject="s",
        title="t",
        facts=(("Run", "r-1"), ("Commit", "abc")),
        header=("Model", "Status"),
        rows=(("tiny", "ok"), ("b",)),
    )
    assert "Run:    r-1\nCommit: abc\n" in text_of(written(message))
    assert "Model  Status\n-----  ------\ntiny   ok\nb\n" in text_of(written(message))
