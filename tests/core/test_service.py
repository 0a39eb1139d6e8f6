# SPDX-License-Identifier: Apache-2.0
"""The local services connectors are tested with fail as they are told to."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import attrs
import httpx
import pytest

from accelerate_core.testing.service import (
    FAULTS,
    SLOW_S,
    Answer,
    Part,
    Request,
    Service,
    route,
)


class Counter(Service):
    """Counts what is posted."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    @route("POST", r"/counters/(\w+)")
    def add(self, request: Request) -> Answer:
        assert request.match is not None
        self.count += request.json()["by"]
        return Answer.of({"name": request.match[1], "count": self.count})


@pytest.fixture
def counter() -> Iterator[Counter]:
    with Counter() as service:
        yield service


def post(service: Service, path: str = "/counters/a", by: int = 1) -> tuple[int, dict[str, object]]:
    connection = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=5)
    try:
        connection.request("POST", path, json.dumps({"by": by}))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_routes_are_served(counter: Counter) -> None:
    assert post(counter, by=2) == (200, {"name": "a", "count": 2})
    assert post(counter, "/nowhere") == (404, {"error": "fault 404"})
    assert [request.path for request in counter.requests] == ["/counters/a", "/nowhere"]


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_come_once_and_do_what_they_are_called(counter: Counter, fault: str) -> None:
    counter.fail_next(fault)  # type: ignore[arg-type]
    began = time.monotonic()
    if fault.isdigit():
        assert post(counter)[0] == int(fault)
    elif fault == "slow":
        assert post(counter)[0] == 200 and time.monotonic() - began >= SLOW_S
    else:
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            post(counter)
    assert counter.count == (fault in ("slow", "cut", "lost"))
    assert post(counter)[0] == 200


def test_a_share_of_the_requests_fails(counter: Counter) -> None:
    counter.fail_some(0.5, ("500",))
    statuses = [post(counter)[0] for _ in range(60)]
    assert 15 < statuses.count(500) < 45


def test_files_of_a_form_arrive_as_they_are() -> None:
    content = bytes(range(256)) + b"\r\n--x\r\n"
    sent = httpx.Request("POST", "http://x/", files={"file": ("a ü.png", content, "image/png")})
    headers = {name.lower(): value for name, value in sent.headers.items()}
    request = Request(method="POST", path="/", query={}, headers=headers, body=sent.read())
    assert request.parts() == [
        Part(name="file", filename="a ü.png", kind="image/png", content=content)
    ]
    with pytest.raises(ValueError, match="last boundary"):
        attrs.evolve(request, body=request.body[:-20]).parts()
