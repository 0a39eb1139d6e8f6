# SPDX-License-Identifier: Apache-2.0
"""The contract of connectors, for Cloud and Data Center; see README.md for `ACCEL_LIVE_JIRA`."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator

import attrs
import pytest

from accelerate_core.errors import ConnectorError
from accelerate_core.events import Event, Regression
from accelerate_core.protocols import Connector
from accelerate_core.testing import samples
from accelerate_core.testing.connector import ConnectorContract, ServiceContract
from accelerate_core.testing.service import Service

from .server import JiraServer
from .sites import JiraConnector, connector_of, live_settings, told, unreachable_jira


class TestCloud(ServiceContract):
    told = "run_failed"

    @pytest.fixture
    def service(self) -> Iterator[Service]:
        with JiraServer() as service:
            yield service
            assert not service.wrong, "documents that JIRA does not take"

    @pytest.fixture
    def connector(self, service: Service) -> Connector:
        assert isinstance(service, JiraServer)
        return connector_of(service)

    @pytest.fixture
    def unreachable(self) -> Connector:
        return unreachable_jira()

    def visible(self, service: Service, event: Event) -> int:
        assert isinstance(service, JiraServer)
        return told(service, event)


class TestDataCenter(TestCloud):
    @pytest.fixture
    def service(self) -> Iterator[Service]:
        with JiraServer(cloud=False) as service:
            yield service


if "ACCEL_LIVE_JIRA" in os.environ:

    class TestLive(ConnectorContract):
        """A real site: it gets issues, and keeps them."""

        told = "run_failed"

        @pytest.fixture
        def connector(self) -> Connector:
            return JiraConnector(live_settings())

        @pytest.fixture
        def unreachable(self) -> Connector:
            return unreachable_jira()

        def test_what_is_told_again_by_another_process_is_seen_once(
            self, connector: Connector
        ) -> None:
            (sample,) = (one for one in samples.every_event() if isinstance(one, Regression))
            event = attrs.evolve(sample, id=uuid.uuid4().hex)
            first = connector.deliver(event)
            end = time.monotonic() + 300
            again = JiraConnector(live_settings())
            while not again._connected().search(_label(event)) and time.monotonic() < end:
                time.sleep(2)
            assert again.deliver(event) == first
            assert again.deliver(attrs.evolve(event, status="fixed")) == first

        def test_a_token_that_is_wrong_is_named(self) -> None:
            from accelerate_core.secrets import Secret

            wrong = JiraConnector(live_settings(token=Secret("not-the-token")))
            (found,) = wrong.check()
            assert "`token`" in found
            with pytest.raises(ConnectorError):
                wrong.deliver(samples.every_event()[1])


def _label(event: Event) -> str:
    from accelerate_jira.items import items_of

    return items_of(event)[0].label
