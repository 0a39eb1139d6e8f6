# SPDX-License-Identifier: Apache-2.0
"""The errors users meet, by what they can do about them.

    AccelerateError
    ├── ConfigError          the configuration is wrong: mend the file or the argument
    ├── PluginError          a plugin is missing, broken, or broke its contract
    ├── ModelError           the model or its inputs are wrong
    │   └── NumericalError   a backend answered, and the answer is out of tolerance
    ├── BackendUnavailable   the asked backend or browser is not here: get it, or ask another
    ├── WorkerLost           a worker died, hung or vanished (alias: BrowserError)
    ├── SessionLost          a session's state is gone: restore it, or open another
    ├── JobTimeout           no answer in time
    ├── Overloaded           too much work queued: come back after `retry_after` seconds
    ├── Unsupported          valid, but this part cannot do it
    ├── StoreError           the database is locked, broken, read-only or too new
    └── ConnectorError       a message could not be delivered

Every error carries plain data only, so it crosses process and host boundaries unchanged:
`AccelerateError.from_info(error.info)` equals the original.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, ClassVar

import attrs

__all__ = [
    "AccelerateError",
    "BackendUnavailable",
    "BrowserError",
    "ConfigError",
    "ConnectorError",
    "ErrorInfo",
    "JobTimeout",
    "ModelError",
    "NumericalError",
    "Overloaded",
    "PluginError",
    "SessionLost",
    "StoreError",
    "Unsupported",
    "WorkerLost",
    "did_you_mean",
]


@attrs.frozen(kw_only=True)
class ErrorInfo:
    """Describe an error as plain data: what travels over bridges and into the store."""

    kind: str  #: class name, e.g. "ConfigError"
    message: str  #: what happened
    where: str | None = None  #: file, key, plugin, worker
    accepted: tuple[str, ...] = ()  #: what would have been accepted
    hint: str | None = None  #: what to do next, a command where there is one
    retry_after: float | None = None  #: seconds; only for Overloaded and ConnectorError
    retryable: bool | None = None  #: only for ConnectorError
    #: Why, in a word of `fleet.policy.FailureKind`: "crash", "hang"; None where the kind says it.
    reason: str | None = None


class AccelerateError(Exception):
    """Say what happened, where, what is accepted, and what to do next."""

    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        accepted: Iterable[str] = (),
        hint: str | None = None,
        retry_after: float | None = None,
        retryable: bool | None = None,
        reason: str | None = None,
    ) -> None:
        super().__init__(message)
        self.info = ErrorInfo(
            kind=type(self).__name__,
            message=message,
            where=where,
            accepted=tuple(accepted),
            hint=hint,
            retry_after=retry_after,
            retryable=retryable,
            reason=reason,
        )

    def __str__(self) -> str:
        info = self.info
        lines = [f"{info.where}: {info.message}" if info.where else info.message]
        if info.accepted:
            lines.append("accepted: " + ", ".join(info.accepted))
        if info.hint:
            lines.append(info.hint)
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        return AccelerateError.from_info, (self.info,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AccelerateError) and self.info == other.info

    __hash__ = Exception.__hash__

    @staticmethod
    def from_info(info: ErrorInfo) -> AccelerateError:
        """Rebuild the typed error; an unknown kind becomes a PluginError that names it."""
        kind = _BY_NAME.get(info.kind)
        message = info.message if kind else f"{info.kind}: {info.message}"
        return (kind or PluginError)(
            message,
            where=info.where,
            accepted=info.accepted,
            hint=info.hint,
            retry_after=info.retry_after,
            retryable=info.retryable,
            reason=info.reason,
        )


class ConfigError(AccelerateError):
    """Refuse a configuration before anything is started."""

    exit_code = 2


class PluginError(AccelerateError):
    """Report a plugin that is missing, broken, ambiguous, or broke its contract."""


class ModelError(AccelerateError):
    """Report a model, or inputs to it, that cannot be used."""


class NumericalError(ModelError):
    """Report outputs that differ from the reference by more than the tolerance."""


class BackendUnavailable(AccelerateError):
    """Name what is missing for the asked target, and how to get it."""


class WorkerLost(AccelerateError):
    """Report a worker that died, hung or vanished while it was needed."""


BrowserError = WorkerLost


class SessionLost(AccelerateError):
    """Report a session whose state is gone with its worker, its device, or its model."""


class JobTimeout(AccelerateError):
    """Report that no answer came within the deadline."""


class Overloaded(AccelerateError):
    """Refuse work now; `info.retry_after` says in how many seconds to come back."""


class Unsupported(AccelerateError):
    """Report a valid request that this part does not implement."""


class StoreError(AccelerateError):
    """Report a database that is locked, broken, read-only or too new."""


class ConnectorError(AccelerateError):
    """Report an undelivered message; `info.retryable` says whether to try again."""


def _tree(kind: type[AccelerateError]) -> Iterable[type[AccelerateError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)


_BY_NAME = {kind.__name__: kind for kind in _tree(AccelerateError)}


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """Return a hint that names the closest of `known`, or None when none is close."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else None
