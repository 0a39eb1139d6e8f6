# SPDX-License-Identifier: Apache-2.0
"""Rules and dashboard agree with what is shown, and real servers take them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import attrs
import pytest
from accelerate_prometheus.dashboard import dashboard, expressions
from accelerate_prometheus.exporter import VERSIONS, Exporter
from accelerate_prometheus.naming import metric_name
from accelerate_prometheus.plugin import (
    ExporterSettings,
    PushgatewaySettings,
    RemoteWriteSettings,
)
from accelerate_prometheus.pushgateway import Pushgateway
from accelerate_prometheus.remote_write import RemoteWrite
from accelerate_prometheus.samples import GAUGES
from accelerate_prometheus.tally import OVERFLOW

from accelerate_core import events
from accelerate_core.fleet.metric import ERROR, MEND, METRICS, MODEL, TARGET, Point
from accelerate_core.testing import samples

from . import servers

RULES = files("accelerate_prometheus").joinpath("rules.yml").read_text("utf-8")
#: What Grafana puts in the place of variables where nothing is chosen.
CHOSEN = {"$__rate_interval": "1m", "$model": ".*", "$target": ".*", "$precision": ".*"}


def known() -> set[str]:
    """Return the names of all series that are shown."""
    names = {*GAUGES, VERSIONS, OVERFLOW}
    for one in METRICS.values():
        name = metric_name(one.name, one.instrument, one.unit)
        ends = ("_bucket", "_count", "_sum") if one.instrument == "histogram" else ("",)
        names.update(f"{name}{end}" for end in ends)
    return names


def regression(**changes: object) -> events.Regression:
    one = next(one for one in samples.every_event() if isinstance(one, events.Regression))
    return attrs.evolve(one, **{"target": "cpu", "severity": "critical", **changes})


def test_rules_and_dashboard_name_only_what_is_shown() -> None:
    named = re.compile(r"accelerate_[a-z_]+")
    rules = "\n".join(line for line in RULES.splitlines() if not line.startswith("#"))
    assert set(named.findall(rules)) <= known()
    used = {name for one in expressions() for name in named.findall(one)}
    assert used <= known()
    # Whatever is shown has its place in the dashboard; the age of the latest run is an alert.
    stems = {re.sub(r"_(bucket|count|sum)$", "", name) for name in used}
    missing = {re.sub(r"_(bucket|count|sum)$", "", name) for name in known()} - stems
    assert missing == {"accelerate_run_finished_timestamp_seconds"}


def test_the_page_tells_of_every_metric_and_alert() -> None:
    page = (Path(__file__).parents[3] / "docs" / "prometheus.md").read_text()
    for name, text in GAUGES.items():
        assert f"\n| `{name}` | {text} |\n" in page
    assert all(f"`{alert}`" in page for alert in re.findall(r"- alert: (\w+)", RULES))


def test_rules_come_and_go_as_they_should(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(RULES)
    alerts = set(re.findall(r"- alert: (\w+)", RULES))
    said = servers.promtool("check", "rules", "rules.yml", cwd=tmp_path)
    assert f"{len(alerts)} rules found" in said
    tests = sorted(Path(__file__).parent.glob("rules_*_test.yml"))
    for test in tests:
        (tmp_path / test.name).write_text(test.read_text())
    servers.promtool("test", "rules", *(test.name for test in tests), cwd=tmp_path)
    # Each of them is tested to come, and not to.
    text = "".join(test.read_text() for test in tests)
    for alert in alerts:
        assert f"alertname: {alert}, exp_alerts: []" in text, alert
        assert f"alertname: {alert}\n" in text, alert


def test_the_dashboard_is_one_that_grafana_reads() -> None:
    made = json.loads(json.dumps(dashboard()))
    assert made["title"] and made["uid"] and made["schemaVersion"] >= 36
    [asked] = made["__inputs"]
    variables = {one["name"] for one in made["templating"]["list"]}
    panels = made["panels"]
    assert [one["id"] for one in panels] == list(range(1, len(panels) + 1))
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
        for target in panel.get("targets", []):
            assert target["datasource"]["uid"] == f"${{{asked['name']}}}"
            used = set(re.findall(r"\$([a-z]+)", target["expr"]))
            assert used <= variables
            # What is drawn over time needs a range; tables and tiles show what is now.
            is_drawn = panel["type"] == "timeseries"
            assert (target["range"], target["instant"]) == (is_drawn, not is_drawn)
    shown = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    assert shown == list(expressions())


@pytest.fixture
def exporter(endpoint: int) -> Iterator[Exporter]:
    made = Exporter(ExporterSettings(port=endpoint, max_series=1))
    yield made
    made.close()


def test_every_picture_of_the_dashboard_shows_something(
    exporter: Exporter, prometheus: servers.Prometheus, pushgateway: servers.Pushgateway
) -> None:
    def happen() -> None:
        words = {MODEL: "m", TARGET: "cpu", MEND: "page", ERROR: "crash"}
        points = [Point(one.name, one.instrument, one.unit, 1.0, words) for one in METRICS.values()]
        exporter.deliver(events.MetricsRecorded(run_id="r", at=samples.START, points=tuple(points)))

    exporter.deliver(
        events.WorkerStarted(
            run_id="r", at=samples.START, worker_id="w", epoch=1, connection=samples.connection()
        )
    )
    exporter.deliver(regression())
    exporter.deliver(regression(series_key="no room for it"))
    push = Pushgateway(PushgatewaySettings(url=pushgateway.url))
    push.deliver(
        events.RunFinished(run_id="r", at=samples.START, summary=samples.summaries()["failed"])
    )
    push.close()
    happen()
    servers.eventually(lambda: prometheus.ask("accelerate_workers"))
    happen()
    servers.eventually(lambda: prometheus.ask("accelerate_job_submissions_total > 1"))
    for one in expressions():
        assert servers.eventually(lambda one=one: _values(prometheus, one)), one


def _values(prometheus: servers.Prometheus, expression: str) -> list[float]:
    for name, value in CHOSEN.items():
        expression = expression.replace(name, value)
    found = [float(one["value"][1]) for one in prometheus.ask(expression)]
    return [value for value in found if value == value]


def test_a_regression_reaches_the_alertmanager_and_is_resolved(
    prometheus: servers.Prometheus, alertmanager: servers.Alertmanager
) -> None:
    write = RemoteWrite(RemoteWriteSettings(url=f"{prometheus.url}/api/v1/write"))
    write.deliver(regression(model="travels", at=datetime.now(UTC)))

    def told() -> list[dict[str, str]]:
        labels = [one["labels"] for one in alertmanager.alerts()]
        return [one for one in labels if one.get("model") == "travels"]

    [alert] = servers.eventually(told)
    assert alert["alertname"] == "AccelerateCriticalRegression"
    assert alert["severity"] == "critical" and alert["job"] == "accelerate"
    write.deliver(regression(model="travels", at=datetime.now(UTC), status="fixed"))
    servers.eventually(lambda: not told())
    write.close()
