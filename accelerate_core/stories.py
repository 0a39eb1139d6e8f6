# SPDX-License-Identifier: Apache-2.0
"""What jobs went through: which stories are worth keeping, and what they are called. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from .errors import ErrorInfo
from .fleet.instructions import Chapter

#: So much of a job's id names it where people read it.
SHORT = 8

#: Of every job that went well; a story of these alone is not worth keeping.
_ORDINARY = frozenset(("submitted", "written down", "placed", "answered"))
#: Errors that say all there is to say: another worker would have said the same.
_PLAIN = frozenset(("ModelError", "Unsupported"))


def told(story: Sequence[Chapter]) -> tuple[Chapter, ...]:
    """Return a story with times since its beginning, as others can read it."""
    return tuple(attrs.evolve(one, at_ns=one.at_ns - story[0].at_ns) for one in story)


def is_eventful(story: Sequence[Chapter]) -> bool:
    """Whether a job failed, was tried again, or was hedged."""
    return any(one.what not in _ORDINARY for one in story)


def name_job(error: ErrorInfo, job_id: str, attempts: int) -> ErrorInfo:
    """Return a job's error with how to see what happened to the job."""
    if attempts == 0 or error.kind in _PLAIN:
        return error
    command = f"accel why {job_id[:SHORT]}"
    hint = error.hint or ""
    if "accel why" in hint:
        hint = hint.replace("accel why", command)
    else:
        hint = f"{hint} {command} shows what happened to it.".strip()
    return attrs.evolve(error, hint=hint)
