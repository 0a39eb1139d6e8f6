# SPDX-License-Identifier: Apache-2.0
"""What is set up wrong is named exactly, and nobody is told anything."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
from accelerate_slack.connector import SlackConnector
from accelerate_slack.plugin import SlackSettings

from accelerate_core.errors import ConfigError, ConnectorError
from accelerate_core.secrets import Secret
from accelerate_core.settings import structure
from accelerate_core.testing import samples

from .conftest import connector_of
from .server import EVERY_SCOPE, SlackServer
from .workspace import Channel

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

REGRESSION = next(one for one in samples.every_event() if one.kind == "regression")


@pytest.fixture
def service(service: SlackServer) -> SlackServer:
    service.channels += [Channel(id="C0PRIVATE01", name="secret", is_private=True)]
    service.channels += [Channel(id="C0HIDDEN001", name="hidden", is_private=True, is_member=False)]
    return service


def found(service: SlackServer, channel: str = "#benchmarks") -> str:
    """Return the one thing that is wrong; nothing was written."""
    (problem,) = connector_of(service, channel).check()
    assert not any(one.messages for one in service.channels)
    return problem


@pytest.mark.parametrize("channel", ["#benchmarks", "benchmarks", "C0BENCH0001", "C0PRIVATE01"])
def test_all_is_well(service: SlackServer, channel: str) -> None:
    assert connector_of(service, channel).check() == []
    assert not any(one.messages for one in service.channels)


def test_a_wrong_token(service: SlackServer) -> None:
    connector = connector_of(service)
    service.token = "xoxb-another"
    (problem,) = connector.check()
    assert problem.startswith("the token is wrong. Set `token` to the")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("token_revoked", "the token was revoked"),
        ("token_expired", "the token has expired"),
        ("account_inactive", "the bot was deleted"),
        ("not_allowed_token_type", "the token is of another kind"),
    ],
)
def test_a_token_that_is_none_any_more(service: SlackServer, code: str, words: str) -> None:
    service.revoked = code
    problem = found(service)
    assert words in problem and "`token`" in problem


@pytest.mark.parametrize(
    ("scope", "channel"),
    [
        ("chat:write", "#benchmarks"),
        ("files:write", "#benchmarks"),
        ("channels:history", "#benchmarks"),
        ("channels:read", "#benchmarks"),
        ("channels:read", "C0BENCH0001"),
        ("groups:read", "#benchmarks"),
        ("groups:history", "C0PRIVATE01"),
        ("groups:read", "C0PRIVATE01"),
    ],
)
def test_a_missing_scope(service: SlackServer, scope: str, channel: str) -> None:
    service.scopes = tuple(one for one in EVERY_SCOPE if one != scope)
    problem = found(service, channel)
    assert f'lacks the scope "{scope}"' in problem and "reinstall" in problem


def test_all_missing_scopes_are_named_at_once(service: SlackServer) -> None:
    service.scopes = ("channels:read", "groups:read")
    problems = connector_of(service).check()
    named = [one.split('"')[1] for one in problems]
    assert named == ["chat:write", "files:write", "channels:history"]


@pytest.mark.parametrize(
    ("channel", "words"),
    [
        ("#benchmark", "the bot sees no channel #benchmark. Mend `channel`"),
        ("C0NOBODY001", "there is no such channel, or the bot may not see it. Mend `channel`"),
        ("#elsewhere", "the bot is not in the channel #elsewhere. Invite it: /invite"),
        ("C0ELSE00001", "the bot is not in the channel #elsewhere. Invite it: /invite"),
        ("#old", "the channel #old is archived"),
        ("#hidden", "the bot sees no channel #hidden"),
        ("C0HIDDEN001", "was invited: /invite"),
    ],
)
def test_a_channel_that_cannot_be_told(service: SlackServer, channel: str, words: str) -> None:
    assert words in found(service, channel)
    with pytest.raises(ConnectorError) as caught:
        connector_of(service, channel).deliver(REGRESSION)
    assert caught.value.info.retryable is False and caught.value.info.hint


def test_an_address_where_nobody_answers(service: SlackServer) -> None:
    settings = SlackSettings(token=Secret("xoxb-1"), channel="#a", api_url="http://127.0.0.1:9/")
    (problem,) = SlackConnector(settings).check()
    assert "ConnectionRefusedError" in problem and "`api_url`" in problem


def test_an_address_that_is_another_service(service: SlackServer) -> None:
    settings = SlackSettings(token=Secret("xoxb-1"), channel="#a", api_url=f"{service.url}/other/")
    (problem,) = SlackConnector(settings).check()
    assert "unknown_method" in problem or "no JSON" in problem


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"channel": "Performance Team"}, "which no channel of Slack is called"),
        ({"channel": ""}, "which no channel of Slack is called"),
        ({"api_url": "slack.com"}, "no address of a server"),
        ({"token": "xoxb-in-the-file"}, "a secret stands in the file itself"),
        ({"token": "env:NO_SUCH_VARIABLE"}, "NO_SUCH_VARIABLE is not set"),
        ({"chanel": "#a"}, "unknown key"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    table: Mapping[str, Any], words: str, tmp_path: Path
) -> None:
    secret = tmp_path / "token"
    secret.write_text("xoxb-1\n")
    secret.chmod(0o600)
    given = {"token": f"file:{secret}", "channel": "#performance", **table}
    with pytest.raises(ConfigError) as caught:
        structure(given, SlackSettings, where="pipeline.toml")
    assert words in caught.value.info.message and "xoxb" not in str(caught.value)
    assert caught.value.info.hint or caught.value.info.accepted


def test_what_is_shown_of_settings_is_no_secret() -> None:
    settings = SlackSettings(token=Secret("xoxb-canary-1"), channel="#performance")
    assert "canary" not in repr(settings) and "canary" not in repr(attrs.asdict(settings))
