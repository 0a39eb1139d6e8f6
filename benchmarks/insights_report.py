# SPDX-License-Identifier: Apache-2.0
"""A report about a million measurements."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from accelerate_insights.picturing.report import generate
from accelerate_insights.reading import Database

from ._many import conditions, fill
from ._measure import Figure, median, rounded
from ._world import Options

#: Seconds from the question to the text.
AT_MOST_S = 5.0


async def measure(options: Options) -> AsyncIterator[Figure]:
    """Yield how long each format takes, of 1000 series of 1000 points; the database is warm."""
    series, points = options.count(1000, 100), options.count(1000, 100)
    with tempfile.TemporaryDirectory(prefix="accelerate-bench-") as folder:
        path, cache = Path(folder, "many.duckdb"), Path(folder)
        began = time.perf_counter()
        fill(path, series=series, points=points)
        filled_s = time.perf_counter() - began
        results = Database(path)
        generate(results, 30, "html", cache)  # bundles the plot library, once
        for name in ("markdown", "html"):
            times, size = [], 0
            for _ in range(options.count(3, 1)):
                began = time.perf_counter()
                size = len(generate(results, 30, name, cache))
                times.append(time.perf_counter() - began)
            yield Figure(
                figure=f"report as {name}",
                value=median(times),
                unit="s",
                at_most=AT_MOST_S,
                conditions={
                    **conditions(series, points, times),
                    "size_bytes": size,
                    "filled_s": rounded(filled_s),
                },
            )
