# SPDX-License-Identifier: Apache-2.0
"""Connectors of an HTTP service that break the contract, each in its own way."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from accelerate_core.delivering.backoff import refused
from accelerate_core.errors import ConnectorError
from accelerate_core.testing import ServiceContract
from accelerate_core.testing.service import Answer, Request, Service, route


class Notes(Service):
    """Keeps notes by key."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    @route("GET", "/notes")
    def show(self, request: Request) -> Answer:
        return Answer.of(self.notes)

    @route("POST", "/notes")
    def add(self, request: Request) -> Answer:
        self.notes.append(request.json())
        return Answer.of({}, 201)


class NotesConnector:
    """Write a note for each event: enough to keep the contract."""

    def __init__(self, url: str) -> None:
        self.place = urlsplit(url).netloc
        self.is_closed = False

    def deliver(self, event: Any) -> None:
        if self.is_closed:
            raise ConnectorError("closed", retryable=False)
        if event.key not in self.ask("GET"):
            self.ask("POST", event.key)

    def ask(self, method: str, data: Any = None) -> Any:
        connection = http.client.HTTPConnection(self.place, timeout=2)
        try:
            connection.request(method, "/notes", json.dumps(data))
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise ConnectorError(str(error), where="notes", retryable=True) from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise self.refusal(answer.status, dict(answer.headers))
        return json.loads(body)

    def refusal(self, status: int, headers: Any) -> ConnectorError:
        return refused(status, "", where="notes", headers=headers, hint="Look at the token.")

    def check(self) -> list[str]:
        try:
            self.ask("GET")
        except ConnectorError as error:
            return [str(error)]
        return []

    def close(self) -> None:
        self.is_closed = True


class _Kit(ServiceContract):
    connector_class: type[NotesConnector] = NotesConnector

    @pytest.fixture
    def service(self) -> Iterator[Notes]:
        with Notes() as service:
            yield service

    @pytest.fixture
    def connector(self, service: Notes) -> Any:
        return self.connector_class(service.url)

    @pytest.fixture
    def unreachable(self) -> Any:
        return self.connector_class("http://127.0.0.1:9")

    def visible(self, service: Notes, event: Any) -> int:  # type: ignore[override]
        return service.notes.count(event.key)


class TestHonest(_Kit):
    """Keeps the contract."""


class TellsTwice(_Kit):
    caught_by = (
        "test_what_is_told_again_is_seen_once",
        "test_what_passes_is_tried_again_and_seen_once",
    )

    class connector_class(NotesConnector):
        def deliver(self, event: Any) -> None:
            self.ask("POST", event.key)


class GivesUpWhatPasses(_Kit):
    caught_by = (
        "test_what_passes_is_tried_again_and_seen_once",
        "test_too_many_requests_say_when_to_come_back",
        "test_many_events_under_faults_are_each_seen_once",
    )

    class connector_class(NotesConnector):
        def refusal(self, status: int, headers: Any) -> ConnectorError:
            return ConnectorError(f"{status}", retryable=False, hint="Look.")


class TriesForEver(_Kit):
    caught_by = ("test_what_will_not_pass_is_not_to_be_tried_again",)

    class connector_class(NotesConnector):
        def refusal(self, status: int, headers: Any) -> ConnectorError:
            return refused(503, "", where="notes", headers=headers, hint="Look.")


class SaysNotWhatToDo(_Kit):
    caught_by = ("test_what_will_not_pass_is_not_to_be_tried_again",)

    class connector_class(NotesConnector):
        def refusal(self, status: int, headers: Any) -> ConnectorError:
            return refused(status, "", where="notes", headers=headers)


class ForgetsWhenToComeBack(_Kit):
    caught_by = ("test_too_many_requests_say_when_to_come_back",)

    class connector_class(NotesConnector):
        def refusal(self, status: int, headers: Any) -> ConnectorError:
            return refused(status, "", where="notes", hint="Look.")
