# SPDX-License-Identifier: Apache-2.0
"""A run is seen all three ways, and says the same in each."""

from __future__ import annotations

import json
import urllib.request
from datetime import datetime
from importlib import resources
from pathlib import Path

import pytest
from accelerate_prometheus.exporter import Exporter
from prometheus_client.parser import text_string_to_metric_families

from accelerate_core.cli import main

from . import servers

MODEL = resources.files("accelerate_core") / "data" / "tiny_mlp.onnx"
LATENCY = "accelerate_measurement_latency_seconds"


def test_a_run_is_scraped_pushed_and_written(
    tmp_path: Path,
    prometheus: servers.Prometheus,
    pushgateway: servers.Pushgateway,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ACCELERATE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("ACCELERATE_STATE_DIR", str(tmp_path / "state"))
    file = tmp_path / "watched.toml"
    file.write_text(f"""
        disabled = ["insights"]

        [store]
        use = "duckdb"
        path = "{tmp_path / "results.duckdb"}"

        [[models]]
        name = "watched"
        source = "file:{MODEL}"

        [[benchmarks]]
        models = ["watched"]
        targets = ["cpu"]
        repeats = 3

        [[connectors]]
        use = "prometheus"
        port = 0

        [[connectors]]
        use = "pushgateway"
        url = "{pushgateway.url}"
        job = "pushed"

        [[connectors]]
        use = "prometheus-remote-write"
        url = "{prometheus.url}/api/v1/write"
    """)
    pages: list[str] = []
    close = Exporter.close

    def look_and_close(self: Exporter) -> None:
        if self.url is not None:
            with urllib.request.urlopen(self.url) as answer:
                pages.append(answer.read().decode())
        close(self)

    monkeypatch.setattr(Exporter, "close", look_and_close)
    assert main(["run", str(file), "--json"]) == 0
    out = capsys.readouterr()
    found = json.loads(out.out)
    assert found["problems"] == [], out.err
    [one] = found["measurements"]
    latency_s = one["latency_ms"] / 1e3

    [page] = pages
    shown = {
        (sample.name, sample.labels.get("model", "")): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }
    assert shown[LATENCY, "watched"] == pytest.approx(latency_s)
    assert shown["accelerate_job_submissions_total", "watched"] >= 3
    assert shown["accelerate_job_duration_seconds_count", "watched"] >= 3
    assert shown["accelerate_run_success", ""] == 1

    pushed = pushgateway.json("/api/v1/metrics")["data"]
    [group] = [one for one in pushed if LATENCY in one]
    assert group["labels"] == {"job": "pushed", "pipeline": "watched"}
    assert float(group[LATENCY]["metrics"][0]["value"]) == pytest.approx(latency_s)

    # What was pushed is scraped, too, and told apart by its job.
    [series] = prometheus.ask(f'{LATENCY}{{model="watched", job="accelerate"}}[1h]')
    [[moment, value]] = series["values"]
    assert float(value) == pytest.approx(latency_s)
    assert moment == pytest.approx(datetime.fromisoformat(one["started_at"]).timestamp(), abs=1e-3)
    [ran] = prometheus.ask('accelerate_run_success{pipeline="watched", job="accelerate"}')
    assert ran["value"][1] == "1"
