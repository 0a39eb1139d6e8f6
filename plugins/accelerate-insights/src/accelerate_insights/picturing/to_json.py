# SPDX-License-Identifier: Apache-2.0
"""A report about several runs as JSON: everything but the pictures. NaN and infinity are null."""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import Any

import attrs

from .report import PerformanceReport


def render(report: PerformanceReport) -> str:
    """Return the text; times are ISO 8601 and UTC."""
    data = attrs.asdict(report, filter=lambda field, _: field.name != "plots")
    return json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime):
        return f"{value.isoformat()}Z"
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value
