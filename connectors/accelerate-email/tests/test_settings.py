# SPDX-License-Identifier: Apache-2.0
"""Settings that cannot be are refused before anything is started."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from accelerate_email.connector import EmailConnector
from accelerate_email.plugin import EmailSettings, named

from accelerate_core.assembly import make_connectors, make_host
from accelerate_core.config import parse
from accelerate_core.errors import ConfigError
from accelerate_core.settings import structure

GOOD: dict[str, Any] = {"host": "smtp.x.example", "sender": "a@x.example", "to": ["b@x.example"]}


def made(**changes: Any) -> EmailSettings:
    return structure({**GOOD, **changes}, EmailSettings, where="connectors.email")


@pytest.mark.parametrize(("security", "port"), [("starttls", 587), ("tls", 465), ("plain", 25)])
def test_the_port_is_that_of_the_security(security: str, port: int) -> None:
    assert made(security=security).at_port == port
    assert made(security=security, port=2525).at_port == 2525


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"sender": "nobody"}, "sender", "no address"),
        ({"sender": "a@x.example\nBcc: b@x.example"}, "sender", "no address"),
        ({"sender": "A\r\nBcc: b@x.example <a@x.example>"}, "sender", "no address"),
        ({"sender": "a@x.example, b@x.example"}, "sender", "no address"),
        ({"to": []}, "to", "nobody is to be told"),
        ({"to": ["b@x.example", "jürgen@x.example"]}, "to", "no address"),
        ({"host": "smtp x"}, "host", "no host"),
        ({"port": 0}, "port", "no port"),
        ({"security": "ssl"}, "security", "not allowed"),
        ({"user": "a"}, "password", "a user and a password"),
        ({"password": "env:ACCEL_TEST_PASSWORD"}, "user", "a user and a password"),
        ({"user": "a", "password": "swordfish"}, "password", "in the file itself"),
        ({"authority": "/no/such.pem"}, "authority", "no file"),
        (
            {"user": "a", "password": "env:ACCEL_TEST_PASSWORD", "security": "plain"},
            "security",
            "readable for everybody",
        ),
        ({"user": "a", "password": "env:ACCEL_TEST_OTHER"}, "password", "other than ASCII"),
        ({"user": "jürgen", "password": "env:ACCEL_TEST_PASSWORD"}, "user", "other than ASCII"),
    ],
)
def test_what_cannot_be_is_refused(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], key: str, words: str
) -> None:
    monkeypatch.setenv("ACCEL_TEST_PASSWORD", "swordfish")
    monkeypatch.setenv("ACCEL_TEST_OTHER", "schwertfiß")
    with pytest.raises(ConfigError) as caught:
        made(**changes)
    said = str(caught.value)
    assert key in said and words in said
    assert caught.value.info.accepted or caught.value.info.hint
    assert "swordfish" not in said or changes.get("password") == "swordfish"
    assert "schwertfiß" not in said


def test_a_password_in_the_clear_must_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCEL_TEST_PASSWORD", "swordfish")
    login = {"user": "a", "password": "env:ACCEL_TEST_PASSWORD", "security": "plain"}
    assert "swordfish" not in repr(made(**login, allow_plain_password=True))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a@x.example", ("", "a@x.example")),
        ("<a@x.example>", ("", "a@x.example")),
        ("Ünal Ö <a+b@x.example>", ("Ünal Ö", "a+b@x.example")),
        ('"Doe, Jane" <j@x.example>', ("Doe, Jane", "j@x.example")),
        ("a@x.example b", None),
        ("a..b@x.example", None),
        ("a.@x.example", None),
        ("A <a@x..example>", None),
        ("a@x.example.", None),
        (f"{'a' * 65}@x.example", None),
        (f"a@{'x' * 245}.example", None),
        ("", None),
    ],
)
def test_addresses_are_read(text: str, found: tuple[str, str] | None) -> None:
    assert named(text) == found


def test_a_pipeline_file_makes_the_connector_and_shows_no_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ACCEL_TEST_PASSWORD", "swordfish")
    table = {**GOOD, "use": "email", "user": "a", "password": "env:ACCEL_TEST_PASSWORD"}
    config = parse({"connectors": [table]})
    ((connector, _),) = make_connectors(config, make_host(config)).values()
    assert isinstance(connector, EmailConnector)
    assert "swordfish" not in repr(vars(connector))


def test_naming_the_plugin_brings_nothing_along() -> None:
    code = "import sys, accelerate_email.plugin; print('smtplib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
