# SPDX-License-Identifier: Apache-2.0
"""What a page says went wrong, as the typed errors users meet. Pure."""

from __future__ import annotations

from accelerate_core.errors import (
    AccelerateError,
    BackendUnavailable,
    ModelError,
    PluginError,
    Unsupported,
    WorkerLost,
)

from .messages import PageError

_KINDS: dict[str, tuple[type[AccelerateError], str | None]] = {
    "model": (ModelError, None),
    "unsupported": (Unsupported, None),
    "unavailable": (BackendUnavailable, None),
    "out_of_memory": (
        ModelError,
        "The page ran out of memory: use a smaller batch, a lower precision, or another target.",
    ),
    "device_lost": (WorkerLost, "The device was lost; the page opens a new one. Try again."),
    "cancelled": (
        WorkerLost,
        "The page's compute thread was restarted to stop another request. Try again.",
    ),
}


def to_error(error: PageError, where: str) -> AccelerateError:
    """Return the typed error; what an engine did not foresee is the engine's fault."""
    kind, hint = _KINDS.get(error.kind, (PluginError, None))
    message = error.message or error.name
    if kind is PluginError:
        message = f"the page failed unexpectedly: {error.name}: {message}"
        hint = "The log at level DEBUG has the JavaScript stack."
    return kind(message, where=where, hint=hint)
