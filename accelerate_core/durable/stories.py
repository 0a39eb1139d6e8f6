# SPDX-License-Identifier: Apache-2.0
"""What jobs went through: which stories are worth keeping, and what they are called. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import attrs

from ..errors import ErrorInfo
from ..fleet.instructions import Chapter

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


# --- showing ----------------------------------------------------------------------------------

#: What can be done about a kind of failure.
_ADVICE = {
    "crash": "The process died. If it was not killed, look for memory: dmesg, or [pool] "
    "memory_limit.",
    "connection": "The connection broke while the page lived: look for a proxy or a firewall on "
    "loopback, and for a machine that sleeps.",
    "hang": "It did not answer in time. On a busy machine allow more: fewer workers, [pool] "
    "max_connections.",
    "device_lost": "The GPU was reset. Look at the driver's log; accel doctor tries the GPU.",
    "out_of_memory": "It had no memory: a smaller batch or precision, or fewer models per worker.",
    "timeout": "It took too long: [pool] job_timeout, or a faster target.",
    "numerical": "It computes wrongly: leave this target out, and report it with accel doctor.",
    "backend": "It could not be started: accel doctor says what is missing.",
    "overload": "Too much was waiting: [pool] max_queue, or more workers.",
    "internal": "This is a bug; run it again with --debug.",
}
#: Chapters that carry a kind begin so.
_FAILED = "attempt failed: "


@attrs.frozen(kw_only=True)
class KeptStory:
    """Hold a story as the store has it."""

    job_id: str
    run_id: str
    model: str
    finished_at: datetime  #: UTC
    attempts: int
    worker_id: str | None  #: whose answer was accepted; None for a job that failed
    latency_ms: float | None
    error: ErrorInfo | None
    story: tuple[Chapter, ...]

    @property
    def outcome(self) -> str:
        """How it ended, in a few words."""
        times = f"{self.attempts} attempt" + "s" * (self.attempts != 1)
        if self.error is not None:
            return f"failed after {times}"
        return f"answered by {self.worker_id} at attempt {self.attempts}"

    @property
    def advice(self) -> tuple[str, ...]:
        """What to do next, most special first."""
        hints = [self.error.hint] if self.error is not None and self.error.hint else []
        kinds = dict.fromkeys(
            chapter.what.removeprefix(_FAILED)
            for chapter in self.story
            if chapter.what.startswith(_FAILED)
        )
        own = f"accel why {self.job_id[:SHORT]} shows what happened to it."
        hints = [text for hint in hints if (text := hint.replace(own, "").strip())]
        return (*hints, *(_ADVICE[kind] for kind in kinds if kind in _ADVICE))


def timeline(kept: KeptStory) -> list[str]:
    """Return a story as lines to read."""
    lines = [
        f"Job {kept.job_id} of run {kept.run_id[:12]}",
        f"{kept.model}: {kept.outcome}; ended {kept.finished_at:%Y-%m-%d %H:%M:%S} UTC",
        "",
    ]
    width = max((len(chapter.what) for chapter in kept.story), default=0)
    for chapter in kept.story:
        after = f"+{chapter.at_ns / 1e6:.1f} ms"
        lines.append(f"{after:>14}  {chapter.what:<{width}}  {chapter.detail}".rstrip())
    if kept.error is not None:
        place = f" ({kept.error.where})" if kept.error.where else ""
        lines += ["", f"{kept.error.kind}: {kept.error.message}{place}"]
    if kept.advice:
        lines += ["", *(f"Next: {one}" for one in kept.advice)]
    return lines
