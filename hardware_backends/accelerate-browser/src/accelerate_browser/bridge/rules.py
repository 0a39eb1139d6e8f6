# SPDX-License-Identifier: Apache-2.0
"""Who may have what from the bridge. Pure: values in, verdicts out."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

import attrs

#: Bytes a handshake may have.
MAX_HANDSHAKE_BYTES = 4096


class Refused(Exception):
    """Say why a stranger is turned away; `word` is what the bridge counts."""

    def __init__(self, word: str, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.word = word
        self.message = message
        self.status = status


@attrs.frozen
class Origin:
    """Know the one origin of a bridge."""

    port: int

    @property
    def host(self) -> str:
        """What a browser sends as `Host`."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """What a browser sends as `Origin`."""
        return f"http://{self.host}"

    def check_host(self, hosts: Sequence[str]) -> None:
        """Refuse a request for another name: a rebound DNS name reaches this port too."""
        if list(hosts) != [self.host]:
            raise Refused("host", f"this server is {self.host} and nothing else", 421)

    def check_origin(self, origins: Sequence[str], *, is_optional: bool = False) -> None:
        """Refuse a script of another origin. Only GET requests may come without an Origin."""
        if not origins and is_optional:
            return
        if list(origins) != [self.url]:
            raise Refused("origin", f"only pages of {self.url} may ask")

    def headers(self) -> Mapping[str, str]:
        """Return what every answer carries.

        COOP and COEP make the page cross-origin isolated, so that WASM threads work.
        """
        policy = (
            "default-src 'none'",
            "script-src 'self' 'wasm-unsafe-eval' blob:",
            "worker-src 'self' blob:",
            f"connect-src 'self' ws://{self.host}",
            "style-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
        return {
            "Cross-Origin-Opener-Policy": "same-origin",
            "Cross-Origin-Embedder-Policy": "require-corp",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Content-Security-Policy": "; ".join(policy),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }


@attrs.frozen
class Pass:
    """Hold what lets one page in again after its handshake."""

    connection: str
    secret: str = attrs.field(repr=False)

    @classmethod
    def new(cls) -> Pass:
        """Make one nobody can guess."""
        return cls(secrets.token_hex(8), secrets.token_urlsafe(32))

    @property
    def cookie(self) -> str:
        """The cookie's name; its own per connection, because cookies ignore ports."""
        return f"accelerate_{self.connection}"

    def opens(self, cookies: Mapping[str, str]) -> bool:
        """Whether a request's cookies hold this pass."""
        return secrets.compare_digest(
            cookies.get(self.cookie, "").encode(errors="replace"), self.secret.encode()
        )
