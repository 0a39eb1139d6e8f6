# SPDX-License-Identifier: Apache-2.0
"""An endpoint that Prometheus scrapes while a run lasts."""

from __future__ import annotations

import errno
import logging
import socket
import threading
from collections.abc import Sequence
from socketserver import TCPServer, ThreadingMixIn
from typing import ClassVar
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app

from accelerate_core.errors import ConnectorError
from accelerate_core.events import (
    Event,
    MeasurementStored,
    MetricsRecorded,
    Regression,
    RunFinished,
    RunStarted,
    WorkerGone,
    WorkerStarted,
)
from accelerate_core.types import WorkerInfo

from .plugin import ExporterSettings
from .samples import GAUGES, Labels, make_labels, samples_of
from .tally import Tally

_log = logging.getLogger("accelerate.prometheus")

VERSIONS = "accelerate_workers_by_version"
_VERSIONS = "Workers that are ready, by what they run."


class Exporter:
    """Show what is, at `/metrics`, from the first event until it is closed."""

    is_live = True
    kinds: ClassVar[tuple[str, ...]] = tuple(
        one.kind
        for one in (
            RunStarted,
            MetricsRecorded,
            MeasurementStored,
            WorkerStarted,
            WorkerGone,
            Regression,
            RunFinished,
        )
    )

    def __init__(self, settings: ExporterSettings) -> None:
        self._settings = settings
        self._tally = Tally(settings.max_series)
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._is_closed = False
        #: Which epoch of each worker is there, and what it runs.
        self._workers: dict[str, tuple[int, Labels]] = {}

    @property
    def url(self) -> str | None:
        """Where it is served; None before the first event and after the end."""
        server = self._server
        return None if server is None else f"http://{_host(server)}:{server.server_port}/metrics"

    def deliver(self, event: Event) -> None:
        """Show what an event says; ConnectorError while the endpoint cannot be opened."""
        self._note(event)
        self._serve()

    def check(self) -> Sequence[str]:
        """Return why the endpoint cannot be opened."""
        if self._server is not None:
            return []
        try:
            self._open().server_close()
        except ConnectorError as error:
            return [str(error)]
        return []

    def close(self) -> None:
        """Close the endpoint."""
        with self._lock:
            self._is_closed = True
            server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
        if self._thread is not None:
            self._thread.join()

    def _note(self, event: Event) -> None:
        if isinstance(event, MetricsRecorded):
            for point in event.points:
                self._tally.add(point)
        elif isinstance(event, WorkerStarted):
            self._came(event.worker_id, event.epoch, event.connection.info)
        elif isinstance(event, WorkerGone):
            self._went(event.worker_id, event.epoch)
        for sample in samples_of(event):
            self._tally.set(sample.name, GAUGES[sample.name], sample.labels, sample.value)

    def _came(self, worker_id: str, epoch: int, info: WorkerInfo) -> None:
        before = self._workers.get(worker_id)
        labels = make_labels(
            target=info.target,
            browser_version=info.browser_version,
            engine_version=info.engine_version,
            device=info.device_type,
        )
        self._workers[worker_id] = (epoch, labels)
        self._count({labels} | ({before[1]} if before else set()))

    def _went(self, worker_id: str, epoch: int) -> None:
        known = self._workers.get(worker_id)
        # Where it was mended meanwhile, the news is of an earlier epoch.
        if known is not None and known[0] <= epoch:
            del self._workers[worker_id]
            self._count({known[1]})

    def _count(self, changed: set[Labels]) -> None:
        for labels in changed:
            if count := sum(labels == one for _, one in self._workers.values()):
                self._tally.set(VERSIONS, _VERSIONS, labels, count)
            else:
                self._tally.forget(VERSIONS, labels)

    def _serve(self) -> None:
        with self._lock:
            if self._is_closed:
                raise ConnectorError("the endpoint is closed", where="prometheus", retryable=False)
            if self._server is not None:
                return
            self._server = self._open()
            self._thread = threading.Thread(
                target=self._server.serve_forever,
                kwargs={"poll_interval": 0.05},
                name="prometheus-endpoint",
                daemon=True,
            )
            self._thread.start()
        _log.info("metrics are at %s", self.url)

    def _open(self) -> _Server:
        address, port = self._settings.address, self._settings.port
        try:
            server = _Server((address, port))
        except OSError as error:
            raise _unopened(error, address, port) from None
        registry = CollectorRegistry()
        registry.register(self._tally)
        server.set_app(make_wsgi_app(registry))
        return server


def _unopened(error: OSError, address: str, port: int) -> ConnectorError:
    hint = "Set another `address` or `port`."
    if error.errno == errno.EADDRINUSE:
        message = f"port {port} of {address} is taken"
        hint = "Another run may use it: set another `port`, or `port = 0` for any that is free."
    elif error.errno == errno.EACCES:
        message = f"port {port} needs more rights than this user has"
        hint = "Set a `port` from 1024 on."
    elif error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        message = f"{address!r} is no address of this machine"
        hint = 'Set `address` to one, or to "0.0.0.0" for all of them.'
    else:
        message = f"port {port} of {address} cannot be opened: {error.strerror}"
    # Whoever has the port may leave it; the next event tries again.
    return ConnectorError(message, where="prometheus", hint=hint, retryable=True)


class _Quiet(WSGIRequestHandler):
    #: Seconds that whoever connects and says nothing keeps a thread.
    timeout = 10

    def log_message(self, format: str, *args: object) -> None:
        """Log no scrapes."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int]) -> None:
        found = socket.getaddrinfo(*address, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family = found[0][0]
        super().__init__(address, _Quiet)

    def server_bind(self) -> None:
        """Bind, without asking a name server what this machine is called."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of scrapers that hang up."""


def _host(server: _Server) -> str:
    return f"[{server.server_name}]" if ":" in server.server_name else server.server_name
