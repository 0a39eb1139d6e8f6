# SPDX-License-Identifier: Apache-2.0
"""What events mean to people."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelerate_core.delivering.message import SEVERITIES, message_of
from accelerate_core.events import Regression, RunFailed, RunFinished
from accelerate_core.testing import samples
from accelerate_core.texts import clean, cut, one_line

EVENTS = {event.kind: event for event in samples.every_event()}


@pytest.mark.parametrize("text", ["minilm", *samples.HOSTILE])
def test_every_event_has_a_title_and_an_identity(text: str) -> None:
    for event in samples.every_event(text):
        told = message_of(attrs.evolve(event, link="https://x/1"))
        assert told.title and "\n" not in told.title
        assert told.key == event.key and told.subject == event.subject
        assert told.severity in SEVERITIES and told.link == "https://x/1"
        assert all(len(row) == len(told.header) for row in told.rows)
        whole = "".join([told.title, told.text, *(cell for row in told.rows for cell in row)])
        assert "\x1b" not in whole and "\u202e" not in whole


def test_a_regression_says_what_how_much_and_since_when() -> None:
    event = EVENTS["regression"]
    assert isinstance(event, Regression)
    known = attrs.evolve(
        event,
        label="latency of minilm on cpu",
        unit="ms",
        change=0.5,
        change_low=0.4,
        change_high=0.6,
        severity="critical",
        cause="commit abc -> def",
        first_bad_commit="def",
    )
    told = message_of(known)
    assert told.title == "latency of minilm on cpu became worse: 10 → 15 ms"
    assert told.severity == "critical"
    facts = dict(told.facts)
    assert facts["Change"] == "+50.0% (95%: +40.0% to +60.0%)"
    assert facts["Cause"] == "commit abc -> def" and facts["First bad commit"] == "def"
    fixed = message_of(attrs.evolve(known, status="fixed"))
    assert fixed.severity == "good" and "well again" in fixed.title
    assert fixed.subject == told.subject and fixed.key != told.key


def test_a_run_says_how_many_and_which_failed() -> None:
    finished, failed = EVENTS["run_finished"], EVENTS["run_failed"]
    assert isinstance(finished, RunFinished) and isinstance(failed, RunFailed)
    told = message_of(finished)
    assert told.title == "quickstart.toml finished: 1 ok, 1 mismatch"
    worse = message_of(attrs.evolve(finished, still_worse=("latency of vit: +30%",)))
    assert worse.title == "quickstart.toml finished: 1 ok, 1 mismatch, 1 still worse"
    assert worse.text == "Still worse: latency of vit: +30%"
    assert told.severity == "major" and len(told.rows) == 2
    told = message_of(attrs.evolve(failed, error=None))
    assert [row[1] for row in told.rows] == ["mismatch"]
    told = message_of(failed)
    assert told.severity == "critical" and "the page is gone" in told.title


@given(st.text(max_size=200), st.integers(1, 50))
def test_texts_are_cut_to_length_and_kept_where_they_fit(text: str, most: int) -> None:
    shown = cut(text, most)
    assert len(shown) <= most
    assert (shown == text) == (len(text) <= most) or shown.endswith("…")


@given(st.text())
def test_clean_text_can_be_encoded_and_obeyed_by_nobody(text: str) -> None:
    clean(text).encode()
    assert "\x1b" not in clean(text) and "\n" not in one_line(text)
