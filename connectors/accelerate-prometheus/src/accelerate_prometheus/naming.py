# SPDX-License-Identifier: Apache-2.0
"""What OpenTelemetry's metrics are called in Prometheus. Pure.

After "Prometheus and OpenMetrics Compatibility" of the OpenTelemetry specification: dots become
underscores, the unit a suffix, and a counter ends in `_total`. Two things differ. Labels lose our
namespace (`accelerate.model` is `model`): the metric's name says it already. And a number of things
is called after them, for `_count` belongs to histograms: `accelerate.worker.count` is
`accelerate_workers`.
"""

from __future__ import annotations

import re

from accelerate_core.texts import cut, one_line

NAMESPACE = "accelerate"
#: UCUM to words; units in braces only annotate.
_UNITS = {"s": "seconds", "ms": "milliseconds", "By": "bytes", "1": "ratio", "%": "percent"}
#: Labels that Prometheus gives itself.
_TAKEN = ("le", "quantile", "job", "instance")
#: Longer values are cut: they are kept once for each series.
LONGEST = 200


def metric_name(name: str, instrument: str, unit: str) -> str:
    """Return a metric's name in Prometheus."""
    if instrument == "up_down_counter" and name.endswith(".count"):
        name = f"{name.removesuffix('.count')}s"
    made = _plain(name)
    suffix = "" if unit.startswith("{") else _plain(_UNITS.get(unit, unit))
    if suffix and not made.endswith(f"_{suffix}"):
        made += f"_{suffix}"
    return f"{made}_total" if instrument == "counter" and not made.endswith("_total") else made


def label_name(attribute: str) -> str:
    """Return an attribute's name as a label."""
    made = _plain(attribute.removeprefix(f"{NAMESPACE}."))
    return f"{NAMESPACE}_{made}" if made in _TAKEN else made


def label_value(value: object) -> str:
    """Return users' words as a label's value: one line of printable characters, not too long."""
    return cut(one_line(str(value)), LONGEST)


def _plain(name: str) -> str:
    made = re.sub(r"[^a-zA-Z0-9]+", "_", name).strip("_")
    return f"_{made}" if made[:1].isdigit() else made
