# SPDX-License-Identifier: Apache-2.0
"""All three keep the contract of connectors, against real servers.

`ACCEL_LIVE_PROMETHEUS` and `ACCEL_LIVE_PUSHGATEWAY` are the addresses of others to test against,
`ACCEL_LIVE_PROMETHEUS_TOKEN` what they know us by.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import httpx
import pytest
from accelerate_prometheus.exporter import Exporter
from accelerate_prometheus.plugin import (
    ExporterSettings,
    PushgatewaySettings,
    RemoteWriteSettings,
)
from accelerate_prometheus.pushgateway import Pushgateway
from accelerate_prometheus.remote_write import RemoteWrite

from accelerate_core.errors import ConnectorError
from accelerate_core.events import Event, Regression, RunFinished
from accelerate_core.protocols import Connector
from accelerate_core.secrets import Secret
from accelerate_core.testing import samples
from accelerate_core.testing.connector import ConnectorContract, ServiceContract
from accelerate_core.testing.service import Fault, Service

from . import servers
from .relaying import Way

#: The day that the contract's events are of is years away, sooner or later.
LATE = "100y"


def token() -> Secret | None:
    value = os.environ.get("ACCEL_LIVE_PROMETHEUS_TOKEN")
    return Secret(value) if value else None


def asked(service: Service, path: str, **query: str) -> httpx.Response:
    """Return what the real server says, past all faults."""
    known = token()
    headers = {"authorization": f"Bearer {known.reveal()}"} if known else {}
    # Only to loopback: the way to a server elsewhere verifies it.
    answer = httpx.get(f"{service.url}{path}", params=query, headers=headers, verify=False)
    answer.raise_for_status()
    return answer


@pytest.fixture
def nowhere() -> Iterator[int]:
    """Return a port where nobody listens: it is taken, and not listened at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


class TestExporter(ConnectorContract):
    @pytest.fixture
    def connector(self) -> Iterator[Connector]:
        made = Exporter(ExporterSettings(port=0))
        yield made
        made.close()

    @pytest.fixture
    def unreachable(self) -> Iterator[Connector]:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            yield Exporter(ExporterSettings(port=taken.getsockname()[1]))


class TestPushgateway(ServiceContract):
    @pytest.fixture
    def service(self, pushgateway: servers.Pushgateway) -> Iterator[Service]:
        with Way(os.environ.get("ACCEL_LIVE_PUSHGATEWAY", pushgateway.url)) as way:
            yield way

    @pytest.fixture
    def connector(self, service: Service) -> Iterator[Connector]:
        made = Pushgateway(PushgatewaySettings(url=service.url, token=token()))
        yield made
        made.close()

    @pytest.fixture
    def unreachable(self, nowhere: int) -> Connector:
        return Pushgateway(PushgatewaySettings(url=f"http://127.0.0.1:{nowhere}"))

    def visible(self, service: Service, event: Event) -> int:
        groups = asked(service, "/api/v1/metrics").json()["data"]
        if isinstance(event, RunFinished):
            name, wanted = "accelerate_run_success", {"pipeline": "quickstart.toml"}
        else:
            assert isinstance(event, Regression)
            name, wanted = "accelerate_regression_severity", {"series": event.series_key[:12]}
        return sum(
            wanted.items() <= metric["labels"].items()
            for group in groups
            for metric in group.get(name, {}).get("metrics", [])
        )


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a Prometheus that takes what is late."""
    if live := os.environ.get("ACCEL_LIVE_PROMETHEUS"):
        yield live
        return
    with servers.prometheus_in(tmp_path_factory.mktemp("late"), late=LATE) as running:
        yield running.url


def test_what_is_written_says_what_it_is_and_who_writes(late: str) -> None:
    """Prometheus Remote-Write 1.0 specification, "Protocol"; Prometheus itself takes less."""
    with Way(late) as way:
        settings = RemoteWriteSettings(url=f"{way.url}/api/v1/write", token=Secret("a-token"))
        write = RemoteWrite(settings)
        assert write.check() == []
        write.close()
    (request,) = way.requests
    wanted = {
        "authorization": "Bearer a-token",
        "content-encoding": "snappy",
        "content-type": "application/x-protobuf",
        "user-agent": "accelerate-prometheus",
        "x-prometheus-remote-write-version": "0.1.0",
    }
    assert wanted.items() <= request.headers.items()


@pytest.mark.parametrize("fault", ["404", "409"])
def test_what_is_refused_for_good_is_not_written_again(late: str, fault: Fault) -> None:
    """Prometheus Remote-Write 1.0 specification, "Retries & Backoff": 5xx and 429 only."""
    with Way(late) as way:
        write = RemoteWrite(RemoteWriteSettings(url=f"{way.url}/api/v1/write"))
        way.fail_next(fault)
        with pytest.raises(ConnectorError, match=f"answered {fault}") as caught:
            write.deliver(next(one for one in samples.every_event() if one.kind == "regression"))
        write.close()
    assert caught.value.info.retryable is False


class TestRemoteWrite(ServiceContract):
    @pytest.fixture
    def service(self, late: str) -> Iterator[Service]:
        with Way(late) as way:
            yield way

    @pytest.fixture
    def connector(self, service: Service) -> Iterator[Connector]:
        url = f"{service.url}/api/v1/write"
        made = RemoteWrite(RemoteWriteSettings(url=url, token=token()))
        yield made
        made.close()

    @pytest.fixture
    def unreachable(self, nowhere: int) -> Connector:
        return RemoteWrite(RemoteWriteSettings(url=f"http://127.0.0.1:{nowhere}/api/v1/write"))

    def visible(self, service: Service, event: Event) -> int:
        if isinstance(event, RunFinished):
            at = event.summary.run.finished_at or event.at
            series = 'accelerate_run_success{pipeline="quickstart.toml"}'
        else:
            assert isinstance(event, Regression)
            at = event.at
            series = f'accelerate_regression_severity{{series="{event.series_key[:12]}"}}'
        # How many samples there are of that time.
        moment = f"{at.timestamp() + 0.5:.3f}"
        query = f"count_over_time({series}[1s])"
        found = asked(service, "/api/v1/query", query=query, time=moment).json()
        return sum(int(one["value"][1]) for one in found["data"]["result"])
