# SPDX-License-Identifier: Apache-2.0
"""Errors as a command line has it: `--since`, where Python has `time_range`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import attrs

from accelerate_core.errors import ConfigError

#: What was typed, by what it is called in Python.
_TYPED = {
    "time_range": "--since",
    "metrics": "--metric",
    "objective": "--objective",
    "browser": "--browser",
    "task": "--task",
    "model": "MODEL",
}


@contextlib.contextmanager
def as_typed() -> Iterator[None]:
    """Name the option in an error, not the parameter that it becomes."""
    try:
        yield
    except ConfigError as error:
        where = error.info.where or ""
        error.info = attrs.evolve(error.info, where=_TYPED.get(where, where))
        raise
