# SPDX-License-Identifier: Apache-2.0
"""The bridge: serves pages to browsers on loopback, and speaks with each over one WebSocket."""

from .answers import Answer
from .connection import Build, Connection
from .server import Bridge, Invitation

__all__ = ["Answer", "Bridge", "Build", "Connection", "Invitation"]
