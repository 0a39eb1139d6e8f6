# SPDX-License-Identifier: Apache-2.0
"""The Teams connector keeps the contracts; `ACCEL_LIVE_TEAMS` is described in the README."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from accelerate_teams.connector import TeamsConnector
from accelerate_teams.plugin import TeamsSettings

from accelerate_core.events import Event
from accelerate_core.protocols import Connector
from accelerate_core.secrets import Secret
from accelerate_core.testing import ConnectorContract, ServiceContract, samples
from accelerate_core.testing.service import Service

from . import cards
from .server import TeamsServer


def gone() -> TeamsConnector:
    """Return a connector to a workflow that is not there."""
    with TeamsServer() as service:
        url = service.webhook
    return TeamsConnector(TeamsSettings(url=Secret(url)))


class TestTeams(ServiceContract):
    @pytest.fixture
    def service(self) -> Iterator[TeamsServer]:
        with TeamsServer() as service:
            yield service
            # Wrong cards are answered with 202, too.
            assert service.failed == []

    @pytest.fixture
    def connector(self, service: TeamsServer) -> Connector:
        return TeamsConnector(TeamsSettings(url=Secret(service.webhook)))

    @pytest.fixture
    def unreachable(self) -> Connector:
        return gone()

    def visible(self, service: Service, event: Event) -> int | None:
        assert isinstance(service, TeamsServer) and service.failed == []
        return None

    @pytest.mark.parametrize("text", samples.HOSTILE)
    def test_any_text_is_read_as_it_is(
        self, connector: Connector, service: TeamsServer, text: str
    ) -> None:
        for event in samples.every_event(text):
            connector.deliver(event)
        connector.close()
        assert len(service.cards) == len(samples.every_event())
        for card in service.cards:
            assert cards.formatted(card) == [] and cards.mentions(card) == []


if os.environ.get("ACCEL_LIVE_TEAMS"):

    class TestLiveTeams(ConnectorContract):
        @pytest.fixture
        def connector(self) -> Connector:
            return TeamsConnector(TeamsSettings(url=Secret(os.environ["ACCEL_LIVE_TEAMS"])))

        @pytest.fixture
        def unreachable(self) -> Connector:
            return gone()
