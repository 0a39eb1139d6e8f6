# SPDX-License-Identifier: Apache-2.0
"""The contract of connectors; against Slack itself where `ACCEL_LIVE_SLACK` is set."""

from __future__ import annotations

import os
import uuid

import attrs
import pytest
from accelerate_slack.channel import EVENT_TYPE
from accelerate_slack.connector import SlackConnector
from accelerate_slack.plugin import SlackSettings
from slack_sdk import WebClient

from accelerate_core.events import Event, Regression
from accelerate_core.protocols import Connector
from accelerate_core.secrets import Secret
from accelerate_core.testing import ConnectorContract, ServiceContract, samples
from accelerate_core.testing.service import Service

from .conftest import connector_of
from .server import SlackServer

#: slack_sdk leaves them to the garbage collector; see conftest.py.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

NOBODY = "http://127.0.0.1:9/api/"


def told(web: WebClient, channel: str, event: Event) -> int:
    """Return how many messages of a channel and its threads have an event's key."""
    found = set()
    history = web.conversations_history(channel=channel, include_all_metadata=True, limit=200)
    for message in (one for page in history for one in page["messages"]):
        thread = [message]
        if message.get("reply_count"):
            thread = web.conversations_replies(
                channel=channel, ts=message["ts"], include_all_metadata=True
            )["messages"]
        for one in thread:
            metadata = one.get("metadata") or {}
            payload = metadata.get("event_payload") or {}
            if metadata.get("event_type") == EVENT_TYPE and payload.get("key") == event.key:
                found.add(one["ts"])
    return len(found)


def unreachable_slack() -> SlackConnector:
    settings = SlackSettings(token=Secret("xoxb-nobody"), channel="#benchmarks", api_url=NOBODY)
    return SlackConnector(settings)


def live_settings() -> SlackSettings:
    """Return the settings of a real workspace; README.md says which variables."""
    return SlackSettings(
        token=Secret(os.environ["ACCEL_LIVE_SLACK_TOKEN"]),
        channel=os.environ["ACCEL_LIVE_SLACK"],
        api_url=os.environ.get("ACCEL_LIVE_SLACK_URL", "https://slack.com/api/"),
    )


class TestSlack(ServiceContract):
    @pytest.fixture
    def service(self, service: SlackServer) -> Service:
        return service

    @pytest.fixture
    def connector(self, service: Service) -> Connector:
        assert isinstance(service, SlackServer)
        return connector_of(service)

    @pytest.fixture
    def unreachable(self) -> Connector:
        return unreachable_slack()

    def visible(self, service: Service, event: Event) -> int:
        assert isinstance(service, SlackServer)
        web = WebClient(service.token, base_url=service.base_url)
        return told(web, service.channels[0].id, event)


if "ACCEL_LIVE_SLACK" in os.environ:

    class TestLive(ConnectorContract):
        @pytest.fixture
        def connector(self) -> Connector:
            return SlackConnector(live_settings())

        @pytest.fixture
        def unreachable(self) -> Connector:
            return unreachable_slack()

        def test_what_another_process_tells_again_is_seen_once(self, connector: Connector) -> None:
            (sample,) = (one for one in samples.every_event() if isinstance(one, Regression))
            event = attrs.evolve(sample, id=uuid.uuid4().hex)
            first = connector.deliver(event)
            assert SlackConnector(live_settings()).deliver(event) == first
            settings = live_settings()
            web = WebClient(settings.token.reveal(), base_url=settings.api_url)
            assert told(web, settings.channel, event) == 1
