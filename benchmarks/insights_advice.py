# SPDX-License-Identifier: Apache-2.0
"""History and recommendations out of a million measurements."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import duckdb
import psutil
from accelerate_insights import Insights

from ._many import fill
from ._measure import Figure, median, rounded
from ._world import Options

#: Seconds from the question to the values, the file opened for it.
HISTORY_S, RECOMMENDATION_S = 0.2, 1.0
_REPEATS = 3


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield how long the questions take, of 1000 series of 1000 points; the database is warm."""
    series, points = options.count(1000, 100), options.count(1000, 100)
    with tempfile.TemporaryDirectory(prefix="accelerate-bench-") as folder:
        path = Path(folder, "many.duckdb")
        fill(path, series=series, points=points)
        _add_cells(path)
        insights = Insights(path)
        model = insights.get_browser_recommendations().answers[0].question.model
        task = insights.get_browser_recommendations().answers[0].question.task

        def figure(name: str, at_most: float, ask: Callable[[], object]) -> Figure:
            times, processor = [], []
            for _ in range(options.count(_REPEATS, 1)):
                began, began_cpu = time.perf_counter(), time.process_time()
                ask()
                times.append(time.perf_counter() - began)
                processor.append(time.process_time() - began_cpu)
            return Figure(
                figure=name,
                value=median(times),
                unit="s",
                at_most=at_most,
                conditions={
                    "measurements": series * points,
                    "series": series,
                    "fastest_s": rounded(min(times)),
                    "cpu_s": rounded(min(processor)),
                    "load": [rounded(one) for one in psutil.getloadavg()],
                    "cores": psutil.cpu_count(),
                },
            )

        recommend, history = insights.get_browser_recommendations, insights.get_performance_history
        yield figure("history of a model", HISTORY_S, lambda: history(model=model))
        yield figure("recommendation for a model", RECOMMENDATION_S, lambda: recommend(model=model))
        yield figure("recommendations for a task", RECOMMENDATION_S, lambda: recommend(task))
        yield figure("recommendations for all models", RECOMMENDATION_S, recommend)
        yield figure(
            "recommendations for all models, balanced",
            RECOMMENDATION_S,
            lambda: recommend(objective="balanced"),
        )


def _add_cells(path: Path) -> None:
    """Add what was asked for, by which tries are counted."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            """
            INSERT INTO cells (id, key, model, backend, engine, browser, precision, batch_size,
                sequence_length)
            SELECT DISTINCT cell_id, cell_id::VARCHAR, model_name, platform, engine, browser,
                precision, batch_size, sequence_length FROM webnn_webgpu_performance
            """
        )
