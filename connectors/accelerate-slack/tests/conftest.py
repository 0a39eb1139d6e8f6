# SPDX-License-Identifier: Apache-2.0
"""A workspace served locally, and the connector that tells it."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from accelerate_slack.connector import SlackConnector
from accelerate_slack.plugin import SlackSettings

from accelerate_core.secrets import Secret

from .server import SlackServer


@pytest.fixture(scope="module", autouse=True)
def _collected() -> Iterator[None]:
    """Collect what slack_sdk leaves: sockets of connections that broke while it was reading.

    Modules that break connections ignore `ResourceWarning`.
    """
    yield
    gc.collect()


def connector_of(server: SlackServer, channel: str = "#benchmarks") -> SlackConnector:
    """Return a connector that knows nothing yet, as in a new process."""
    return SlackConnector(
        SlackSettings(token=Secret(server.token), channel=channel, api_url=server.base_url)
    )


@pytest.fixture
def service() -> Iterator[SlackServer]:
    with SlackServer() as server:
        yield server


@pytest.fixture
def connector(service: SlackServer) -> SlackConnector:
    return connector_of(service)
