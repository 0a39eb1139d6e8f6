# SPDX-License-Identifier: Apache-2.0
"""An installation served locally, and the connector that puts runs there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from accelerate_testrail.connector import TestRailConnector
from accelerate_testrail.plugin import TestRailSettings

from accelerate_core.events import Regression, RunFinished
from accelerate_core.memory_store import MemoryStore
from accelerate_core.secrets import Secret
from accelerate_core.testing import samples
from accelerate_core.types import Measurement, RunInfo, RunSummary

from .server import RailServer


def settings_of(server: RailServer, **changes: Any) -> TestRailSettings:
    """Return settings that fit."""
    values = {"url": server.url, "user": server.user, "key": Secret(server.key), "project": 1}
    return TestRailSettings(**{**values, **changes})


def connector_of(
    server: RailServer, *measurements: Measurement, run: RunInfo | None = None, **changes: Any
) -> TestRailConnector:
    """Return a connector that knows nothing yet, as in a new process; its store has a run."""
    store = MemoryStore()
    store.save_run(run or samples.run_info())
    for one in measurements or (samples.measurement(1),):
        store.save_measurement(one)
    connector = TestRailConnector(settings_of(server, **changes))
    connector.attach(store)
    return connector


def finished(*measurements: Measurement, **changes: Any) -> RunFinished:
    """Return the end of a run."""
    summary = RunSummary(run=samples.run_info(**changes), measurements=measurements)
    return RunFinished(run_id=summary.run.id, at=samples.START, summary=summary)


def regression() -> Regression:
    """Return what became worse in the run of the samples."""
    (one,) = (event for event in samples.every_event() if isinstance(event, Regression))
    return one


@pytest.fixture
def service() -> Iterator[RailServer]:
    with RailServer() as server:
        yield server


@pytest.fixture
def connector(service: RailServer) -> Iterator[TestRailConnector]:
    connector = connector_of(service)
    yield connector
    connector.close()
