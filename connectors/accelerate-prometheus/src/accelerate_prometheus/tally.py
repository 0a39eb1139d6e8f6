# SPDX-License-Identifier: Apache-2.0
"""Sums, histograms and latest values, in a bounded number of series."""

from __future__ import annotations

import bisect
import itertools
import logging
import threading
from collections import Counter
from collections.abc import Collection, Iterator

import attrs
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from accelerate_core.errors import ConnectorError
from accelerate_core.fleet.metric import METRICS, Instrument, Point

from .naming import label_name, label_value, metric_name
from .samples import Labels

_log = logging.getLogger("accelerate.prometheus")

#: Upper bounds of histograms, in seconds: from a small model in a page to a large one's start.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
          120.0)  # fmt: skip
#: What each label of the series says that all take who found no room.
OTHER = "other"
OVERFLOW = "accelerate_prometheus_overflow_total"


@attrs.define
class _Histogram:
    counts: list[int] = attrs.field(factory=lambda: [0] * (len(BOUNDS) + 1))
    sum: float = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect.bisect_left(BOUNDS, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return how many values are at most each bound."""
        bounds = [*map(str, BOUNDS), "+Inf"]
        return list(zip(bounds, map(float, itertools.accumulate(self.counts)), strict=True))


@attrs.define
class _Family:
    instrument: Instrument
    help: str
    values: dict[Labels, float] = attrs.field(factory=dict)
    histograms: dict[Labels, _Histogram] = attrs.field(factory=dict)


class Tally:
    """Add up what happened, and keep what was last; may be used from any thread.

    Each metric has at most `most` series. What finds no room is counted and logged once: what is
    added up goes into one series more, with the labels "other"; of what is only the latest value
    nothing is kept, for that of one thing says nothing of another.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._families: dict[str, _Family] = {}
        self._overflow: Counter[str] = Counter()

    def add(self, point: Point) -> None:
        """Add a point to its counter, or record it in its histogram."""
        name = metric_name(point.name, point.instrument, point.unit)
        labels = tuple(
            sorted((label_name(key), label_value(one)) for key, one in point.attributes.items())
        )
        known = METRICS.get(point.name)
        with self._lock:
            family = self._family(name, point.instrument, known.description if known else "")
            series = family.histograms if point.instrument == "histogram" else family.values
            if not self._has_room(name, labels, series):
                labels = tuple((key, OTHER) for key, _ in labels)
            if point.instrument == "histogram":
                family.histograms.setdefault(labels, _Histogram()).add(point.value)
            else:
                family.values[labels] = family.values.get(labels, 0.0) + point.value

    def set(self, name: str, text: str, labels: Labels, value: float) -> None:
        """Keep the latest value of a gauge."""
        with self._lock:
            family = self._family(name, "up_down_counter", text)
            if self._has_room(name, labels, family.values):
                family.values[labels] = value

    def forget(self, name: str, labels: Labels) -> None:
        """Show a series no more."""
        with self._lock:
            if family := self._families.get(name):
                family.values.pop(labels, None)

    def collect(self) -> Iterator[Metric]:
        """Yield everything as the client library wants it."""
        with self._lock:
            made = [_shown(name, family) for name, family in sorted(self._families.items())]
            overflow = CounterMetricFamily(
                OVERFLOW, "Values that found no series of their own.", labels=["metric"]
            )
            for name, count in sorted(self._overflow.items()):
                overflow.add_metric([name], count)
        yield from (*made, overflow)

    def _family(self, name: str, instrument: Instrument, text: str) -> _Family:
        family = self._families.setdefault(name, _Family(instrument, text))
        if family.instrument != instrument:
            raise ConnectorError(
                f"two metrics would be called {name}: a {family.instrument}, a {instrument}",
                where="prometheus",
                retryable=False,
            )
        return family

    def _has_room(self, name: str, labels: Labels, series: Collection[Labels]) -> bool:
        if labels in series or len(series) < self._most:
            return True
        self._overflow[name] += 1
        if self._overflow[name] == 1:
            _log.warning(
                "%s has %d series: others are not told apart (max_series)", name, self._most
            )
        return False


def _shown(name: str, family: _Family) -> Metric:
    series = family.histograms or family.values
    # The library wants the same names for all; an empty label is none to Prometheus.
    names = sorted({key for labels in series for key, _ in labels})
    if family.instrument == "histogram":
        histogram = HistogramMetricFamily(name, family.help, labels=names)
        for labels, one in family.histograms.items():
            histogram.add_metric(_ordered(labels, names), one.buckets(), one.sum)
        return histogram
    kind = CounterMetricFamily if family.instrument == "counter" else GaugeMetricFamily
    made = kind(name, family.help, labels=names)
    for labels, value in family.values.items():
        made.add_metric(_ordered(labels, names), value)
    return made


def _ordered(labels: Labels, names: list[str]) -> list[str]:
    known = dict(labels)
    return [known.get(name, "") for name in names]
