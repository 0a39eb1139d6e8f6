# SPDX-License-Identifier: Apache-2.0
"""What a page says went wrong, as the typed errors users meet. Pure."""

from __future__ import annotations

import attrs

from accelerate_core.errors import (
    AccelerateError,
    BackendUnavailable,
    ModelError,
    PluginError,
    Unsupported,
    WorkerLost,
)

from .messages import PageError


class Interrupted(WorkerLost):
    """Report a request that its page survived: device or compute thread were replaced.

    Where it goes unanswered it is a WorkerLost like any other.
    """

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        hint: str | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(message, where=where, hint=hint, reason=reason)
        self.info = attrs.evolve(self.info, kind=WorkerLost.__name__)


_KINDS: dict[str, tuple[type[AccelerateError], str | None]] = {
    "model": (ModelError, None),
    "unsupported": (Unsupported, None),
    "unavailable": (BackendUnavailable, None),
    "out_of_memory": (
        ModelError,
        "The page ran out of memory: use a smaller batch, a lower precision, or another target.",
    ),
    "device_lost": (Interrupted, "The page opens a new device. Try again."),
    "cancelled": (
        Interrupted,
        "The page's compute thread was restarted to stop another request. Try again.",
    ),
}

#: A device goes with the compute thread that holds it.
_REASONS = {
    "device_lost": "device_lost",
    "cancelled": "device_lost",
    "out_of_memory": "out_of_memory",
}


def to_error(error: PageError, where: str) -> AccelerateError:
    """Return the typed error; what an engine did not foresee is the engine's fault."""
    kind, hint = _KINDS.get(error.kind, (PluginError, None))
    message = error.message or error.name
    if kind is PluginError:
        message = f"the page failed unexpectedly: {error.name}: {message}"
        hint = "The log at level DEBUG has the JavaScript stack."
    return kind(message, where=where, hint=hint, reason=_REASONS.get(error.kind))


def lost_page(error: PageError, where: str) -> WorkerLost:
    """Return the error of a page that cannot go on. "unavailable": it got no other device."""
    reasons = {**_REASONS, "unavailable": "device_lost"}
    message = f"the page failed: {error.message or error.name}"
    return WorkerLost(message, where=where, reason=reasons.get(error.kind, "crash"))
