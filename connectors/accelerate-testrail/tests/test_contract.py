# SPDX-License-Identifier: Apache-2.0
"""The contract of connectors; against TestRail itself where `ACCEL_LIVE_TESTRAIL` is set."""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Iterator

import attrs
import pytest
from accelerate_testrail.connector import TestRailConnector
from accelerate_testrail.plugin import TestRailSettings
from accelerate_testrail.project import Project
from accelerate_testrail.rendering import mark, marks

from accelerate_core.events import Event, RunFinished
from accelerate_core.memory_store import MemoryStore
from accelerate_core.protocols import Connector
from accelerate_core.secrets import Secret
from accelerate_core.testing import ConnectorContract, ServiceContract, samples
from accelerate_core.testing.service import Service

from .conftest import connector_of, finished
from .server import RailServer


def unreachable_rail() -> TestRailConnector:
    settings = TestRailSettings(
        url="http://127.0.0.1:9", user="nobody", key=Secret("nobody's key"), project=1
    )
    return TestRailConnector(settings)


def live_settings() -> TestRailSettings:
    """Return the settings of a real installation; README.md says which variables."""
    suite = os.environ.get("ACCEL_LIVE_TESTRAIL_SUITE")
    return TestRailSettings(
        url=os.environ["ACCEL_LIVE_TESTRAIL"],
        user=os.environ["ACCEL_LIVE_TESTRAIL_USER"],
        key=Secret(os.environ["ACCEL_LIVE_TESTRAIL_KEY"]),
        project=int(os.environ["ACCEL_LIVE_TESTRAIL_PROJECT"]),
        suite=int(suite) if suite else None,
        close_run=False,
    )


class TestTestRail(ServiceContract):
    @pytest.fixture
    def service(self, service: RailServer) -> Service:
        service.rate_limit = None
        return service

    @pytest.fixture
    def connector(self, service: Service) -> Iterator[Connector]:
        assert isinstance(service, RailServer)
        connector = connector_of(service, close_run=False)
        yield connector
        connector.close()

    @pytest.fixture
    def unreachable(self) -> Iterator[Connector]:
        connector = unreachable_rail()
        yield connector
        connector.close()

    def visible(self, service: Service, event: Event) -> int:
        """Count runs, or results, of an event; what is there twice besides is found as well."""
        assert isinstance(service, RailServer)
        told = Counter(
            found for one in service.results.values() for found in marks(str(one["comment"]))
        )
        runs = Counter(one["description"] for one in service.runs.values())
        cases = Counter(one["custom_automation_id"] for one in service.cases.values())
        sections = Counter((one["parent_id"], one["name"]) for one in service.sections.values())
        for counted in (told, runs, cases, sections):
            assert set(counted.values()) <= {1}, counted
        if isinstance(event, RunFinished):
            return len(runs)
        (key,) = marks(mark(event.key))
        return told[key]


if "ACCEL_LIVE_TESTRAIL" in os.environ:

    class TestLive(ConnectorContract):
        @pytest.fixture
        def connector(self) -> Iterator[Connector]:
            store = MemoryStore()
            store.save_run(samples.run_info())
            store.save_measurement(samples.measurement(1))
            connector = TestRailConnector(live_settings())
            connector.attach(store)
            yield connector
            connector.close()

        @pytest.fixture
        def unreachable(self) -> Iterator[Connector]:
            connector = unreachable_rail()
            yield connector
            connector.close()

        def test_what_another_process_tells_again_is_there_once(self, connector: Connector) -> None:
            run_id = uuid.uuid4().hex
            one = attrs.evolve(samples.measurement(1), id=uuid.uuid4().hex, run_id=run_id)
            event = finished(one, id=run_id)
            first = connector.deliver(event)
            again = TestRailConnector(live_settings())
            assert again.deliver(event) == first
            run = Project(again._rail, live_settings()).find_run(event.summary.run)
            assert run is not None and run["passed_count"] == 1
            again.close()
