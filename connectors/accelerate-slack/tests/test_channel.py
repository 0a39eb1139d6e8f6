# SPDX-License-Identifier: Apache-2.0
"""What a channel shows: a thread per run, each thing once, brought up to date in place."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import attrs
import pytest
from accelerate_slack.connector import SlackConnector
from slack_sdk import WebClient

from accelerate_core import events
from accelerate_core.errors import ConnectorError
from accelerate_core.testing import samples
from accelerate_core.testing.service import Answer, Fault

from . import blocks as kit
from .conftest import connector_of
from .server import SlackServer

#: slack_sdk leaves them to the garbage collector; see conftest.py.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

SAMPLES = {one.kind: one for one in samples.every_event()}
PICTURE = events.Attachment(
    name="trend.png", media_type="image/png", data=b"\x89PNG", description="Latency of 30 runs"
)


def sample(kind: str, minutes: float = 0, **changes: Any) -> Any:
    """Return an event of a kind, so many minutes after the others."""
    at = samples.START + timedelta(minutes=minutes)
    return attrs.evolve(SAMPLES[kind], at=at, **changes)


def regression(minutes: float = 0, **changes: Any) -> Any:
    return sample("regression", minutes, **{"id": "r-1", "label": "latency of minilm", **changes})


def a_run(run_id: str = "run-1") -> list[events.Event]:
    """Return what a run with a regression and a failure tells, in its order."""
    return [
        sample("run_started", run_id=run_id),
        sample("measurement_stored", 1, run_id=run_id),
        regression(2, run_id=run_id),
        sample("run_finished", 3, run_id=run_id),
        sample("run_failed", 3, run_id=run_id),
    ]


def read(message: dict[str, Any]) -> str:
    return kit.shown(message)


def test_a_run_is_a_thread(service: SlackServer, connector: SlackConnector) -> None:
    receipts = [connector.deliver(event) for event in a_run()]
    head, measured, worse, failed = service.messages
    assert "quickstart.toml finished" in read(head), "its start was brought up to date"
    assert {one["thread_ts"] for one in (measured, worse, failed)} == {head["ts"]}
    assert "latency of minilm became worse" in read(worse) and "failed" in read(failed)
    # Only what somebody has to see stands in the channel, too.
    assert [one.get("subtype") for one in service.messages] == [
        None,
        None,
        "thread_broadcast",
        None,
    ]
    assert [one.id for one in receipts] == [
        head["ts"], measured["ts"], worse["ts"], head["ts"], failed["ts"],
    ]  # fmt: skip
    web = WebClient(service.token, base_url=service.base_url)
    for receipt, message in zip(receipts[1:3], (measured, worse), strict=True):
        link = web.chat_getPermalink(channel="C0BENCH0001", message_ts=message["ts"])["permalink"]
        assert receipt.url == link


def test_two_runs_are_two_threads(service: SlackServer, connector: SlackConnector) -> None:
    for first, second in zip(a_run("run-1"), a_run("run-2"), strict=True):
        connector.deliver(first)
        connector.deliver(second)
    heads = [one for one in service.messages if one.get("thread_ts", one["ts"]) == one["ts"]]
    assert len(heads) == 2
    # Both tell of one regression.
    assert sum("became worse" in read(one) for one in service.messages) == 1


def test_without_a_head_messages_stand_in_the_channel(
    service: SlackServer, connector: SlackConnector
) -> None:
    for event in (regression(), sample("run_failed"), sample("notification")):
        connector.deliver(event)
    assert len(service.messages) == 3
    assert not any("thread_ts" in one for one in service.messages)


def test_notifications_stand_in_the_channel(
    service: SlackServer, connector: SlackConnector
) -> None:
    for kind in ("run_started", "notification"):
        connector.deliver(sample(kind))
    assert "thread_ts" not in service.messages[1]


def test_a_process_tells_on_where_another_was_killed(service: SlackServer) -> None:
    for event in a_run():
        connector_of(service).deliver(event)
    before, count = [dict(one) for one in service.messages], len(service.requests)
    for event in a_run():
        connector_of(service).deliver(event)
    assert service.messages == before
    assert not any("/chat." in one.path for one in service.requests[count:])


@pytest.mark.parametrize("fault", ["lost", "reset"])
def test_whichever_request_fails_each_thing_is_shown_once(
    service: SlackServer, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    shown = ("run_started", "regression", "run_finished")
    told = [attrs.evolve(one, attachments=(PICTURE,)) for one in a_run() if one.kind in shown]
    at, failures = 0, 0
    while failures == at:
        faults = iter([*[None] * at, fault])
        monkeypatch.setattr(service, "next_fault", lambda faults=faults: next(faults, None))
        service.messages.clear()
        connector = connector_of(service)
        for event in told:
            try:
                connector.deliver(event)
            except ConnectorError:
                failures += 1
                connector.deliver(event)
        texts = [read(one) for one in service.messages if "blocks" in one]
        files = [one["files"][0]["name"] for one in service.messages if "files" in one]
        assert len(texts) == 2 and "finished" in texts[0] and "became worse" in texts[1], at
        assert len(files) == len(set(files)) == 3, at
        at += 1
    assert at > 15, "every request failed once"


def test_killed_between_the_message_and_its_answer(
    service: SlackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """
import os, sys
from accelerate_slack.connector import SlackConnector
from accelerate_slack.plugin import SlackSettings
from accelerate_core.secrets import Secret
from accelerate_core.testing import samples
from accelerate_core.testing.service import Answer, Fault
connector = SlackConnector(
    SlackSettings(token=Secret(sys.argv[1]), channel="#benchmarks", api_url=sys.argv[2])
)
for event in samples.every_event():
    if event.kind == "regression":
        connector.deliver(event)
"""
    post: Callable[..., Any] = service._post

    def post_and_kill(*arguments: Any) -> Any:
        message = post(*arguments)
        os.kill(process.pid, signal.SIGKILL)
        return message

    monkeypatch.setattr(service, "_post", post_and_kill)
    process = subprocess.Popen([sys.executable, "-c", script, service.token, service.base_url])
    assert process.wait(60) == -signal.SIGKILL
    monkeypatch.undo()
    assert len(service.messages) == 1
    connector_of(service).deliver(SAMPLES["regression"])
    assert len(service.messages) == 1


def test_a_regression_that_is_fixed_in_a_later_run_is_the_same_message(
    service: SlackServer,
) -> None:
    for event in a_run():
        connector_of(service).deliver(event)
    count = len(service.messages)
    fixed = regression(60, run_id="run-2", status="fixed")
    connector = connector_of(service)
    connector.deliver(sample("run_started", 50, run_id="run-2"))
    connector.deliver(fixed)
    connector.deliver(regression(120, run_id="run-3", note="it was fixed, and is back"))
    assert len(service.messages) == count + 1, "the new run's head"
    (message,) = (one for one in service.messages if "latency of minilm" in read(one))
    assert "became worse" in read(message) and "it was fixed, and is back" in read(message)


def test_old_news_do_not_replace_newer(service: SlackServer, connector: SlackConnector) -> None:
    connector.deliver(sample("run_finished", 3))
    receipt = connector.deliver(sample("run_started"))
    (message,) = service.messages
    assert "finished" in read(message) and receipt.id == message["ts"]


def test_what_people_deleted_is_told_anew(service: SlackServer, connector: SlackConnector) -> None:
    connector.deliver(sample("run_started"))
    service.messages.clear()
    connector.deliver(sample("run_finished", 3))
    assert "finished" in read(service.messages[0])


@pytest.mark.parametrize("is_new", [False, True])
@pytest.mark.parametrize("needs_parents", [False, True])
def test_without_the_head_that_people_deleted_all_stands_in_the_channel(
    service: SlackServer, connector: SlackConnector, is_new: bool, needs_parents: bool
) -> None:
    service.needs_parents = needs_parents
    connector.deliver(sample("run_started"))
    service.delete(service.messages[0])
    told = regression(2, attachments=(PICTURE,))
    for event in (told, told):
        connector.deliver(event)
        connector = connector_of(service) if is_new else connector
    worse, picture = service.messages
    assert "became worse" in read(worse) and worse["thread_ts"] == worse["ts"]
    assert picture["thread_ts"] == worse["ts"]
    connector.deliver(sample("run_finished", 3))
    connector.deliver(sample("run_failed", 3))
    *_, head, failed = service.messages
    assert "finished" in read(head) and failed["thread_ts"] == head["ts"]


@pytest.mark.parametrize("needs_parents", [False, True])
def test_a_head_that_is_deleted_between_two_replies(
    service: SlackServer, connector: SlackConnector, needs_parents: bool
) -> None:
    service.needs_parents = needs_parents
    connector.deliver(sample("run_started"))
    connector.deliver(sample("measurement_stored", 1))
    service.messages.clear()
    connector.deliver(regression(2, attachments=(PICTURE,)))
    worse, picture = service.messages
    assert "became worse" in read(worse) and picture["thread_ts"] == worse["ts"]


def test_what_another_process_told_anew_is_brought_up_to_date(
    service: SlackServer, connector: SlackConnector
) -> None:
    connector.deliver(sample("run_started"))
    service.delete(service.messages[0])
    connector_of(service).deliver(sample("run_started"))
    service.fail_next("500")
    with pytest.raises(ConnectorError):
        connector.deliver(sample("run_finished", 3))
    connector.deliver(sample("run_finished", 3))
    (message,) = service.messages
    assert "finished" in read(message)


def test_replies_stay_together_below_a_head_that_people_deleted(
    service: SlackServer, connector: SlackConnector
) -> None:
    connector.deliver(sample("run_started"))
    connector.deliver(sample("measurement_stored", 1))
    service.delete(service.messages[0])
    connector.deliver(regression(2))
    head, *replies = service.messages
    assert head["subtype"] == "tombstone" and len(replies) == 2
    assert {one["thread_ts"] for one in replies} == {head["ts"]}
    connector.deliver(sample("run_finished", 3))
    assert "finished" in read(service.messages[-1]) and len(service.messages) == 4


def test_messages_of_others_are_left_alone(service: SlackServer, connector: SlackConnector) -> None:
    connector.deliver(sample("run_started"))
    (other,) = service.messages
    other |= {"bot_id": "B0OTHER0001", "user": "U0OTHER0001"}
    connector_of(service).deliver(sample("run_finished", 3))
    assert "started" in read(other) and "finished" in read(service.messages[1])


def test_earlier_messages_are_found_on_later_pages(service: SlackServer) -> None:
    connector = connector_of(service)
    for number in range(7):
        connector.deliver(sample("run_started", run_id=f"run-{number}"))
    service.page_size = 2
    connector = connector_of(service)
    # The channel is listed, the first page comes, the second does not.
    service.fail_next("slow", "slow", "slow", "500")
    with pytest.raises(ConnectorError):
        connector.deliver(sample("run_finished", 3, run_id="run-0"))
    for number in range(7):
        connector.deliver(sample("run_finished", 3, run_id=f"run-{number}"))
    assert len(service.messages) == 7
    assert all("finished" in read(one) for one in service.messages)


def test_pictures_are_in_the_thread_once(service: SlackServer) -> None:
    event = regression(2, attachments=(PICTURE, attrs.evolve(PICTURE, name="table.csv")))
    connector = connector_of(service)
    connector.deliver(sample("run_started"))
    for one in (connector, connector_of(service)):
        one.deliver(event)
    head, _, *shared = service.messages
    assert [one["files"][0]["title"] for one in shared] == ["Latency of 30 runs"] * 2
    assert {one["thread_ts"] for one in shared} == {head["ts"]}
    assert [one.content for one in service.files] == [PICTURE.data] * 2
    assert [one.name.split("-", 1)[1] for one in service.files] == ["trend.png", "table.csv"]
    # Slack shares no file whose upload was asked for with a description.
    asked = [one for one in service.requests if one.path.endswith("getUploadURLExternal")]
    assert asked and not any("alt_txt" in one.form() for one in asked)


def test_pictures_under_faults_are_there_once(service: SlackServer) -> None:
    connector = connector_of(service)
    service.fail_some(0.3)
    told = [regression(2, id=f"r-{number}", attachments=(PICTURE,)) for number in range(8)]
    for event in told:
        for _ in range(40):
            try:
                connector.deliver(event)
                break
            except ConnectorError as error:
                assert error.info.retryable, error
        else:
            pytest.fail("not delivered in 40 tries")
    assert sum("files" in one for one in service.messages) == len(told)
    assert sum("metadata" in one for one in service.messages) == len(told)


def test_a_short_wait_is_waited_for(service: SlackServer, connector: SlackConnector) -> None:
    service.paced = True
    for number in range(2):
        connector.deliver(regression(id=f"r-{number}"))
    assert len(service.messages) == 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(body=b"<html>Log in to the network</html>"), "the answer is no JSON"),
        (Answer(body=b'{"ok": tru'), "the answer is no JSON"),
        (Answer(body=b'{"ok": true', headers={"content-length": "99"}), "no connection"),
        (Answer.of({"ok": False, "error": "service_unavailable"}), "service_unavailable"),
    ],
)
def test_answers_that_are_none_are_asked_for_again(
    service: SlackServer,
    connector: SlackConnector,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    words: str,
) -> None:
    monkeypatch.setattr(service, "handle", lambda request: answer)
    with pytest.raises(ConnectorError, match=words) as caught:
        connector.deliver(regression())
    assert caught.value.info.retryable


def test_a_refusal_nobody_knows_is_said_in_slacks_words(
    service: SlackServer, connector: SlackConnector, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = {"ok": False, "error": "new_rule", "response_metadata": {"messages": ["[ERROR] x"]}}
    monkeypatch.setattr(service, "handle", lambda request: Answer.of(refusal))
    with pytest.raises(ConnectorError, match=r"Slack refused: new_rule: \[ERROR\] x") as caught:
        connector.deliver(regression())
    assert caught.value.info.retryable is False


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("restricted_action_non_threadable_channel", "takes no replies"),
        ("restricted_action_thread_locked", "locked the thread"),
        ("restricted_action_thread_only_channel", "takes replies only"),
        ("is_archived", "is archived"),
    ],
)
def test_what_a_channel_does_not_take_is_said(
    service: SlackServer,
    connector: SlackConnector,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    words: str,
) -> None:
    monkeypatch.setattr(service, "handle", lambda request: Answer.of({"ok": False, "error": code}))
    with pytest.raises(ConnectorError, match=words) as caught:
        connector.deliver(regression())
    assert caught.value.info.retryable is False and caught.value.info.hint


def test_long_texts_and_hostile_ones_are_taken(
    service: SlackServer, connector: SlackConnector
) -> None:
    texts = ("x" * 10_000, "<!channel> <@U0HUMAN0001> @here", *samples.HOSTILE)
    for number, text in enumerate(texts):
        for event in samples.every_event(text):
            link = "https://reports.example.com/"
            connector.deliver(attrs.evolve(event, run_id=f"run-{number}", link=link))
    assert service.mentions == []
    assert not any(kit.unescaped(one) for one in service.messages)


def test_names_call_nobody_when_a_message_is_brought_up_to_date(
    service: SlackServer, connector: SlackConnector
) -> None:
    run = samples.run_info(name="@here")
    connector.deliver(sample("run_started", run=run))
    summary = attrs.evolve(SAMPLES["run_finished"].summary, run=run)
    connector.deliver(sample("run_finished", 3, summary=summary))
    (message,) = service.messages
    assert "@here finished" in read(message) and service.mentions == []


def test_secrets_are_in_no_error_and_no_log(
    service: SlackServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    service.token = "xoxb-canary-0123456789"
    connector = connector_of(service)
    connector.deliver(regression(attachments=(PICTURE,)))
    for fault in ("401", "403", "429", "500", "503", "reset", "cut"):
        service.retry_after_s = 60
        service.fail_next(fault)
        with pytest.raises(ConnectorError) as caught:
            connector.deliver(regression(id=fault, attachments=(PICTURE,)))
        assert "canary" not in f"{caught.value!r} {caught.value} {caught.value.info}"
        assert "/upload/" not in str(caught.value)
    assert "canary" not in caplog.text and "/upload/" not in caplog.text
    assert "canary" not in repr(vars(connector))
