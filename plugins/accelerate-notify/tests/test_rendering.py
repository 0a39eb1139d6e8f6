# SPDX-License-Identifier: Apache-2.0
"""Templates: one's own replace the built-in ones, and a wrong one is found before a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from accelerate_notify.alerts import about
from accelerate_notify.rendering import NAMES, Renderer
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from accelerate_core.delivering.message import message_of
from accelerate_core.errors import ConfigError
from accelerate_core.events import Notification
from accelerate_core.testing import samples

from .office import NOW, RENDERER, regression

BASE = Notification(id="1", run_id="run-1", at=NOW, to=("slack",), title="")


def filled(renderer: Renderer, *events: Any, template: str = "group", **more: Any) -> Notification:
    alerts = [about(event, lambda _: None) for event in events]
    zone = ZoneInfo("Europe/Berlin")
    return renderer.notification(template, alerts, rule="ours", base=BASE, zone=zone, **more)


def folder(tmp_path: Path, **templates: str) -> Path:
    for name, text in templates.items():
        (tmp_path / f"{name}.j2").write_text(text)
    return tmp_path


@pytest.mark.parametrize("template", NAMES)
@pytest.mark.parametrize("text", ["minilm", *samples.HOSTILE])
def test_every_template_takes_every_event_with_any_words(template: str, text: str) -> None:
    kinds = ("run_started", "run_finished", "run_failed", "measurement_stored", "worker_lost")
    events = [event for event in samples.every_event(text) if event.kind in kinds]
    hostile = regression(label=text, model=text, cause=text)
    for some in ([hostile], [*events, hostile], *([one] for one in events)):
        made = filled(RENDERER, *some, template=template, after_s=60.0)
        assert made.title and "\n" not in made.title
        message = message_of(made)
        assert message.title == made.title, "what is made is clean already"
        assert "49" not in made.title + made.text, "words of users are no templates"


@hypothesis_settings(deadline=None, max_examples=60)
@given(st.text(max_size=200), st.text(max_size=200))
def test_any_words_come_through_as_they_are(label: str, cause: str) -> None:
    made = filled(RENDERER, regression(label=label, cause=cause), regression("b"))
    message = about(regression(label=label, cause=cause), lambda _: None).message
    assert made.rows[0][0] == message.title or made.rows[1][0] == message.title


def test_ones_own_replace_the_built_in_ones_by_name(tmp_path: Path) -> None:
    path = folder(tmp_path, group="{{ rule }}: {{ what }}\n{{ alerts[0].model[0] }}\n\nBye.\n")
    made = filled(Renderer(path), regression("a"), regression("b"))
    assert (made.title, made.text) == ("ours: 2 regressions", "bert\n\nBye.")
    alone = filled(Renderer(path), regression("a"), template="alert")
    assert alone.title == "latency of a became worse: 10 → 15"


def test_what_comes_out_is_text_and_not_escaped_for_any_format(tmp_path: Path) -> None:
    path = folder(tmp_path, alert="<b>{{ alert.model[0] }}</b>")
    assert filled(Renderer(path), regression(model="a & b"), template="alert").title == (
        "<b>a & b</b>"
    )


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("Title\n{{ alert.modell }}\n", 2, "modell"),
        ("{{ cuase }}", 1, "'cuase' is undefined"),
        ("Title\n\n{% for one in alerts %}\n", 3, "expected"),
        ("Title\n{{ 1 / 0 }}", 2, "division by zero"),
        ("Title\n{{ alert.key | shout }}", 2, "shout"),
        ("{% if false %}x{% endif %}", 1, "its first line is the title"),
        ("Title\n{{ alert.__class__.__mro__ }}", 2, "unsafe"),
        ("Title\n{{ ''.__class__.__base__.__subclasses__() }}", 2, "unsafe"),
        ("{% include 'secret' %}", 1, "secret"),
        ("Title\n{% for i in range(10 ** 9) %}x{% endfor %}", 2, "Range too big"),
        ("Title\n{% if count > 1 %}\n{{ alerts[1].oops }}\n{% endif %}", 3, "oops"),
    ],
)
def test_a_wrong_template_is_found_before_a_run(
    tmp_path: Path, text: str, line: int, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Renderer(folder(tmp_path, group=text))
    assert caught.value.info.where == f"{tmp_path / 'group.j2'} line {line}"


def test_a_template_that_replaces_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'allert'") as caught:
        Renderer(folder(tmp_path, allert="x"))
    assert "alert" in (caught.value.info.hint or "")
    with pytest.raises(ConfigError, match="no such folder"):
        Renderer(tmp_path / "nowhere")
    (tmp_path / "allert.j2").unlink()
    with pytest.raises(ConfigError, match="none is in the folder"):
        Renderer(tmp_path)
    (tmp_path / "alert.j2").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        Renderer(tmp_path)


def test_a_template_that_fails_later_hides_nothing(tmp_path: Path) -> None:
    path = folder(tmp_path, alert="Title\n{{ alert.target[0] }}")
    made = filled(Renderer(path), regression(target=""), template="alert")
    assert made.title == "latency of r-1 became worse: 10 → 15"
    assert made.facts[-1][0] == "Template" and "alert.j2 line 2: " in made.facts[-1][1]


def test_times_are_those_of_the_rules_zone() -> None:
    made = filled(RENDERER, regression("a"), regression("b"))
    assert made.rows[0][2] == "2026-11-25 13:00 CET"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (90, "1.5 min"), (7200, "2 h"), (2 * 86400, "2 d")]
)
def test_lengths_of_time_are_in_words(seconds: float, words: str) -> None:
    made = filled(RENDERER, regression(), template="escalation", after_s=seconds)
    assert made.title.startswith(f"Still open after {words}: ")
