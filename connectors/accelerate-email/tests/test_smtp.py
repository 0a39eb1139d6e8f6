# SPDX-License-Identifier: Apache-2.0
"""The mail server of the tests takes mail, and refuses it with the codes of the RFCs."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from pathlib import Path

import pytest

from .smtp import CLOSING, CUT, GREYLISTED, LOST, Encryption, MailServer


def mail(content: str = "Hello") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@x.example", "b@x.example", "Ä 🙂"
    message.set_content(content)
    return message


def connect(server: MailServer, password: str | None = None) -> smtplib.SMTP:
    trust = ssl.create_default_context(cafile=str(server.authority.path))
    client: smtplib.SMTP
    if server.encryption == "tls":
        client = smtplib.SMTP_SSL(server.host, server.port, timeout=10, context=trust)
    else:
        client = smtplib.SMTP(server.host, server.port, timeout=10)
        if server.encryption == "starttls":
            client.starttls(context=trust)
    try:
        if server.user:
            client.login(server.user, password or server.password)
    except smtplib.SMTPException:
        client.close()
        raise
    return client


@pytest.mark.parametrize("encryption", ["none", "starttls", "tls"])
def test_mail_arrives_as_it_was_sent(tmp_path: Path, encryption: Encryption) -> None:
    user = None if encryption == "none" else "accelerate"
    with MailServer(tmp_path, encryption, user=user) as server:
        with connect(server) as client:
            client.send_message(mail("first"))
            client.send_message(mail("second"))
        assert [one.message.get_content() for one in server.messages] == ["first\n", "second\n"]
        one = server.messages[0]
        assert one.message["Subject"] == "Ä 🙂" and one.recipients == ("b@x.example",)
        assert one.is_encrypted == (encryption != "none") and one.user == user


@pytest.mark.parametrize("only", ["LOGIN", "PLAIN"])
def test_a_password_is_wanted(tmp_path: Path, only: str) -> None:
    with MailServer(tmp_path, only=only) as server:  # type: ignore[arg-type]
        with pytest.raises(smtplib.SMTPAuthenticationError) as caught:
            connect(server, "wrong")
        assert caught.value.smtp_code == 535
        connect(server).close()
        assert set(server.logins) == {only}
        client = smtplib.SMTP(server.host, server.port, timeout=10)
        with client, pytest.raises(smtplib.SMTPException) as refused:
            client.send_message(mail())
        assert getattr(refused.value, "smtp_code", None) == 530 and not server.messages


def test_only_who_trusts_the_authority_is_connected(tmp_path: Path) -> None:
    with MailServer(tmp_path, "tls") as server, pytest.raises(ssl.SSLCertVerificationError):
        smtplib.SMTP_SSL(server.host, server.port, context=ssl.create_default_context())
    (tmp_path / "other").mkdir()
    other = MailServer(tmp_path / "other", "tls", certified=("mail.example",))
    with other as server, pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        connect(server)


def test_mail_is_refused_as_told(tmp_path: Path) -> None:
    with MailServer(tmp_path, most_bytes=2000) as server, connect(server) as client:
        server.unknown = {"b@x.example"}
        with pytest.raises(smtplib.SMTPRecipientsRefused) as unknown:
            client.send_message(mail())
        assert unknown.value.recipients["b@x.example"][0] == 550
        server.unknown.clear()
        server.refuse("RCPT", GREYLISTED)
        with pytest.raises(smtplib.SMTPRecipientsRefused) as later:
            client.send_message(mail())
        assert later.value.recipients["b@x.example"][0] == 451
        with pytest.raises(smtplib.SMTPSenderRefused) as large:
            client.send_message(mail("x" * 3000))
        assert large.value.smtp_code == 552
        server.refuse("DATA", "554 5.7.1 Refused as spam")
        with pytest.raises(smtplib.SMTPDataError) as spam:
            client.send_message(mail())
        assert spam.value.smtp_code == 554 and not server.messages
        server.refuse("MAIL", CLOSING)
        with pytest.raises(smtplib.SMTPSenderRefused) as closing:
            client.send_message(mail())
        assert closing.value.smtp_code == 421


@pytest.mark.parametrize("kept", [True, False])
def test_a_connection_is_cut_before_the_answer(tmp_path: Path, kept: bool) -> None:
    with MailServer(tmp_path) as server:
        server.refuse("DATA", LOST if kept else CUT)
        client = connect(server)
        with pytest.raises(smtplib.SMTPServerDisconnected):
            client.send_message(mail())
        client.close()
        assert len(server.messages) == kept
        with connect(server) as again:
            again.send_message(mail())
        assert len(server.messages) == kept + 1
