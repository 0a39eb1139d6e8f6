# SPDX-License-Identifier: Apache-2.0
"""A local HTTP service to test connectors with: routes of its own, and faults on request.

A test server of a service is a subclass: it says what the vendor documents, with a link for each
route, and knows nothing of the connector. `Service` adds what goes wrong on the way.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from email import message_from_string
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import attrs

Fault = Literal[
    "401", "403", "404", "409", "413", "429", "500", "502", "503", "slow", "reset", "cut", "lost"
]
#: `slow`: the answer stops in its middle for a while; `reset`: the connection breaks before
#: anything is done; `cut`: half of the answer comes; `lost`: all is done, and the answer gets lost.
FAULTS: tuple[Fault, ...] = (
    "401", "403", "404", "409", "413", "429", "500", "502", "503", "slow", "reset", "cut", "lost",
)  # fmt: skip
#: What a service that is well again answers to the same request.
PASSING: tuple[Fault, ...] = ("429", "500", "502", "503", "slow", "reset", "cut", "lost")
#: How long a `slow` answer stops in its middle.
SLOW_S = 0.05


@attrs.frozen(kw_only=True)
class Part:
    """Hold one part of a form with files."""

    name: str
    filename: str | None
    kind: str  #: media type
    content: bytes


@attrs.frozen(kw_only=True)
class Request:
    """Hold what came in."""

    method: str
    path: str  #: without the query
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]  #: names in lower case
    body: bytes
    match: re.Match[str] | None = None  #: of the route

    def json(self) -> Any:
        """Return the body as JSON data; ValueError when it is none."""
        return json.loads(self.body)

    def form(self) -> dict[str, str]:
        """Return the fields of a form in the body, the last of each name."""
        return {name: values[-1] for name, values in parse_qs(self.body.decode()).items()}

    def parts(self) -> list[Part]:
        """Return the parts of a form with files; ValueError when it is none (RFC 7578)."""
        head = message_from_string(f"content-type: {self.headers.get('content-type', '')}\n\n")
        boundary = head.get_boundary()
        if head.get_content_type() != "multipart/form-data" or not boundary:
            raise ValueError("the body is no multipart/form-data with a boundary")
        _, *parts, end = (b"\r\n" + self.body).split(b"\r\n--" + boundary.encode())
        if not end.startswith(b"--"):
            raise ValueError("the body ends before its last boundary")
        return [_part(part) for part in parts]


@attrs.frozen(kw_only=True)
class Answer:
    """Hold what goes out."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)

    @classmethod
    def of(cls, data: Any, status: int = 200, **headers: str) -> Answer:
        """Return JSON data as an answer."""
        return cls(
            status=status,
            body=json.dumps(data).encode(),
            headers={"content-type": "application/json", **headers},
        )


def _part(raw: bytes) -> Part:
    head, separator, content = raw.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    message = message_from_string(head.decode().replace("\r\n", "\n") + "\n\n")
    name = message.get_param("name", header="content-disposition")
    if not separator or not isinstance(name, str):
        raise ValueError("a part has no name")
    return Part(
        name=name,
        filename=message.get_filename(),
        kind=message.get_content_type(),
        content=content,
    )


Handler = Callable[[Any, Request], Answer]


def route(method: str, pattern: str) -> Callable[[Handler], Handler]:
    """Serve a method and a path, a regular expression, by a method of a `Service`."""

    def mark(handler: Handler) -> Handler:
        handler.route = (method, re.compile(pattern))  # type: ignore[attr-defined]
        return handler

    return mark


class Service:
    """Serve routes on a loopback port from entering to leaving; requests are handled one by one."""

    #: Seconds that a 429 and a 503 ask to wait.
    retry_after_s = 0.05

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.lost = 0  #: answers that did not arrive, or not whole, though all was done
        self._lock = threading.RLock()
        self._faults: list[Fault] = []
        self._share = 0.0
        self._kinds: Sequence[Fault] = PASSING
        self._random = random.Random(1)
        self._routes = [
            (*handler.route, handler)
            for name in dir(type(self))
            if hasattr(handler := getattr(type(self), name), "route")
        ]

    # --- what goes wrong ----------------------------------------------------------------------

    def fail_next(self, *faults: Fault) -> None:
        """Let the next requests fail, one fault each."""
        with self._lock:
            self._faults += faults

    def fail_some(self, share: float, kinds: Sequence[Fault] = PASSING, seed: int = 1) -> None:
        """Let this share of all requests fail from now on."""
        with self._lock:
            self._share, self._kinds, self._random = share, kinds, random.Random(seed)

    def refusal(self, status: int) -> Answer:
        """Return the error as this service words it."""
        return Answer.of({"error": f"fault {status}"}, status)

    def allow(self, request: Request) -> Answer | None:
        """Return what is answered to a request without rights; None lets it pass."""
        return None

    def missing(self, request: Request) -> Answer:
        """Return the answer to a path that is not there."""
        return self.refusal(404)

    # --- serving ------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where it is served, without a slash at the end."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Any:
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            # It wakes who waits for a connection; without it the wait goes on to its end.
            self._server.socket.shutdown(socket.SHUT_RDWR)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def handle(self, request: Request) -> Answer:
        """Answer one request without any fault."""
        with self._lock:
            self.requests.append(request)
            if (refusal := self.allow(request)) is not None:
                return refusal
            for method, pattern, handler in self._routes:
                if method == request.method and (match := pattern.fullmatch(request.path)):
                    answer: Answer = handler(self, attrs.evolve(request, match=match))
                    return answer
            return self.missing(request)

    def next_fault(self) -> Fault | None:
        """Return what goes wrong with this request."""
        with self._lock:
            fault: Fault | None = None
            if self._faults:
                fault = self._faults.pop(0)
            elif self._random.random() < self._share:
                fault = self._random.choice(self._kinds)
            self.lost += fault in ("cut", "lost")
            return fault


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: connections that break are what is tested."""


def _handler(service: Service) -> type[BaseHTTPRequestHandler]:
    class Handling(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: object) -> None:
            pass

        def serve(self) -> None:
            parts = urlsplit(self.path)
            request = Request(
                method=self.command,
                path=parts.path,
                query=parse_qs(parts.query, keep_blank_values=True),
                headers={name.lower(): value for name, value in self.headers.items()},
                body=self.body(),
            )
            fault = service.next_fault()
            if fault == "reset":
                return self.break_off()
            if fault is not None and fault.isdigit():
                answer = service.refusal(int(fault))
                if fault in ("429", "503"):
                    headers = {**answer.headers, "retry-after": str(service.retry_after_s)}
                    answer = attrs.evolve(answer, headers=headers)
            else:
                answer = service.handle(request)
            if fault == "lost" or (fault == "cut" and not answer.body):
                return self.break_off()
            self.answer(answer, fault)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = serve

        def body(self) -> bytes:
            if self.headers.get("transfer-encoding", "").lower() == "chunked":
                return b"".join(self.chunks())
            return self.rfile.read(int(self.headers.get("content-length") or 0))

        def chunks(self) -> Iterator[bytes]:
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass

        def answer(self, answer: Answer, fault: Fault | None) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            if self.command == "HEAD":
                return
            if fault == "cut":
                self.wfile.write(answer.body[: len(answer.body) // 2])
                return self.break_off()
            if fault == "slow":
                middle = len(answer.body) // 2
                self.wfile.write(answer.body[:middle])
                self.wfile.flush()
                time.sleep(SLOW_S)
                self.wfile.write(answer.body[middle:])
            else:
                self.wfile.write(answer.body)

        def break_off(self) -> None:
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.wfile.flush()
                # Without lingering a close is a reset.
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.close()

    return Handling
