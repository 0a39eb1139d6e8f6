# SPDX-License-Identifier: Apache-2.0
"""What docs/pool.md shows works, its exporter with the real SDK of OpenTelemetry."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from accelerate_core import Accelerator
from accelerate_core.fleet.metric import METRICS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/pool.md").read_text(encoding="utf-8")
TINY = ROOT / "accelerate_core/data/tiny_mlp.onnx"


def _blocks(info: str) -> list[str]:
    return re.findall(rf"^```{info}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_runs(tmp_path: Path) -> None:
    script = tmp_path / "pool.py"
    script.write_text("\n".join(_blocks("python run")))
    done = subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_every_metric_is_listed_as_it_is() -> None:
    for one in METRICS.values():
        kind = one.instrument.replace("_", " ")
        assert f"| `{one.name}` | {kind} | `{one.unit}` | {one.description} |" in PAGE


def test_the_exporter_feeds_opentelemetry(tmp_path: Path) -> None:
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    (text,) = _blocks("python")
    assert len([line for line in text.splitlines() if line.strip()]) <= 15
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader])
    metrics.set_meter_provider(provider)
    made: dict[str, Any] = {}
    exec(text, made)
    folders = {"cache_dir": tmp_path / "cache", "state_dir": tmp_path / "state"}
    accelerator = Accelerator(**folders, recovery="immediate", backends={"fake": {"fail_every": 3}})
    accelerator._inner._host.add("listeners", "opentelemetry", made["OpenTelemetry"])
    with accelerator:
        model = accelerator.accelerate_model(f"file:{TINY}", platform="fake")
        (spec,) = model.spec.inputs
        shape = [one if isinstance(one, int) else 1 for one in spec.shape]
        for _ in range(5):
            model({spec.name: np.ones(shape, spec.dtype)})
    data = reader.get_metrics_data()
    assert data is not None
    exported = {
        metric.name: metric
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert set(exported) <= set(METRICS)
    assert {name: exported[name].unit for name in exported} == {
        name: METRICS[name].unit for name in exported
    }
    (duration,) = exported["accelerate.job.duration"].data.data_points
    assert duration.count == 5  # type: ignore[union-attr]
    assert dict(duration.attributes or {}) == {
        "accelerate.model": f"file:{TINY}",
        "accelerate.target": "fake",
    }
    errors = {
        dict(point.attributes or {}).get("error.type"): point.count  # type: ignore[union-attr]
        for point in exported["accelerate.attempt.duration"].data.data_points
    }
    assert errors[None] == 5 and errors["internal"] >= 1
    (pending,) = exported["accelerate.job.pending"].data.data_points
    assert pending.value == 0  # type: ignore[union-attr]
    provider.shutdown()
