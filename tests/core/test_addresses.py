# SPDX-License-Identifier: Apache-2.0
"""Addresses in settings are those of servers, and links those that a browser opens."""

from __future__ import annotations

import attrs
import pytest

from accelerate_core.addresses import is_link, is_server
from accelerate_core.errors import ConfigError


@attrs.frozen
class Settings:
    url: str = attrs.field(validator=is_server('"https://a.example"', credentials="`token`"))


@pytest.mark.parametrize(
    "url",
    [
        "https://jira.example.com",
        "http://127.0.0.1:8080/jira/",
        "https://[::1]:8443",
        "https://grün.example",
        "https://a.example/api/",
    ],
)
def test_servers_are_taken_with_port_and_path(url: str) -> None:
    assert Settings(url).url == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "no address"),
        ("jira.example.com", "no address"),
        ("ftp://jira.example.com", "no address"),
        ("https://", "no address"),
        ("https://:8080", "no address"),
        ("https://a..example", "no address"),
        (f"https://{'a' * 64}.example", "no address"),
        ("https://a.example:port", "no address"),
        ("https://a.example:99999", "no address"),
        ("https://[::1", "no address"),
        ("https://a.example/?token=canary", "no address"),
        ("https://a.example/#canary", "no address"),
        ("https://a.example/a b", "no address"),
        ("https://a.example https://b.example", "no address"),
        ("https://me:canary@a.example", "credentials stand in the address"),
        ("https://canary@a.example/?a=b", "credentials stand in the address"),
    ],
)
def test_what_is_no_server_is_refused_and_not_shown(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Settings(url)
    info = caught.value.info
    assert info.where == "url" and info.accepted == ('"https://a.example"',) and info.hint
    assert "canary" not in str(caught.value)
    assert ("`token`" in info.hint) == ("@" in url)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://a.example/1", True),
        ("http://a.example", True),
        ("javascript:alert(1)", False),
        ("file:///x", False),
        ("/var/report.html", False),
        ("", False),
        (None, False),
    ],
)
def test_a_link_is_what_a_browser_opens(text: str | None, expected: bool) -> None:
    assert is_link(text) is expected
