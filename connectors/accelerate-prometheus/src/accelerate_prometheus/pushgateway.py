# SPDX-License-Identifier: Apache-2.0
"""Leaves what runs found at a Pushgateway, where Prometheus scrapes it until the next run.

A group is replaced as a whole (`PUT`): what the latest run of a pipeline did not measure is gone,
and pushing the same again changes nothing. `POST` would keep series of metrics that this run has
none of, and so show numbers that nobody measures any more. Each pipeline has a group of its own,
so that none wipes out another's, and each series that may regress has one, so that a run does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from prometheus_client import CollectorRegistry, push_to_gateway
from prometheus_client.core import GaugeMetricFamily, Metric

from accelerate_core.errors import ConnectorError
from accelerate_core.events import Event, Regression, RunFinished

from .naming import label_value
from .plugin import PushgatewaySettings
from .samples import GAUGES, Labels, Sample, of_measurement, samples_of
from .web import Client

_WHERE = "pushgateway"
#: The library makes the path, and we send.
_NOBODY = "http://pushgateway.invalid"


class Pushgateway:
    """Push the numbers of each run that ended, and of each regression."""

    kinds: ClassVar[tuple[str, ...]] = (RunFinished.kind, Regression.kind)

    def __init__(self, settings: PushgatewaySettings) -> None:
        self._settings = settings
        self._client = Client(settings.url, settings, _WHERE)

    def deliver(self, event: Event) -> None:
        """Replace the group that an event is about."""
        samples = samples_of(event)
        if isinstance(event, RunFinished) and samples:
            measured = [one for each in event.summary.measurements for one in of_measurement(each)]
            self._push((*samples, *measured), {"pipeline": event.summary.run.name or ""})
        elif isinstance(event, Regression):
            # The labels of the only sample: the group is its series.
            self._push(samples, dict(samples[0].labels))

    def check(self) -> Sequence[str]:
        """Ask the gateway whether it is one, and lets us in."""
        hints = {404: "Set `url` to where the Pushgateway is, not to Prometheus."}
        try:
            self._client.send("GET", "/api/v1/status", hints=hints)
        except ConnectorError as error:
            return [str(error)]
        return []

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _push(self, samples: Iterable[Sample], group: dict[str, str]) -> None:
        registry = CollectorRegistry()
        registry.register(_Shown(samples))
        key = {**group, **self._settings.labels}
        push_to_gateway(
            _NOBODY,
            job=label_value(self._settings.job),
            registry=registry,
            grouping_key={name: label_value(value) for name, value in key.items() if value},
            handler=self._handler,
        )

    def _handler(
        self, url: str, method: str, timeout: float | None, headers: list[Any], data: bytes
    ) -> Callable[[], None]:
        """Send by our own client: with credentials, typed errors and a connection that is kept."""

        def send() -> None:
            path = url.removeprefix(_NOBODY)
            self._client.send(method, path, content=data, headers=dict(headers), hints=_HINTS)

        return send


_HINTS = {
    400: "If another job pushes a metric of this name as something else, delete its group there.",
    404: "Set `url` to where the Pushgateway is, with its route prefix where it has one.",
    405: "Set `url` to where the Pushgateway is.",
}


class _Shown:
    """Show samples as gauges; of two of one series the later."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._families: dict[str, dict[Labels, float]] = {}
        for one in sorted(samples, key=lambda one: one.at):
            self._families.setdefault(one.name, {})[one.labels] = one.value

    def collect(self) -> Iterable[Metric]:
        for name, series in self._families.items():
            names = sorted({key for labels in series for key, _ in labels})
            family = GaugeMetricFamily(name, GAUGES[name], labels=names)
            for labels, value in series.items():
                family.add_metric([dict(labels).get(key, "") for key in names], value)
            yield family
