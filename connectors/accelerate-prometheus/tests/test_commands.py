# SPDX-License-Identifier: Apache-2.0
"""What `accel prometheus` prints, and how a pipeline file makes the three connectors."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from accelerate_prometheus.access import Asked
from accelerate_prometheus.asking import history
from accelerate_prometheus.plugin import (
    ExporterSettings,
    PushgatewaySettings,
    RemoteWriteSettings,
)
from accelerate_prometheus.remote_write import RemoteWrite

from accelerate_core import events
from accelerate_core.cli import main
from accelerate_core.errors import ConfigError, ConnectorError
from accelerate_core.settings import structure
from accelerate_core.testing import samples
from accelerate_core.testing.service import Answer, Request, Service

from . import servers

LATENCY = "accelerate_measurement_latency_seconds"


def test_rules_are_printed_as_they_are(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["prometheus", "rules"]) == 0
    (tmp_path / "rules.yml").write_text(capsys.readouterr().out)
    servers.promtool("check", "rules", "rules.yml", cwd=tmp_path)


def test_the_dashboard_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prometheus", "dashboard"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "accelerate"


@pytest.fixture(scope="module")
def asked(prometheus: servers.Prometheus) -> str:
    """Write three measurements of a model, each of two hours ago and later; return a selector."""
    write = RemoteWrite(RemoteWriteSettings(url=f"{prometheus.url}/api/v1/write"))
    for minutes, latency_ms in ((50, 10.0), (25, 30.0), (5, 20.0)):
        at = datetime.now(UTC) - timedelta(minutes=minutes)
        one = samples.measurement(text="history", started_at=at, latency_ms=latency_ms)
        write.deliver(events.MeasurementStored(run_id="r", at=at, measurement=one))
    write.close()
    return f'{LATENCY}{{model="history"}}'


def test_history_is_what_was_measured_oldest_first(
    prometheus: servers.Prometheus, asked: str
) -> None:
    access = Asked(url=prometheus.url)
    [series] = history(prometheus.url, asked, timedelta(hours=2), access)
    assert [value for _, value in series.points] == [0.01, 0.03, 0.02]
    ages = [datetime.now(UTC) - moment for moment, _ in series.points]
    assert [round(age.total_seconds() / 300) for age in ages] == [10, 5, 1]
    assert series.labels["model"] == "history" and series.labels["job"] == "accelerate"
    [series] = history(prometheus.url, asked, timedelta(minutes=30), access)
    assert [value for _, value in series.points] == [0.03, 0.02]
    assert history(prometheus.url, "nothing_of_that_name", timedelta(days=30), access) == []


def test_history_on_the_command_line(
    prometheus: servers.Prometheus, asked: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["prometheus", "history", asked, "--url", prometheus.url, "--since", "2h"]
    assert main(words) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "model=history" in text and "0.01 0.01 0.03 0.02 20" in text
    assert main([*words, "--json"]) == 0
    [series] = json.loads(capsys.readouterr().out)
    assert [value for _, value in series["points"]] == [0.01, 0.03, 0.02]
    assert main([*words[:2], "nothing_of_that_name", *words[3:]]) == 0
    assert capsys.readouterr().out == "Prometheus has nothing of it within 2h.\n"


@pytest.mark.parametrize(
    ("selector", "since", "code", "wanted"),
    [
        ("a{", "2h", 1, "parse error"),
        ("a", "2 hours", 2, "'2 hours' is no length of time"),
        ("a", "0d", 2, "'0d' is no length of time"),
    ],
)
def test_a_question_that_is_none_is_said(
    prometheus: servers.Prometheus,
    capsys: pytest.CaptureFixture[str],
    selector: str,
    since: str,
    code: int,
    wanted: str,
) -> None:
    words = ["prometheus", "history", selector, "--url", prometheus.url, "--since", since]
    assert main(words) == code
    assert wanted in capsys.readouterr().err


def test_a_server_that_is_no_prometheus_is_said(pushgateway: servers.Pushgateway) -> None:
    with pytest.raises(ConnectorError, match="answered 404") as caught:
        history(pushgateway.url, "a", timedelta(days=1), Asked(url=pushgateway.url))
    assert "where Prometheus is" in str(caught.value)


class Odd(Service):
    """Answer every question with the same series."""

    def __init__(self, *series: Any) -> None:
        super().__init__()
        self.series = series

    def handle(self, request: Request) -> Answer:
        return Answer.of({"status": "success", "data": {"result": self.series}})


@pytest.mark.parametrize(
    "series",
    [
        5,
        {"metric": {}},
        {"metric": {}, "values": [[1, None]]},
        {"metric": {}, "values": [[1e30, "1"]]},
        {"metric": ["a"], "values": [[1, "1"]]},
    ],
)
def test_series_that_are_none_are_a_typed_error(series: Any) -> None:
    with Odd(series) as service, pytest.raises(ConnectorError, match="is no Prometheus"):
        history(service.url, "a", timedelta(days=1), Asked(url=service.url))


def test_values_that_are_no_numbers_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    values = [[60, "NaN"], [120, "4"], [180, "2"], [240, "+Inf"], [300, "NaN"]]
    empty = {"metric": {"a": "empty"}, "values": []}
    never = {"metric": {"a": "never"}, "values": values[:1]}
    with Odd(empty, {"metric": {"a": 3}, "values": values}, never) as service:
        assert main(["prometheus", "history", "a", "--url", service.url]) == 0
    _, line = capsys.readouterr().out.strip().rsplit("\n", 1)
    assert line.split() == ["a=3", "4", "2", "inf", "inf", "1970-01-01", "00:04"]


@pytest.mark.parametrize(
    ("kind", "table", "key", "wanted"),
    [
        (PushgatewaySettings, {"url": "gateway:9091"}, "url", "no address"),
        (PushgatewaySettings, {"url": "ftp://gateway"}, "url", "no address"),
        (PushgatewaySettings, {"url": "http://gateway:port"}, "url", "no address"),
        (PushgatewaySettings, {"url": "http://me:pass@gateway"}, "url", "credentials stand in"),
        (RemoteWriteSettings, {"url": "http://a/write?token=x"}, "url", "no address"),
        (RemoteWriteSettings, {"labels": {"__name__": "x"}}, "labels.__name__", "no label"),
        (RemoteWriteSettings, {"labels": {"job": "x"}}, "labels.job", "given already"),
        (PushgatewaySettings, {"labels": {"model": "x"}}, "labels.model", "given already"),
        (RemoteWriteSettings, {"labels": {"a-b": "x"}}, "labels.a-b", "no label"),
        (RemoteWriteSettings, {"labels": {"a": " "}}, "labels.a", "is empty"),
        (RemoteWriteSettings, {"job": ""}, "job", "needs a name"),
        (RemoteWriteSettings, {"timeout": 0}, "timeout", "not allowed"),
        (RemoteWriteSettings, {"username": "me"}, "password", "username needs password"),
        (RemoteWriteSettings, {"token": "env:K5_TOKEN", "username": "me"}, "token", "two ways"),
        (RemoteWriteSettings, {"token": "plain"}, "token", "in the file itself"),
        (ExporterSettings, {"port": 70_000}, "port", "not allowed"),
        (ExporterSettings, {"max_series": 0}, "max_series", "not allowed"),
        (ExporterSettings, {"adress": ""}, "adress", "unknown key"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(
    monkeypatch: pytest.MonkeyPatch, kind: Any, table: dict[str, Any], key: str, wanted: str
) -> None:
    monkeypatch.setenv("K5_TOKEN", "a-token-of-k5")
    with pytest.raises(ConfigError, match=wanted) as caught:
        structure(table, kind, where="pipeline.toml")
    assert caught.value.info.where == f"pipeline.toml key {key}"
    assert not re.search("me:pass|token=x", str(caught.value))


def test_a_pipeline_file_names_all_three(
    tmp_path: Path, prometheus: servers.Prometheus, pushgateway: servers.Pushgateway
) -> None:
    path = tmp_path / "pipeline.toml"
    path.write_text(f"""
        [[connectors]]
        use = "prometheus"
        port = 0

        [[connectors]]
        use = "pushgateway"
        url = "{pushgateway.url}"
        labels = {{ instance = "bench-1" }}

        [[connectors]]
        use = "prometheus-remote-write"
        url = "{prometheus.url}/api/v1/write"
        job = "bench"
    """)
    assert main(["connectors", "check", str(path)]) == 0
