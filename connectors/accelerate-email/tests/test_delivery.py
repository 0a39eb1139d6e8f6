# SPDX-License-Identifier: Apache-2.0
"""What a real mail server gets, and what its refusals become."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accelerate_email.connector import EmailConnector

from accelerate_core.delivering.attached import Attached
from accelerate_core.delivering.message import message_of
from accelerate_core.errors import ConnectorError, ErrorInfo
from accelerate_core.events import Attachment
from accelerate_core.secrets import Secret

from .samples import TEAM, connector, picture, regression, settings
from .smtp import CLOSING, CUT, GREYLISTED, LOST, Encryption, MailServer

PASSWORD = "wrong-and-secret"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailServer]:
    with MailServer(tmp_path_factory.mktemp("mail"), most_bytes=200_000) as running:
        yield running


@pytest.fixture
def server(served: MailServer) -> MailServer:
    served.messages.clear()
    served.unknown.clear()
    return served


def failed(server: MailServer, **changes: Any) -> ErrorInfo:
    with pytest.raises(ConnectorError) as caught:
        connector(server, **changes).deliver(regression())
    return caught.value.info


def ids(server: MailServer) -> list[str]:
    return [one.message["Message-ID"] for one in server.messages]


@pytest.mark.parametrize("encryption", ["none", "starttls", "tls"])
def test_mail_arrives_whole(tmp_path: Path, encryption: Encryption) -> None:
    user = None if encryption == "none" else "accelerate"
    with MailServer(tmp_path, encryption, user=user) as server:
        made = connector(server, to=("Ünal <u@x.example>", '"Doe, Jane" <j@x.example>'))
        assert made.check() == []
        receipt = made.deliver(regression(attachments=(picture(),)))
        (one,) = server.messages
    assert one.sender == "bench@x.example" and one.recipients == ("u@x.example", "j@x.example")
    assert one.user == user and one.is_encrypted == (encryption != "none")
    assert receipt.id == one.message["Message-ID"]
    assert one.message["To"] == 'Ünal <u@x.example>, "Doe, Jane" <j@x.example>'
    (shown,) = [part for part in one.message.walk() if part.get_content_type() == "image/png"]
    assert shown.get_content() == picture().data


@pytest.mark.parametrize("kept", [True, False])
def test_a_lost_answer_is_told_again_under_the_same_id(server: MailServer, kept: bool) -> None:
    server.refuse("DATA", LOST if kept else CUT)
    made = connector(server)
    with pytest.raises(ConnectorError) as caught:
        made.deliver(regression())
    assert caught.value.info.retryable
    made.deliver(regression())
    assert len(ids(server)) == 1 + kept and len(set(ids(server))) == 1


def test_many_mails_under_faults_all_arrive_and_twice_only_where_an_answer_was_lost(
    tmp_path: Path,
) -> None:
    with MailServer(tmp_path, "none", user=None) as server:
        server.fail_some(0.5)
        made = connector(server)
        for number in range(20):
            for _ in range(20):
                try:
                    made.deliver(regression(id=f"r-{number}"))
                    break
                except ConnectorError as error:
                    assert error.info.retryable
        assert len(set(ids(server))) == 20
        assert len(ids(server)) == 20 + server.lost > 20


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(
    ("answer", "is_retryable"),
    [(GREYLISTED, True), (CLOSING, True), ("554 5.7.1 Refused by policy", False)],
)
def test_what_passes_is_tried_again(
    server: MailServer, command: Any, answer: str, is_retryable: bool
) -> None:
    server.refuse(command, answer)
    info = failed(server)
    assert info.retryable is is_retryable and answer in info.message
    assert bool(info.hint) is not is_retryable
    assert not server.messages


def test_some_refused_recipients_are_named_and_the_others_are_told(server: MailServer) -> None:
    server.unknown = {"gone@x.example"}
    made = connector(server, to=(TEAM, "gone@x.example", "b@x.example"))
    with pytest.raises(ConnectorError) as caught:
        made.deliver(regression())
    info = caught.value.info
    assert "gone@x.example (550 5.1.1 No such user here)" in info.message
    assert TEAM not in info.message and info.retryable is False
    assert info.hint == "Mend `to`. Everybody else was told."
    (one,) = server.messages
    assert one.recipients == (TEAM, "b@x.example")
    server.unknown |= {TEAM, "b@x.example"}
    with pytest.raises(ConnectorError, match="Nobody was told"):
        made.deliver(regression())


def test_who_was_told_is_not_told_again_because_of_the_others(server: MailServer) -> None:
    server.unknown = {"gone@x.example"}
    made = connector(server, to=("late@x.example", TEAM, "gone@x.example"))
    for _ in range(2):
        server.refuse("RCPT", GREYLISTED)
        with pytest.raises(ConnectorError) as caught:
            made.deliver(regression())
        assert caught.value.info.retryable and "late@x.example" in caught.value.info.message
        assert "gone" not in caught.value.info.message
    with pytest.raises(ConnectorError) as caught:
        made.deliver(regression())
    assert caught.value.info.retryable is False and "gone@x.example" in caught.value.info.message
    assert [one.recipients for one in server.messages] == [(TEAM,), ("late@x.example",)]
    assert len(set(ids(server))) == 1
    # What ended is forgotten: told once more, it is told to all.
    server.unknown.clear()
    made.deliver(regression())
    assert server.messages[-1].recipients == ("late@x.example", TEAM, "gone@x.example")


def test_nobody_counts_as_told_when_the_server_closes_among_recipients(server: MailServer) -> None:
    server.unknown = {"gone@x.example"}
    made = connector(server, to=("gone@x.example", TEAM, "late@x.example"))
    server.unknown.clear()
    server.refuse("RCPT", "250 OK", CLOSING)
    with pytest.raises(ConnectorError) as caught:
        made.deliver(regression())
    assert caught.value.info.retryable and not server.messages
    made.deliver(regression())
    assert set(server.messages[0].recipients) == {"gone@x.example", TEAM, "late@x.example"}


def test_pictures_too_large_for_the_server_are_left_out(server: MailServer) -> None:
    connector(server).deliver(regression(attachments=(picture(size=300_000),)))
    (one,) = server.messages
    assert "image/png" not in {part.get_content_type() for part in one.message.walk()}
    assert "too large for the server" in one.raw.decode()


def test_what_stays_too_large_is_named(tmp_path: Path) -> None:
    with MailServer(tmp_path, "none", user=None, most_bytes=2000) as server:
        info = failed(server)
        assert not server.messages
    assert info.message.startswith("the mail is too large: 552") and info.retryable is False


def test_nothing_is_drawn_for_a_server_that_takes_no_mail(server: MailServer) -> None:
    drawn: list[str] = []

    def draw() -> tuple[Attachment, ...]:
        drawn.append("history")
        return (picture(),)

    event = regression(attachments=Attached(draw))
    for changes in ({"port": 1}, {"password": Secret(PASSWORD)}):
        with pytest.raises(ConnectorError):
            connector(server, **changes).deliver(event)
    assert not drawn
    connector(server).deliver(event)
    assert drawn == ["history"]


def test_content_is_waited_for_and_a_good_bye_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accelerate_email.sending._BYE_S", 0.05)
    with MailServer(tmp_path, "none", user=None) as server:
        server.slow_s = {"DATA": 0.8, "QUIT": 20}
        began = time.monotonic()
        EmailConnector(settings(server), timeout_s=0.5).deliver(regression())
        assert time.monotonic() - began < 10 and len(server.messages) == 1


def test_a_login_that_fails_for_now_is_tried_again(server: MailServer) -> None:
    server.refused_login = "454 4.7.0 Temporary authentication failure"
    info = failed(server)
    server.refused_login = ""
    assert info.message == "the server cannot log anybody in now (454)" and info.retryable


def test_a_wrong_password_is_a_typed_error_that_does_not_hold_it(server: MailServer) -> None:
    info = failed(server, password=Secret(PASSWORD))
    assert info.message == "user or password is wrong (535)" and info.retryable is False
    assert "`password`" in str(info.hint) and PASSWORD not in str(info)


def test_an_unknown_authority_and_another_name_are_typed_errors(
    server: MailServer, tmp_path: Path
) -> None:
    info = failed(server, authority=None)
    assert "certificate of localhost" in info.message and "`authority`" in str(info.hint)
    assert info.retryable is False
    with MailServer(tmp_path, "tls", certified=("mail.example",)) as other:
        info = failed(other)
    assert "mismatch" in info.message and "`host`" in str(info.hint) and info.retryable is False


def test_check_tells_nobody_anything(server: MailServer) -> None:
    assert connector(server).check() == [] and not server.messages


def test_check_names_what_is_wrong(server: MailServer, tmp_path: Path) -> None:
    def said(**changes: Any) -> str:
        (sentence,) = connector(server, **changes).check()
        return str(sentence)

    assert "nobody listens" in said(port=1) and "`port`" in said(port=1)
    assert "`authority`" in said(authority=None)
    assert "speaks no TLS" in said(security="tls") and '"starttls"' in said(security="tls")
    assert "user or password is wrong" in said(password=Secret(PASSWORD))
    server.refuse("MAIL", "553 5.7.1 Sender address rejected: not owned by user")
    said_of_sender = said()
    assert "refuses the sender bench@x.example" in said_of_sender and "`sender`" in said_of_sender
    assert "530" in said(user=None, password=None)
    server.unknown = {"gone@x.example"}
    said_of_to = said(to=(TEAM, "gone@x.example"))
    assert "gone@x.example" in said_of_to and "`to`" in said_of_to and TEAM not in said_of_to
    (tmp_path / "empty.pem").write_text("nothing")
    assert "holds no certificates" in said(authority=tmp_path / "empty.pem")
    assert not server.messages


def test_check_names_a_wrong_host(server: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    (said,) = connector(server, host="no-such-host.invalid").check()
    assert said == "the host no-such-host.invalid is not known. Mend `host`."


def test_check_names_a_login_that_is_not_offered(tmp_path: Path) -> None:
    with MailServer(tmp_path, "none", user=None) as server:
        login: dict[str, Any] = {"user": "a", "password": Secret(PASSWORD)}
        (said,) = connector(server, **login, allow_plain_password=True).check()
        assert "takes no login" in said and "`password`" in said
        (said,) = connector(server, security="starttls").check()
        assert "does not offer STARTTLS" in said and "`security`" in said


def test_a_server_that_waits_for_tls_is_named(tmp_path: Path) -> None:
    with MailServer(tmp_path, "tls") as server:
        made = EmailConnector(settings(server, security="starttls"), timeout_s=0.3)
        (said,) = made.check()
        with pytest.raises(ConnectorError) as caught:
            made.deliver(regression())
    assert "did not answer in time" in said and 'security = "tls"' in said
    assert caught.value.info.retryable


def test_the_message_of_a_mail_is_that_of_its_event(server: MailServer) -> None:
    connector(server).deliver(regression())
    assert server.messages[0].message["Subject"] == message_of(regression()).title
