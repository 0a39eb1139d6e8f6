# SPDX-License-Identifier: Apache-2.0
"""Settings, pictures and events for tests of the e-mail connector."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import attrs
from accelerate_email.connector import EmailConnector
from accelerate_email.plugin import EmailSettings

from accelerate_core.events import Attachment, Regression
from accelerate_core.secrets import Secret
from accelerate_core.testing import samples

from .smtp import MailServer

TEAM = "team@x.example"
LINK = "https://reports.example.com/run-1.html"


def settings(server: MailServer, **changes: Any) -> EmailSettings:
    """Return settings that fit a test server, but for the changes."""
    values: dict[str, Any] = {
        "host": server.host,
        "port": server.port,
        "sender": "Benchmarks <bench@x.example>",
        "to": (TEAM,),
        "security": "plain" if server.encryption == "none" else server.encryption,
        "user": server.user,
        "password": Secret(server.password) if server.user else None,
        "authority": server.authority.path,
    }
    return EmailSettings(**{**values, **changes})


def connector(server: MailServer, **changes: Any) -> EmailConnector:
    """Return a connector to a test server."""
    return EmailConnector(settings(server, **changes), timeout_s=5)


def picture(name: str = "history.png", size: int = 0, kind: str = "image/png") -> Attachment:
    """Return a picture of one grey pixel, with so many bytes more in a comment."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    data = b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
            chunk(b"tEXt", b"Comment\0" + b"x" * size),
            chunk(b"IDAT", zlib.compress(b"\0\x80")),
            chunk(b"IEND", b""),
        )
    )
    return Attachment(name=name, media_type=kind, data=data, description="Latency over 30 runs")


def regression(**changes: Any) -> Regression:
    """Return a regression with a link."""
    (one,) = (event for event in samples.every_event() if isinstance(event, Regression))
    return attrs.evolve(one, link=LINK, label="latency of tiny on cpu", unit="ms", **changes)
