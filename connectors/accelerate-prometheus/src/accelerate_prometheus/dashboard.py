# SPDX-License-Identifier: Apache-2.0
"""A Grafana dashboard of all that is shown, as the JSON model that Grafana imports. Pure.

"Dashboard JSON model" of Grafana's documentation; `__inputs` makes an import ask for the data
source, as "Export a dashboard for sharing" describes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

_SOURCE = {"type": "prometheus", "uid": "${DS_PROMETHEUS}"}
_WIDTH, _HEIGHT = 24, 8
#: Labels of measurements that people choose by.
_CHOSEN = ("model", "target", "precision")
_WHICH = ", ".join(f'{name}=~"${name}"' for name in _CHOSEN)
_CELL = "{{model}} {{target}} {{precision}} b{{batch_size}} {{scenario}}"
#: How long a measurement is shown: the next run may be a day away.
_VALID = "2d"


@attrs.frozen
class Panel:
    """Describe one picture: expressions with the names of their lines."""

    title: str
    unit: str  #: as Grafana calls it
    lines: tuple[tuple[str, str], ...]
    kind: str = "timeseries"  #: or "stat", "table"
    text: str = ""


def _measured(name: str) -> str:
    return f"last_over_time(accelerate_measurement_{name}{{{_WHICH}}}[{_VALID}])"


def _quantile(share: float, metric: str, by: str) -> str:
    rate = f'rate(accelerate_{metric}_seconds_bucket{{model=~"$model"}}[$__rate_interval])'
    return f"histogram_quantile({share}, sum by (le, {by}) ({rate}))"


def _rate(metric: str, by: str, which: str = "") -> str:
    return f"sum by ({by}) (rate(accelerate_{metric}{{{which}}}[$__rate_interval]))"


_OF_MODEL = 'model=~"$model"'

ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Results",
        (
            Panel(
                "Latest run",
                "bool_yes_no",
                (("last_over_time(accelerate_run_success[30d])", "{{pipeline}}"),),
                "stat",
                "Yes: everything was measured and right.",
            ),
            Panel(
                "Open regressions",
                "short",
                (("last_over_time(accelerate_regression_severity[30d]) > 0", "__auto"),),
                "table",
                "1: minor, 2: major, 3: critical.",
            ),
            Panel(
                "Measurements that fail",
                "short",
                ((f"{_measured('success')} == 0", "__auto"),),
                "table",
            ),
        ),
    ),
    (
        "Measurements",
        (
            Panel("Latency", "s", ((_measured("latency_seconds"), _CELL),)),
            Panel("Inference alone", "s", ((_measured("inference_seconds"), _CELL),)),
            Panel("Throughput", "ops", ((_measured("items_per_second"), _CELL),)),
            Panel("Memory", "bytes", ((_measured("memory_bytes"), _CELL),)),
            Panel("Distance from native CPU", "sci", ((_measured("relative_error"), _CELL),)),
            Panel(
                "Duration of runs",
                "s",
                ((f"last_over_time(accelerate_run_duration_seconds[{_VALID}])", "{{pipeline}}"),),
            ),
        ),
    ),
    (
        "Fleet",
        (
            Panel(
                "Jobs",
                "reqps",
                (
                    (_rate("job_submissions_total", "model", _OF_MODEL), "{{model}} submitted"),
                    (
                        _rate(
                            "job_duration_seconds_count",
                            "model, error_type",
                            f'{_OF_MODEL}, error_type!=""',
                        ),
                        "{{model}} {{error_type}}",
                    ),
                ),
            ),
            Panel(
                "Time of jobs",
                "s",
                tuple(
                    (_quantile(share, "job_duration", "model"), f"{{{{model}}}} p{share * 100:.0f}")
                    for share in (0.5, 0.95)
                ),
            ),
            Panel(
                "Jobs wait",
                "s",
                ((_quantile(0.95, "job_wait_time", "model"), "{{model}} p95"),),
            ),
            Panel(
                "Jobs pending",
                "short",
                (("sum by (instance) (accelerate_job_pending)", "{{instance}}"),),
            ),
            Panel(
                "Attempts beyond the first",
                "ops",
                tuple(
                    (_rate(f"job_{name}_total", "instance"), f"{{{{instance}}}} {name}")
                    for name in ("retries", "hedges", "failovers", "degradations")
                ),
            ),
            Panel(
                "Workers",
                "short",
                (
                    ("sum by (target) (accelerate_workers)", "{{target}}"),
                    (
                        "accelerate_workers_by_version",
                        "{{target}} {{browser_version}} {{engine_version}}",
                    ),
                ),
            ),
            Panel(
                "Workers lost and mended",
                "ops",
                (
                    (_rate("worker_losses_total", "error_type"), "lost: {{error_type}}"),
                    (_rate("worker_mends_total", "mend"), "mended: {{mend}}"),
                ),
            ),
            Panel(
                "Workers busy",
                "short",
                ((_rate("worker_busy_time_seconds_total", "target"), "{{target}}"),),
                text="Workers' worth of work: 2 is two workers that never rest.",
            ),
            Panel(
                "Time of attempts and of starting workers",
                "s",
                (
                    (_quantile(0.95, "attempt_duration", "target"), "attempt {{target}} p95"),
                    (
                        "histogram_quantile(0.95, sum by (le, target) "
                        "(rate(accelerate_worker_start_duration_seconds_bucket[$__rate_interval])))",
                        "start {{target}} p95",
                    ),
                ),
            ),
            Panel(
                "Memory of workers",
                "bytes",
                (("sum by (target) (accelerate_worker_memory_bytes)", "{{target}}"),),
            ),
            Panel(
                "Values without a series of their own",
                "short",
                (("sum by (metric) (accelerate_prometheus_overflow_total)", "{{metric}}"),),
                text="More than max_series: raise it, or run fewer models.",
            ),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """Return the dashboard as JSON data."""
    return {
        "__inputs": [
            {
                "name": "DS_PROMETHEUS",
                "label": "Prometheus",
                "type": "datasource",
                "pluginId": "prometheus",
                "pluginName": "Prometheus",
            }
        ],
        "uid": "accelerate",
        "title": "accelerate",
        "tags": ["accelerate"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "1m",
        "time": {"from": "now-30d", "to": "now"},
        "templating": {"list": [_variable(name) for name in _CHOSEN]},
        "panels": list(_panels()),
    }


def expressions() -> Iterator[str]:
    """Yield every expression of the dashboard."""
    for _, panels in ROWS:
        for panel in panels:
            yield from (expression for expression, _ in panel.lines)


def _panels() -> Iterator[dict[str, Any]]:
    number, top = 0, 0
    for title, panels in ROWS:
        place = {"x": 0, "y": top, "w": _WIDTH, "h": 1}
        number += 1
        row = {"id": number, "type": "row", "title": title, "gridPos": place}
        yield {**row, "collapsed": False, "panels": []}
        top += 1
        for index, panel in enumerate(panels):
            width = _WIDTH // 3
            x, y = index % 3 * width, top + index // 3 * _HEIGHT
            number += 1
            yield _panel(number, panel, {"x": x, "y": y, "w": width, "h": _HEIGHT})
        top += (len(panels) + 2) // 3 * _HEIGHT


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    is_now = panel.kind != "timeseries"
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "options": {"reduceOptions": {"calcs": ["lastNotNull"]}} if panel.kind == "stat" else {},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _SOURCE,
                "expr": expression,
                "legendFormat": legend,
                "instant": is_now,
                "range": not is_now,
                **({"format": "table"} if panel.kind == "table" else {}),
            }
            for index, (expression, legend) in enumerate(panel.lines)
        ],
    }


def _variable(name: str) -> dict[str, Any]:
    query = f"label_values(accelerate_measurement_success, {name})"
    return {
        "name": name,
        "label": name.capitalize(),
        "type": "query",
        "datasource": _SOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
