# SPDX-License-Identifier: Apache-2.0
"""The real Prometheus, Pushgateway and Alertmanager, each on a loopback port with its own folder.

They are Debian's, unpacked by `make prometheus` into `.build`, or those of the system.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import attrs
import pytest

UNPACKED = Path(__file__).parents[3] / ".build" / "prometheus"

_SETTINGS = """\
global: {{scrape_interval: 250ms, evaluation_interval: 250ms}}
rule_files: ["*-rules.yml"]
scrape_configs:
  - job_name: scraped
    honor_labels: true
    static_configs: [{{targets: {scraped}}}]
storage: {{tsdb: {{out_of_order_time_window: {late}}}}}
alerting:
  alertmanagers: [{{static_configs: [{{targets: {alerted}}}]}}]
"""
#: The rules that people get, and one that fires from the start.
_RULES = {
    "our": resources.files("accelerate_prometheus").joinpath("rules.yml").read_text("utf-8"),
    "test": """
groups:
  - name: servers
    rules: [{alert: AlwaysFiring, expr: vector(1), labels: {severity: page}}]
""",
}
_ROUTES = """\
route: {receiver: nobody, group_wait: 0s, group_interval: 1s}
receivers: [{name: nobody}]
"""


#: For `--web.config.file`: the user "accelerate" with the password "right-password" and no other.
LOCKED = (
    "basic_auth_users: {accelerate: $2b$04$.ldZ/ecPYc8IaZB57sSuA.isfyuZbpJ7IfvL1llCtFPbtPSdgwesa}"
)
_KNOWN = {"authorization": "Basic " + base64.b64encode(b"accelerate:right-password").decode()}


@attrs.frozen
class Running:
    """Hold a server that runs."""

    url: str
    folder: Path
    pid: int

    def call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> bytes:
        """Return the answer's body; urllib.error.HTTPError for a status from 400 on."""
        request = urllib.request.Request(f"{self.url}{path}", body, headers, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            content: bytes = answer.read()
            return content

    def json(self, path: str, **query: Any) -> Any:
        """Return what is read at a path."""
        return json.loads(self.call("GET", f"{path}?{urllib.parse.urlencode(query)}"))


class Prometheus(Running):
    """Ask; remote write is taken at `/api/v1/write`."""

    def ask(self, query: str, **more: Any) -> list[dict[str, Any]]:
        """Return the result of an instant query."""
        found: list[dict[str, Any]] = self.json("/api/v1/query", query=query, **more)["data"][
            "result"
        ]
        return found


class Pushgateway(Running):
    """Take pushed metrics at `/metrics/job/...`."""

    def wipe(self) -> None:
        """Forget all groups."""
        self.call("PUT", "/api/v1/admin/wipe", b"")


class Alertmanager(Running):
    """Take alerts at `/api/v2/alerts`."""

    def alerts(self) -> list[dict[str, Any]]:
        """Return what is firing."""
        found: list[dict[str, Any]] = self.json("/api/v2/alerts")
        return found


@contextlib.contextmanager
def prometheus_in(
    folder: Path,
    scraped: tuple[str, ...] = (),
    alerted: tuple[str, ...] = (),
    *,
    late: str = "0s",
    more: tuple[str, ...] = ("--web.enable-remote-write-receiver",),
) -> Iterator[Prometheus]:
    """Run Prometheus with remote write; it takes samples that come so `late`."""
    places = {"scraped": _places(scraped), "alerted": _places(alerted)}
    (folder / "prometheus.yml").write_text(_SETTINGS.format(late=late, **places))
    for name, text in _RULES.items():
        (folder / f"{name}-rules.yml").write_text(text)
    options = (
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        *more,
        # Alerts that fired before the Alertmanager was found are told a second later.
        "--rules.alert.resend-delay=1s",
    )
    with _running("prometheus", folder, *options) as running:
        yield Prometheus(*running)


@contextlib.contextmanager
def pushgateway_in(folder: Path, *more: str) -> Iterator[Pushgateway]:
    """Run the Pushgateway."""
    options = ("--web.enable-admin-api", "--persistence.file=", *more)
    with _running("prometheus-pushgateway", folder, *options) as running:
        yield Pushgateway(*running)


@contextlib.contextmanager
def alertmanager_in(folder: Path) -> Iterator[Alertmanager]:
    """Run the Alertmanager, alone and telling nobody."""
    (folder / "alertmanager.yml").write_text(_ROUTES)
    options = (
        "--config.file=alertmanager.yml",
        "--storage.path=data",
        "--cluster.listen-address=",
    )
    with _running("prometheus-alertmanager", folder, *options) as running:
        yield Alertmanager(*running)


@pytest.fixture(scope="session")
def prometheus(
    tmp_path_factory: pytest.TempPathFactory,
    _pushgateway: Pushgateway,
    alertmanager: Alertmanager,
    endpoint: int,
) -> Iterator[Prometheus]:
    """Run one Prometheus for all tests: each needs names of its own.

    It scrapes the Pushgateway and the endpoint, and tells the Alertmanager, from its first 5 s on:
    whatever it learns later takes it 5 s again.
    """
    folder = tmp_path_factory.mktemp("prometheus")
    scraped = (_pushgateway.url, f"http://127.0.0.1:{endpoint}")
    with prometheus_in(folder, scraped, (alertmanager.url,)) as running:
        yield running


@pytest.fixture(scope="session")
def endpoint() -> int:
    """Return the port that Prometheus scrapes besides; whoever wants to be scraped takes it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def _pushgateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pushgateway]:
    with pushgateway_in(tmp_path_factory.mktemp("pushgateway")) as running:
        yield running


@pytest.fixture
def pushgateway(_pushgateway: Pushgateway) -> Pushgateway:
    """Run one Pushgateway for all tests, empty for each."""
    _pushgateway.wipe()
    return _pushgateway


@pytest.fixture(scope="session")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alertmanager]:
    """Run one Alertmanager for all tests: each needs names of its own."""
    with alertmanager_in(tmp_path_factory.mktemp("alertmanager")) as running:
        yield running


def promtool(*arguments: str, cwd: Path) -> str:
    """Return what promtool says, as of `check rules FILE` or `test rules FILE`; AssertionError."""
    done = subprocess.run(
        [_command("promtool"), *arguments], cwd=cwd, capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def eventually(look: Callable[[], Any], seconds: float = 10) -> Any:
    """Return what is seen once it is true; AssertionError when it never is."""
    ends = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < ends, f"not within {seconds} s"
        time.sleep(0.05)
    return seen


def _places(urls: tuple[str, ...]) -> str:
    return json.dumps([urllib.parse.urlsplit(url).netloc for url in urls])


def _command(name: str) -> str:
    found = shutil.which(name, path=f"{UNPACKED / 'usr' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert found is not None, f"{name} is not here: run `make prometheus`"
    return found


@contextlib.contextmanager
def _running(name: str, folder: Path, *options: str) -> Iterator[tuple[str, Path, int]]:
    command = [_command(name), *options, "--log.level=warn"]
    log = folder / "log.txt"
    for _ in range(3):
        # Another process may take the port meanwhile: then the next one is tried.
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        with log.open("ab") as out:
            process = subprocess.Popen(
                [*command, f"--web.listen-address={address}"], cwd=folder, stdout=out, stderr=out
            )
        try:
            if _is_ready(process, f"http://{address}"):
                yield f"http://{address}", folder, process.pid
                return
        finally:
            process.terminate()
            process.wait(20)
    raise AssertionError(f"{name} does not start: {log.read_text()[-2000:]}")


def _is_ready(process: subprocess.Popen[bytes], url: str) -> bool:
    ends = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < ends:
        with contextlib.suppress(OSError):
            # Where nobody is asked who he is, saying so does no harm.
            request = urllib.request.Request(f"{url}/-/ready", headers=_KNOWN)
            urllib.request.urlopen(request, timeout=1).close()
            return True
        time.sleep(0.02)
    return False
