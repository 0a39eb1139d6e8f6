# SPDX-License-Identifier: Apache-2.0
"""JSON: the whole summary, and back."""

from __future__ import annotations

import json
import math
from typing import Any

import attrs

from accelerate_core import hookimpl
from accelerate_core.errors import AccelerateError, ConfigError
from accelerate_core.protocols import Context, Report
from accelerate_core.serial import from_plain, to_plain
from accelerate_core.types import RunSummary

from .files import FileReport, report_path
from .notes import warnings
from .rows import rows

#: Raised when a reader of the previous format could misread this one.
FORMAT_VERSION = 1


def render(summary: RunSummary) -> str:
    """Return the summary as JSON with sorted keys; NaN and infinities become strings."""
    warned = warnings(rows(summary), is_interrupted=summary.run.is_interrupted)
    data = {"format_version": FORMAT_VERSION, "warnings": list(warned), **to_plain(summary)}
    return json.dumps(_finite(data), indent=2, sort_keys=True, allow_nan=False) + "\n"


def parse(text: str) -> RunSummary:
    """Return the summary that `render` was given; ConfigError for anything else."""
    import cattrs

    foreign = ConfigError("this is not a JSON report of accelerate")
    try:
        data = json.loads(text)
    except ValueError as error:
        raise foreign from error
    if not isinstance(data, dict) or "format_version" not in data:
        raise foreign
    if data["format_version"] != FORMAT_VERSION:
        raise ConfigError(
            f"this JSON report has format version {data['format_version']!r}",
            accepted=(str(FORMAT_VERSION),),
            hint="Read it with the version of accelerate-reports that wrote it.",
        )
    try:
        return from_plain(data, RunSummary)
    except (cattrs.BaseValidationError, AccelerateError) as error:
        raise foreign from error


def _finite(value: Any) -> Any:
    # JSON knows no NaN; cattrs reads these strings back as the floats they name.
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


@attrs.frozen(kw_only=True)
class JsonSettings:
    """Say where the JSON report goes."""

    #: File to write. Its directories are created, an older file is replaced.
    path: str = "report.json"


class JsonPlugin:
    """Write the whole summary as JSON."""

    name = "json"
    settings = JsonSettings

    @hookimpl
    def report_create(self, settings: JsonSettings, ctx: Context) -> Report:
        """Return a report that writes `settings.path`."""
        return FileReport(report_path(settings.path, where="reports.json.path"), render)
