# SPDX-License-Identifier: Apache-2.0
"""Secrets: where they come from, and that they show themselves nowhere."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

import attrs

from .errors import ConfigError, ErrorInfo

#: How a secret is written in a file.
ACCEPTED = ('"env:NAME"', '"file:PATH"', '"keyring:SERVICE/USER"')
#: Shorter ones are words of every day: hiding them would tear texts to pieces.
_SHORTEST = 4
#: Of a URL, parts as long as this are its secret; shorter ones say what it is of.
_LONG = 12
_HIDDEN = "***"

#: What is hidden, the longest first. It is replaced, never changed: others read it meanwhile.
_revealed: tuple[str, ...] = ()
_revealing = threading.Lock()


class Secret:
    """Hold a secret; it shows itself nowhere, and is taken out of errors and logs."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        global _revealed
        shown = {one for one in _forms(value) if len(one) >= _SHORTEST}
        with _revealing:
            _revealed = tuple(sorted({*_revealed, *shown}, key=len, reverse=True))

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({_HIDDEN})"

    __str__ = __repr__

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a secret does not leave its process")


def read(reference: str) -> str:
    """Return what `env:`, `file:` or `keyring:` refers to; ConfigError when that cannot be."""
    scheme, _, rest = reference.partition(":")
    if scheme == "env" and rest:
        return _from_environment(rest)
    if scheme == "file" and rest:
        return _from_file(Path(rest).expanduser())
    if scheme == "keyring" and "/" in rest:
        return _from_keyring(*rest.split("/", 1))
    raise ConfigError(
        "a secret stands in the file itself",
        accepted=ACCEPTED,
        hint="Put it into an environment variable, a file or a keyring, and refer to that.",
    )


def _from_environment(name: str) -> str:
    if name not in os.environ:
        raise ConfigError(
            f"the environment variable {name} is not set", hint=f"Set it: export {name}=..."
        )
    return os.environ[name]


def _from_file(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        text = path.read_text("utf-8").strip()
    except FileNotFoundError:
        raise ConfigError(
            f"the file {path} is not there: it should hold the secret",
            hint=f"Write it, and let nobody else read it: chmod 600 {path}",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the secret in {path} cannot be read: {error}") from None
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(
            f"others can read the secret in {path}", hint=f"Only you should: chmod 600 {path}"
        )
    if not text:
        raise ConfigError(f"the file {path} is empty: it should hold the secret")
    return text


def _from_keyring(service: str, user: str) -> str:
    try:
        import keyring
    except ImportError:
        raise ConfigError("keyring is not installed", hint="pip install keyring") from None
    try:
        found: str | None = keyring.get_password(service, user)
    except keyring.errors.KeyringError as error:
        raise ConfigError(
            f"the keyring does not answer: {error}",
            hint="Where there is none, as on a server, use env:NAME or file:PATH.",
        ) from None
    if found is None:
        raise ConfigError(
            f"the keyring holds nothing for {service}/{user}",
            hint=f"Put it there: keyring set {service} {user}",
        )
    return found


def _forms(value: str) -> Iterator[str]:
    """Yield how a secret may stand in a text: as it is, in a URL, in JSON, quoted by Python."""
    yield value
    yield quote(value, safe="")
    yield quote_plus(value)
    yield json.dumps(value)[1:-1]
    yield repr(value)[1:-1]
    if "://" in value:
        # Clients name host and path apart: a webhook's secret is behind the host.
        with contextlib.suppress(ValueError):
            parts = urlsplit(value)
            yield from (parts.password or "", parts.query, f"{parts.path}?{parts.query}")
            yield from (one for one in parts.path.split("/") if len(one) >= _LONG)
            yield from (one for _, one in parse_qsl(parts.query) if len(one) >= _LONG)


def redact(text: str) -> str:
    """Return a text without any secret this process knows."""
    for secret in _revealed:
        text = text.replace(secret, _HIDDEN)
    return text


def redacted(info: ErrorInfo) -> ErrorInfo:
    """Return an error without any secret this process knows."""
    return attrs.evolve(
        info,
        message=redact(info.message),
        accepted=tuple(map(redact, info.accepted)),
        where=redact(info.where) if info.where else info.where,
        hint=redact(info.hint) if info.hint else info.hint,
    )


class RedactingFilter(logging.Filter):
    """Take secrets out of what is logged, tracebacks included."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True; the record is changed."""
        if _revealed:
            record.msg, record.args = redact(record.getMessage()), None
            if record.exc_info and not record.exc_text:
                record.exc_text = logging.Formatter().formatException(record.exc_info)
            if record.exc_text:
                record.exc_text = redact(record.exc_text)
        return True
