# SPDX-License-Identifier: Apache-2.0
"""Recommendations out of a million measurements."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import duckdb
from accelerate_insights import Insights

from ._many import conditions, fill
from ._measure import Figure, median, rounded
from ._world import Options

#: Seconds from the question to the answers, the file opened for it.
AT_MOST_S = 1.0
_REPEATS = 3


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield how long the questions take, of 1000 series of 1000 points; the database is warm."""
    series, points = options.count(1000, 100), options.count(1000, 100)
    with tempfile.TemporaryDirectory(prefix="accelerate-bench-") as folder:
        path = Path(folder, "many.duckdb")
        fill(path, series=series, points=points)
        _add_cells(path)
        insights = Insights(path)
        question = insights.get_browser_recommendations().answers[0].question
        model, task = question.model, question.task

        def figure(name: str, ask: Callable[[], object]) -> Figure:
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
                at_most=AT_MOST_S,
                conditions={
                    **conditions(series, points, times),
                    "cpu_s": rounded(min(processor)),
                },
            )

        recommend = insights.get_browser_recommendations
        yield figure("insights_recommend_model_s", lambda: recommend(model=model))
        yield figure("insights_recommend_task_s", lambda: recommend(task))
        yield figure("insights_recommend_all_s", recommend)
        yield figure("insights_recommend_balanced_s", lambda: recommend(objective="balanced"))


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
