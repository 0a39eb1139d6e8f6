# SPDX-License-Identifier: Apache-2.0
"""The real servers run, take what their documentation says, and are gone afterwards."""

from __future__ import annotations

import json
import os
import urllib.error
from pathlib import Path

import pytest

from .servers import Alertmanager, Prometheus, Pushgateway, eventually, promtool, pushgateway_in

RULES = """\
groups:
  - name: servers
    rules: [{alert: AlwaysFiring, expr: vector(1), labels: {severity: page}}]
"""


def test_what_is_pushed_is_scraped_and_alerts_are_told(
    prometheus: Prometheus, pushgateway: Pushgateway, alertmanager: Alertmanager
) -> None:
    pushgateway.call("PUT", "/metrics/job/servers", b"pushed_for_servers 3.5\n")
    [found] = eventually(lambda: prometheus.ask("pushed_for_servers"))
    assert found["value"][1] == "3.5" and found["metric"]["job"] == "servers"
    wanted = {"alertname": "AlwaysFiring", "severity": "page"}
    eventually(lambda: wanted in [one["labels"] for one in alertmanager.alerts()])
    pushgateway.wipe()
    assert b"pushed_for_servers" not in pushgateway.call("GET", "/metrics")


def test_remote_write_is_taken_and_what_is_none_refused(prometheus: Prometheus) -> None:
    # An empty WriteRequest, as Snappy writes it: a length of nothing.
    headers = {"content-encoding": "snappy", "content-type": "application/x-protobuf"}
    assert prometheus.call("POST", "/api/v1/write", b"\x00", **headers) == b""
    with pytest.raises(urllib.error.HTTPError) as caught:
        prometheus.call("POST", "/api/v1/write", b"text", **headers)
    with caught.value as error:
        assert error.code == 400


def test_alerts_are_taken_over_http(alertmanager: Alertmanager) -> None:
    alert = json.dumps([{"labels": {"alertname": "Posted"}}]).encode()
    alertmanager.call("POST", "/api/v2/alerts", alert, **{"content-type": "application/json"})
    names = [one["labels"]["alertname"] for one in eventually(alertmanager.alerts)]
    assert "Posted" in names


def test_a_server_is_gone_when_it_is_left(tmp_path: Path) -> None:
    with pushgateway_in(tmp_path) as running:
        os.kill(running.pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(running.pid, 0)
    with pytest.raises(urllib.error.URLError):
        running.call("GET", "/-/ready")


def test_promtool_tells_right_rules_from_wrong_ones(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(RULES)
    assert "1 rules found" in promtool("check", "rules", "rules.yml", cwd=tmp_path)
    (tmp_path / "rules.yml").write_text(RULES.replace("vector(1)", "vector("))
    with pytest.raises(AssertionError, match="could not parse expression"):
        promtool("check", "rules", "rules.yml", cwd=tmp_path)
