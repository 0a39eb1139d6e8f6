# SPDX-License-Identifier: Apache-2.0
"""What an error is to the fleet: which kind of failure, and of what type."""

from __future__ import annotations

import logging

from ..errors import (
    AccelerateError,
    BackendUnavailable,
    JobTimeout,
    ModelError,
    NumericalError,
    Overloaded,
    PluginError,
    SessionLost,
    Unsupported,
    WorkerLost,
)
from ..fleet.policy import FailureKind

_log = logging.getLogger("accelerate.workers")

#: Of several the first that fits: a NumericalError is a ModelError.
_KINDS: tuple[tuple[type[AccelerateError], FailureKind], ...] = (
    (WorkerLost, FailureKind.LOST),
    (SessionLost, FailureKind.SESSION),
    (JobTimeout, FailureKind.TIMEOUT),
    (NumericalError, FailureKind.NUMERICAL),
    (ModelError, FailureKind.MODEL),
    (Unsupported, FailureKind.UNSUPPORTED),
    (Overloaded, FailureKind.OVERLOAD),
    (BackendUnavailable, FailureKind.BACKEND),
)

#: A WorkerLost of these reasons fails an attempt: the worker lives, without what it held.
_SURVIVED = frozenset({FailureKind.DEVICE_LOST, FailureKind.OUT_OF_MEMORY})


def classify(error: AccelerateError) -> FailureKind:
    """Return what kind of failure an error is: what its reason says, else what its type does."""
    if error.info.reason in set(FailureKind):
        return FailureKind(error.info.reason)
    return next((word for kind, word in _KINDS if isinstance(error, kind)), FailureKind.INTERNAL)


def ends_worker(error: AccelerateError) -> bool:
    """Whether the worker that raised an error is gone with it."""
    return isinstance(error, WorkerLost) and classify(error) not in _SURVIVED


def typed(error: BaseException, where: str) -> AccelerateError:
    """Return a typed error as it is, anything else as the PluginError it is."""
    if isinstance(error, AccelerateError):
        return error
    _log.error("untyped error from %s", where, exc_info=error)
    return PluginError(
        f"failed with {type(error).__name__}: {error}",
        where=where,
        hint="This is a bug of the backend; --debug shows where.",
    )
