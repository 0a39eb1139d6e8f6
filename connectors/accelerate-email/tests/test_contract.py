# SPDX-License-Identifier: Apache-2.0
"""The e-mail connector keeps the contract, with a real server and with one you name.

`ACCEL_LIVE_EMAIL` is described in the README.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from accelerate_email.connector import EmailConnector

from accelerate_core.protocols import Connector
from accelerate_core.settings import structure
from accelerate_core.testing import ConnectorContract

from .samples import EmailSettings, connector
from .smtp import MailServer


def live() -> EmailConnector:
    """Return a connector to the server that the environment names."""
    prefix = "ACCEL_LIVE_EMAIL"
    names = ("sender", "security", "user")
    table: dict[str, object] = {
        name: value for name in names if (value := os.environ.get(f"{prefix}_{name.upper()}"))
    }
    if "user" in table:
        table["password"] = f"env:{prefix}_PASSWORD"
    if port := os.environ.get(f"{prefix}_PORT"):
        table["port"] = int(port)
    table |= {"host": os.environ[prefix], "to": os.environ[f"{prefix}_TO"].split(",")}
    return EmailConnector(structure(table, EmailSettings, where=prefix))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MailServer]:
    # TLS and logins have tests of their own.
    with MailServer(tmp_path_factory.mktemp("mail"), "none", user=None) as running:
        yield running


class TestEmail(ConnectorContract):
    @pytest.fixture
    def connector(self, server: MailServer) -> Connector:
        return live() if os.environ.get("ACCEL_LIVE_EMAIL") else connector(server)

    @pytest.fixture
    def unreachable(self, tmp_path: Path) -> Connector:
        with MailServer(tmp_path) as gone:
            made = connector(gone)
        return made
