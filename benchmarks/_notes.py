# SPDX-License-Identifier: Apache-2.0
"""The smallest service that can be asked for earlier items, and its connector."""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import attrs

from accelerate_core import hookimpl
from accelerate_core.delivering.backoff import refused
from accelerate_core.errors import ConnectorError
from accelerate_core.events import Event
from accelerate_core.protocols import Connector, Context
from accelerate_core.testing.service import Answer, Request, Service, route


class Notes(Service):
    """Keep notes by key."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    @route("GET", "/notes/(.+)")
    def show(self, request: Request) -> Answer:
        """Return how many notes have a key."""
        assert request.match is not None
        return Answer.of(self.notes.count(request.match[1]))

    @route("POST", "/notes")
    def add(self, request: Request) -> Answer:
        """Keep one more."""
        self.notes.append(request.json())
        return Answer.of({}, 201)


@attrs.frozen(kw_only=True)
class NotesSettings:
    """Say where notes are kept."""

    #: Address of the service.
    url: str
    #: How long it may take to answer [s].
    timeout_s: float = 10.0


class NotesPlugin:
    """Write a note for each event that has none."""

    name = "notes"
    settings = NotesSettings

    @hookimpl
    def connector_create(self, settings: NotesSettings, ctx: Context) -> Connector:
        """Return the connector."""
        return _NotesConnector(settings)


class _NotesConnector:
    def __init__(self, settings: NotesSettings) -> None:
        self._settings = settings

    def deliver(self, event: Event) -> None:
        if not self._ask("GET", f"/notes/{event.key}"):
            self._ask("POST", "/notes", event.key)

    def check(self) -> Sequence[str]:
        self._ask("GET", "/notes/none")
        return ()

    def close(self) -> None: ...

    def _ask(self, method: str, path: str, data: Any = None) -> Any:
        place = urlsplit(self._settings.url).netloc
        connection = http.client.HTTPConnection(place, timeout=self._settings.timeout_s)
        try:
            connection.request(method, path, json.dumps(data))
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise ConnectorError(str(error), where="notes", retryable=True) from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise refused(answer.status, "", where="notes", headers=dict(answer.headers))
        return json.loads(body)
