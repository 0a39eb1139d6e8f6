# SPDX-License-Identifier: Apache-2.0
"""What the endpoint shows, in how many series, and what is said when it cannot be opened."""

from __future__ import annotations

import logging
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest
from accelerate_prometheus.exporter import Exporter, _Quiet
from accelerate_prometheus.naming import LONGEST, label_name, metric_name
from accelerate_prometheus.plugin import ExporterSettings
from accelerate_prometheus.samples import GAUGES, samples_of
from prometheus_client.parser import text_string_to_metric_families

from accelerate_core import events
from accelerate_core.errors import ConnectorError
from accelerate_core.fleet.metric import ERROR, METRICS, MODEL, TARGET, Point
from accelerate_core.testing import samples
from accelerate_core.types import CellStatus, RunSummary

from .servers import UNPACKED

BASE: dict[str, Any] = {"run_id": "run-1", "at": samples.START}


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    made = Exporter(ExporterSettings(port=0, max_series=3))
    yield made
    made.close()


def recorded(*points: Point) -> events.MetricsRecorded:
    return events.MetricsRecorded(**BASE, points=points)


def point(name: str, value: float, **attributes: str) -> Point:
    known = METRICS[name]
    words = {"model": MODEL, "target": TARGET, "error": ERROR}
    named = {words[key]: one for key, one in attributes.items()}
    return Point(name, known.instrument, known.unit, value, named)


def page(exporter: Exporter) -> str:
    assert exporter.url is not None
    with urllib.request.urlopen(exporter.url) as answer:
        text: str = answer.read().decode()
    return text


def shown(exporter: Exporter) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return every value by name and labels that are not empty."""
    return {
        (one.name, frozenset(item for item in one.labels.items() if item[1])): one.value
        for family in text_string_to_metric_families(page(exporter))
        for one in family.samples
    }


def value(exporter: Exporter, name: str, **labels: str) -> float | None:
    return shown(exporter).get((name, frozenset(labels.items())))


def test_names_follow_the_conventions() -> None:
    names = {one.name: metric_name(one.name, one.instrument, one.unit) for one in METRICS.values()}
    assert names["accelerate.job.duration"] == "accelerate_job_duration_seconds"
    assert names["accelerate.job.submissions"] == "accelerate_job_submissions_total"
    assert names["accelerate.worker.busy_time"] == "accelerate_worker_busy_time_seconds_total"
    assert names["accelerate.worker.memory"] == "accelerate_worker_memory_bytes"
    assert names["accelerate.worker.count"] == "accelerate_workers"
    assert len(set(names.values())) == len(METRICS)
    assert metric_name("9 lives.of-a cat", "counter", "{life}") == "_9_lives_of_a_cat_total"
    assert label_name(MODEL) == "model" and label_name(ERROR) == "error_type"
    taken = ("le", "quantile", "job", "instance")
    assert [label_name(f"accelerate.{one}") for one in taken] == [
        f"accelerate_{one}" for one in taken
    ]


def test_counters_gauges_and_histograms_add_up(exporter: Exporter) -> None:
    for took in (0.0125, 0.3, 500.0):
        exporter.deliver(recorded(point("accelerate.job.duration", took, model="a", target="cpu")))
    exporter.deliver(
        recorded(
            point("accelerate.job.pending", 1, model="a"),
            point("accelerate.job.pending", 1, model="a"),
            point("accelerate.job.pending", -1, model="a"),
            point("accelerate.worker.losses", 2, target="cpu", error="crash"),
            point("accelerate.worker.losses", 1, target="cpu", error="crash"),
        )
    )
    name = "accelerate_job_duration_seconds"
    of = {"model": "a", "target": "cpu"}
    assert value(exporter, f"{name}_count", **of) == 3
    assert value(exporter, f"{name}_sum", **of) == pytest.approx(500.3125)
    assert value(exporter, f"{name}_bucket", **of, le="0.01") == 0
    assert value(exporter, f"{name}_bucket", **of, le="0.025") == 1
    assert value(exporter, f"{name}_bucket", **of, le="120.0") == 2
    assert value(exporter, f"{name}_bucket", **of, le="+Inf") == 3
    assert value(exporter, "accelerate_job_pending", model="a") == 1
    lost = value(exporter, "accelerate_worker_losses_total", target="cpu", error_type="crash")
    assert lost == 3


def test_a_value_at_a_bound_is_in_its_bucket(exporter: Exporter) -> None:
    exporter.deliver(recorded(point("accelerate.job.wait_time", 0.01, model="a")))
    name = "accelerate_job_wait_time_seconds_bucket"
    assert value(exporter, name, model="a", le="0.01") == 1
    assert value(exporter, name, model="a", le="0.005") == 0


def test_the_latest_measurement_run_and_regression_are_shown(exporter: Exporter) -> None:
    one = samples.measurement()
    later = samples.measurement(latency_ms=25.0)
    for measured in (one, later):
        exporter.deliver(events.MeasurementStored(**BASE, measurement=measured))
    cell = {
        "model": "minilm",
        "target": "webgpu/ort:chromium",
        "precision": "fp32",
        "batch_size": "1",
        "sequence_length": "32",
        "scenario": "single_stream",
    }
    assert value(exporter, "accelerate_measurement_latency_seconds", **cell) == 0.025
    assert value(exporter, "accelerate_measurement_inference_seconds", **cell) == 0.01
    assert value(exporter, "accelerate_measurement_items_per_second", **cell) == 80
    assert value(exporter, "accelerate_measurement_memory_bytes", **cell) == 123 << 20
    assert value(exporter, "accelerate_measurement_relative_error", **cell) == 3e-6
    assert value(exporter, "accelerate_measurement_success", **cell) == 1
    exporter.deliver(events.RunFinished(**BASE, summary=samples.summaries()["failed"]))
    run = {"pipeline": "quickstart.toml"}
    assert value(exporter, "accelerate_run_success", **run) == 0
    assert value(exporter, "accelerate_run_duration_seconds", **run) == 42
    ended = (samples.START + timedelta(seconds=42)).timestamp()
    assert value(exporter, "accelerate_run_finished_timestamp_seconds", **run) == ended


@pytest.mark.parametrize(
    ("severity", "status", "wanted"),
    [
        ("minor", "open", 1),
        ("major", "open", 2),
        ("critical", "open", 3),
        ("words of its own", "open", 2),
        ("improvement", "open", 0),
        ("critical", "fixed", 0),
    ],
)
def test_a_regression_is_a_number_that_goes_back_to_0(
    severity: str, status: str, wanted: float
) -> None:
    regression = next(one for one in samples.every_event() if isinstance(one, events.Regression))
    [sample] = samples_of(
        attrs.evolve(regression, severity=severity, status=status, model="m", target="cpu")
    )
    assert sample.value == wanted and sample.at == samples.START
    labels = {"metric": "latency_ms", "model": "m", "series": "ab" * 6, "target": "cpu"}
    assert dict(sample.labels) == labels


def test_what_fails_is_0_what_was_not_tried_is_not_shown() -> None:
    def success(status: CellStatus, is_required: bool) -> list[float]:
        one = samples.measurement(status=status, is_required=is_required)
        told = samples_of(events.MeasurementStored(**BASE, measurement=one))
        return [each.value for each in told if each.name == "accelerate_measurement_success"]

    assert success(CellStatus.OK, False) == [1]
    assert success(CellStatus.MISMATCH, False) == success(CellStatus.FAILED, False) == [0]
    assert success(CellStatus.MISSING, True) == [0]
    assert success(CellStatus.MISSING, False) == success(CellStatus.SKIPPED, False) == []


def test_series_are_bounded_and_what_finds_no_room_is_counted_and_logged_once(
    exporter: Exporter, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["a", "b", "c", "d", "e", "a"]
    with caplog.at_level(logging.WARNING, "accelerate.prometheus"):
        for name in names:
            exporter.deliver(recorded(point("accelerate.job.submissions", 1, model=name)))
            exporter.deliver(recorded(point("accelerate.job.wait_time", 1.0, model=name)))
            one = samples.measurement(text=name)
            exporter.deliver(events.MeasurementStored(**BASE, measurement=one))
    name = "accelerate_job_submissions_total"
    assert value(exporter, name, model="a") == 2 and value(exporter, name, model="d") is None
    assert value(exporter, name, model="other") == 2
    waited = "accelerate_job_wait_time_seconds"
    assert value(exporter, f"{waited}_count", model="other") == 2
    overflow = "accelerate_prometheus_overflow_total"
    assert value(exporter, overflow, metric=name) == 2
    assert value(exporter, overflow, metric=waited) == 2
    # The latest value of one thing says nothing of another.
    latency = "accelerate_measurement_latency_seconds"
    models = {dict(labels)["model"] for name, labels in shown(exporter) if name == latency}
    assert models == {"a", "b", "c"} and value(exporter, overflow, metric=latency) == 2
    told = [record.getMessage() for record in caplog.records]
    assert sum(one.startswith(f"{name} ") for one in told) == 1
    assert all("max_series" in one for one in told)


def test_workers_are_shown_by_what_they_run_while_they_are_there(exporter: Exporter) -> None:
    def started(worker: str, epoch: int, version: str) -> events.WorkerStarted:
        info = attrs.evolve(samples.worker_info(), browser_version=version)
        connection = samples.connection(info=info)
        return events.WorkerStarted(**BASE, worker_id=worker, epoch=epoch, connection=connection)

    def count(version: str) -> float | None:
        labels = {"browser_version": version, "device": "cpu", "target": "webgpu/ort:chromium"}
        name = "accelerate_workers_by_version"
        return value(exporter, name, **labels, engine_version="onnxruntime-web 1.30.0")

    exporter.deliver(started("w-1", 1, "156"))
    exporter.deliver(started("w-2", 1, "156"))
    assert count("156") == 2
    exporter.deliver(started("w-2", 2, "157"))
    assert count("156") == 1 and count("157") == 1
    target = samples.worker_info().target
    for worker, epoch in (("w-1", 1), ("w-2", 1)):
        exporter.deliver(events.WorkerGone(**BASE, worker_id=worker, epoch=epoch, target=target))
    assert count("156") is None, "it is gone"
    assert count("157") == 1, "only its earlier life is over"


@pytest.mark.parametrize("text", [*samples.HOSTILE, "x" * 10_000, 'a"b\\c\nd', "نص عربي"])
def test_any_words_come_back_as_one_label(exporter: Exporter, text: str) -> None:
    one = samples.measurement(text=text)
    exporter.deliver(events.MeasurementStored(**BASE, measurement=one))
    exporter.deliver(recorded(point("accelerate.job.submissions", 1, model=text)))
    words = {dict(labels)["model"] for name, labels in shown(exporter) if "overflow" not in name}
    [word] = words
    assert len(word) <= LONGEST and word.isprintable() and "\n" not in word
    assert word[:20].split()[0][:3] == text.split()[0].replace("\x1b", "\ufffd")[:3]


def test_prometheus_own_lint_has_nothing_to_say(exporter: Exporter) -> None:
    for one in METRICS.values():
        exporter.deliver(recorded(point(one.name, 1.0, model="a", target="cpu")))
    for event in samples.every_event():
        exporter.deliver(event)
    text = page(exporter)
    shown_names = {name for name in GAUGES if f"\n{name}{{" in text}
    assert shown_names == set(GAUGES)
    done = subprocess.run(
        [UNPACKED / "usr/bin/promtool", "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr


def test_two_metrics_of_one_name_and_two_kinds_are_refused(exporter: Exporter) -> None:
    exporter.deliver(recorded(Point("a.b", "up_down_counter", "s", 1.0)))
    with pytest.raises(ConnectorError, match="two metrics would be called a_b_seconds"):
        exporter.deliver(recorded(Point("a.b", "histogram", "s", 1.0)))


def test_a_taken_port_is_named_and_what_was_told_meanwhile_is_shown_later(
    exporter: Exporter,
) -> None:
    exporter.deliver(recorded())
    assert exporter.url is not None
    port = int(exporter.url.split(":")[2].split("/")[0])
    second = Exporter(ExporterSettings(port=port))
    [problem] = second.check()
    assert f"port {port} of 127.0.0.1 is taken" in problem and "`port`" in problem
    with pytest.raises(ConnectorError, match="is taken"):
        second.deliver(recorded(point("accelerate.job.submissions", 1, model="a")))
    exporter.close()
    assert second.check() == []
    second.deliver(recorded(point("accelerate.job.submissions", 1, model="a")))
    assert value(second, "accelerate_job_submissions_total", model="a") == 2
    second.close()


def test_who_connects_and_says_nothing_keeps_no_thread(
    exporter: Exporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _Quiet.timeout is not None
    monkeypatch.setattr(_Quiet, "timeout", 0.05)
    exporter.deliver(recorded())
    parts = urlsplit(exporter.url or "")
    with socket.create_connection((str(parts.hostname), parts.port or 0), timeout=10) as silent:
        assert silent.recv(1) == b""


def test_an_address_of_another_machine_is_named() -> None:
    for address in ("192.0.2.1", "no.such.host.invalid"):
        [problem] = Exporter(ExporterSettings(address=address)).check()
        assert f"{address!r} is no address of this machine" in problem and "`address`" in problem


def test_an_interrupted_run_says_nothing_about_itself() -> None:
    summary: RunSummary = samples.summaries()["interrupted"]
    assert samples_of(events.RunFinished(**BASE, summary=summary)) == ()
