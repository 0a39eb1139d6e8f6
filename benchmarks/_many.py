# SPDX-License-Identifier: Apache-2.0
"""A database of many measurements, written by SQL: machines, models, targets, batches, days."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import psutil
from accelerate_duckdb.store import DuckDbStore

from ._measure import rounded

#: Backend, engine, browser, whether a software adapter stands for hardware, and how slow.
TARGETS = (
    ("cpu", "ort", None, False, 1.0),
    ("wasm", "ort", "chromium", False, 1.7),
    ("wasm", "ort", "firefox", False, 2.4),
    ("webgpu", "ort", "chromium", True, 4.0),
    ("webgpu", "plan", "firefox", False, 0.8),
)
MODELS = (
    ("bert", "text_embedding", "all-MiniLM-L6-v2"),
    ("whisper", "speech_recognition", "whisper-tiny.en-with-a-name-that-is-as-long-as-they-get"),
    ("vit", "image_classification", "vit-base-patch16-224"),
    ("clip", "image_text", "clip-vit-base-patch32"),
)
BATCHES = (1, 2, 4, 8, 16)
#: One series in so many becomes a quarter slower after two thirds of its time.
CHANGED = 10


def fill(path: Path, *, series: int, points: int, days: float = 28, samples: int = 5) -> None:
    """Write `series` series of `points` points over the last `days`, one run for each point."""
    DuckDbStore.open(path).close()
    begin = (datetime.now(UTC) - timedelta(days=days)).replace(tzinfo=None)
    step_s = days * 86_400 / points
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            """
            INSERT INTO runs (id, started_at, project_commit, host, is_interrupted, record)
            SELECT printf('run-%06d', i), ?::TIMESTAMP + to_seconds(i * ?),
                md5((i // greatest(1, ? // 20))::VARCHAR), {'system': 'Linux', 'processor': 'x',
                'cores': 2}::JSON, false, '{}' FROM range(?) t(i)
            """,
            [begin, step_s, points, points],
        )
        things = [
            (f"{number}", *target, *model, batch, f"model {number // every}")
            for number in range(series)
            for every in [len(TARGETS) * len(MODELS) * len(BATCHES)]
            for target in [TARGETS[number % len(TARGETS)]]
            for model in [MODELS[number // len(TARGETS) % len(MODELS)]]
            for batch in [BATCHES[number // len(TARGETS) // len(MODELS) % len(BATCHES)]]
        ]
        connection.execute(
            "CREATE TEMP TABLE things (key VARCHAR, backend VARCHAR, engine VARCHAR,"
            " browser VARCHAR, is_software BOOLEAN, slowness DOUBLE, family VARCHAR, task VARCHAR,"
            " model VARCHAR, batch BIGINT, file VARCHAR)"
        )
        connection.executemany(f"INSERT INTO things VALUES ({', '.join('?' * 11)})", things)
        connection.execute(
            f"""
            INSERT INTO webnn_webgpu_performance (timestamp, session_id, model_name, model_type,
                platform, browser, engine, is_software, simulation_mode, batch_size, precision,
                model_family, series_key, cell_id, run_id, measurement_id, status, is_required,
                latency_ms, throughput_items_per_second, memory_usage_mb, initialization_time_ms,
                samples_ms, inference_samples_ms, adapter_info, provenance, record)
            SELECT ?::TIMESTAMP + to_seconds(i * ?), run, model, task, backend, browser, engine,
                is_software, false, batch, 'fp32', family, key, number, run,
                run || '-' || key, 'ok', false,
                ms, 1000 * batch / ms, 80 + 6 * batch + noise, 900 + 50 * noise,
                [ms * (1 + 0.02 * (s - 2)) FOR s IN range({samples})], [], '{{}}', '{{}}', '{{}}'
            FROM (
                SELECT *, slowness * (4 + length(family)) * pow(batch, 0.8) * (1 + 0.03 * noise)
                    * if(number % {CHANGED} = 3 AND i > ? * 2 / 3, 1.25, 1) AS ms
                FROM (
                    SELECT *, printf('run-%06d', i) AS run, key::BIGINT AS number,
                        sqrt(-2 * ln(1 - random())) * cos(6.2832 * random()) AS noise
                    FROM things, range(?) t(i)
                )
                ORDER BY i
            )
            """,
            [begin, step_s, points, points],
        )


def conditions(series: int, points: int, times: Sequence[float]) -> dict[str, Any]:
    """Say of what size a database was, and how busy the machine, for times taken on it."""
    return {
        "measurements": series * points,
        "series": series,
        "fastest_s": rounded(min(times)),
        "load": [rounded(one) for one in psutil.getloadavg()],
        "cores": psutil.cpu_count(),
    }
