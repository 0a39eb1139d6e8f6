# SPDX-License-Identifier: Apache-2.0
"""Addresses of the web: which a setting may have, and which people can open. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from .errors import ConfigError


def is_link(text: str | None) -> TypeGuard[str]:
    """Whether a browser opens a text as a page: a file and a script are none."""
    return text is not None and text.startswith(("https://", "http://"))


def is_server(*accepted: str, credentials: str) -> Callable[[object, Any, str], None]:
    """Return a validator of settings that name a server, its path included.

    `accepted` are examples; `credentials` names the settings to give them in. The value is never
    shown: whoever mistypes an address may have put a secret into it.
    """

    def check(instance: object, attribute: Any, value: str) -> None:
        try:
            parts = urlsplit(value)
            is_right = parts.scheme in ("http", "https") and bool(parts.hostname)
            has_user = "@" in parts.netloc
            parts.port  # noqa: B018 (raises when it is no number)
            (parts.hostname or "").encode("idna")  # raises for a label that is empty or too long
        except ValueError:
            is_right = has_user = False
        if has_user:
            raise ConfigError(
                "credentials stand in the address",
                where=attribute.name,
                accepted=accepted,
                hint=f"Give them as {credentials}.",
            )
        if not is_right or parts.query or parts.fragment or len(value.split()) > 1:
            raise ConfigError(
                "this is no address of a server",
                where=attribute.name,
                accepted=accepted,
                hint="It has no `?`, no `#` and no spaces.",
            )

    return check
