# SPDX-License-Identifier: Apache-2.0
"""Secrets come from outside the file, and show themselves nowhere."""

from __future__ import annotations

import logging
import pickle
import sys
import threading
from pathlib import Path

import attrs
import keyring
import keyring.backend
import pytest

from accelerate_core.cli.commands import invoke
from accelerate_core.errors import ConfigError, ErrorInfo
from accelerate_core.secrets import RedactingFilter, Secret, read, redact, redacted
from accelerate_core.settings import structure


@attrs.frozen
class Settings:
    token: Secret


class Ring(keyring.backend.KeyringBackend):
    """A keyring of one entry."""

    priority = 1  # type: ignore[assignment]

    def get_password(self, service: str, username: str) -> str | None:
        return "hush-hush" if (service, username) == ("slack", "bot") else None

    def set_password(self, service: str, username: str, password: str) -> None: ...


def made(reference: str) -> str:
    return structure({"token": reference}, Settings, where="p.toml").token.reveal()


def test_a_secret_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_TOKEN", "xoxb-1")
    assert made("env:SLACK_TOKEN") == "xoxb-1"
    monkeypatch.delenv("SLACK_TOKEN")
    with pytest.raises(ConfigError, match="SLACK_TOKEN is not set") as caught:
        made("env:SLACK_TOKEN")
    assert caught.value.info.where == "p.toml key token"


def test_a_secret_comes_from_a_file_that_only_its_owner_can_read(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("xoxb-2\n")
    path.chmod(0o600)
    assert made(f"file:{path}") == "xoxb-2"
    for mode in (0o640, 0o604, 0o620):
        path.chmod(mode)
        with pytest.raises(ConfigError, match="others can read") as caught:
            made(f"file:{path}")
        assert f"chmod 600 {path}" in str(caught.value)
    path.chmod(0o600)
    path.write_text(" \n")
    with pytest.raises(ConfigError, match="is empty"):
        made(f"file:{path}")
    with pytest.raises(ConfigError, match="is not there") as missing:
        made(f"file:{tmp_path / 'no'}")
    assert "chmod 600" in (missing.value.info.hint or "")
    with pytest.raises(ConfigError, match="cannot be read"):
        made(f"file:{tmp_path}")


def test_a_secret_comes_from_a_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keyring.get_keyring()
    keyring.set_keyring(Ring())
    try:
        assert made("keyring:slack/bot") == "hush-hush"
        with pytest.raises(ConfigError, match="holds nothing for slack/me"):
            made("keyring:slack/me")
    finally:
        keyring.set_keyring(before)
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(ConfigError, match="not installed"):
        made("keyring:slack/bot")


@pytest.mark.parametrize("reference", ["xoxb-3", "", "env:", "http://x"])
def test_a_secret_in_the_file_itself_is_refused_and_not_repeated(reference: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(reference)
    assert caught.value.info.accepted
    assert len(reference) < 5 or reference not in str(caught.value)


def test_a_secret_is_in_no_text_and_leaves_no_process() -> None:
    secret = Secret("canary-4711")
    shown = f"{secret} {secret!r} {[secret]} {Settings(secret)}"
    assert "canary" not in shown
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    info = ErrorInfo(
        kind="X", message="GET /?t=canary-4711", where="canary-4711", hint="canary-4711"
    )
    assert "canary" not in str(redacted(info)) and redacted(info).message == "GET /?t=***"
    Secret("abc")  # too short to be told from words
    assert redact("abc") == "abc"


def test_a_webhook_is_hidden_however_its_parts_are_named() -> None:
    Secret("https://flows.example/hooks/9f8e7d6c5b4a3210/run?api-version=1&sig=Zq%2Fcanary+4714")
    for text in (
        "https://flows.example/hooks/9f8e7d6c5b4a3210/run?api-version=1&sig=Zq%2Fcanary+4714",
        "host='flows.example': url: /hooks/9f8e7d6c5b4a3210/run?api-version=1&sig=Zq%2Fcanary+4714",
        "no flow 9f8e7d6c5b4a3210",
        "wrong signature Zq/canary 4714",
    ):
        shown = redact(text)
        assert "canary" not in shown and "9f8e7d6c" not in shown and "***" in shown, shown
    assert redact("flows.example does not answer") == "flows.example does not answer"


def test_a_secret_is_hidden_as_urls_json_and_python_write_it() -> None:
    Secret('can"ary/47 15\\x')
    for text in ("can%22ary%2F47%2015%5Cx", "can%22ary%2F47+15%5Cx", 'can\\"ary/47 15\\\\x'):
        assert redact(f"<{text}>") == "<***>", text


def test_secrets_may_appear_while_others_are_hidden() -> None:
    done = threading.Event()

    def appear() -> None:
        for number in range(300):
            Secret(f"canary-of-a-thread-{number}")
        done.set()

    thread = threading.Thread(target=appear)
    thread.start()
    while not done.is_set():
        assert redact("nothing in it") == "nothing in it"
    thread.join()


def test_the_longer_of_two_secrets_is_hidden_whole() -> None:
    Secret("hunter")
    Secret("hunter2-and-more")
    assert redact("is hunter2-and-more") == "is ***"


def test_logs_are_without_secrets_tracebacks_included(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret("canary-4712")
    caplog.handler.addFilter(hidden := RedactingFilter())
    try:
        logging.getLogger("x").warning("sent %s", secret.reveal())
        try:
            raise ValueError(secret.reveal())
        except ValueError:
            logging.getLogger("x").exception("failed")
    finally:
        caplog.handler.removeFilter(hidden)
    assert "canary" not in caplog.text and "sent ***" in caplog.text


def test_commands_print_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Secret("canary-4713")
    for words in (["run", "canary-4713.toml"], ["no-canary-4713"]):
        for is_debug in (False, True):
            assert invoke(words, is_debug=is_debug) != 0
    printed = capfd.readouterr()
    assert "canary" not in printed.out + printed.err and "***" in printed.err
