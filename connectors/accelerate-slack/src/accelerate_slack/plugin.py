# SPDX-License-Identifier: Apache-2.0
"""Slack as a connector."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

from accelerate_core.addresses import is_server
from accelerate_core.errors import ConfigError
from accelerate_core.markers import hookimpl
from accelerate_core.protocols import Connector
from accelerate_core.secrets import Secret

if TYPE_CHECKING:
    from accelerate_core.protocols import Context

#: A channel as people call it: Slack's names have no capitals, spaces or full stops.
_NAME = re.compile(r"#?[^\s.A-Z#]{1,80}")
#: A channel as Slack calls it.
CHANNEL_ID = re.compile(r"[CG][A-Z0-9]{8,}")


def _is_channel(instance: object, attribute: object, value: str) -> None:
    if not (_NAME.fullmatch(value) or CHANNEL_ID.fullmatch(value)):
        raise ConfigError(
            f"`channel` is {value!r}, which no channel of Slack is called",
            accepted=('"#performance"', '"C0123456789"'),
            hint="The id stands at the end of the channel's details in Slack.",
        )


@attrs.frozen(kw_only=True)
class SlackSettings:
    """Say where to tell, and as whom."""

    #: Token of the app's bot ("xoxb-..."), as `env:NAME`, `file:PATH` or `keyring:SERVICE/USER`.
    token: Secret
    #: Where to tell: "#performance", or the channel's id, "C0123456789". The bot must be in it.
    channel: str = attrs.field(validator=_is_channel)
    #: Slack's Web API; another one for GovSlack.
    api_url: str = attrs.field(
        default="https://slack.com/api/",
        validator=is_server(
            '"https://slack.com/api/"', '"https://slack-gov.com/api/"', credentials="`token`"
        ),
    )


class SlackPlugin:
    """Make the connector."""

    name = "slack"
    settings = SlackSettings

    @hookimpl
    def connector_create(self, settings: SlackSettings, ctx: Context) -> Connector:
        """Return the connector; nobody is asked yet."""
        from .connector import SlackConnector

        return SlackConnector(settings)
