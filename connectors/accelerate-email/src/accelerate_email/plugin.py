# SPDX-License-Identifier: Apache-2.0
"""E-mail as a connector."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs

from accelerate_core.errors import ConfigError
from accelerate_core.markers import hookimpl
from accelerate_core.protocols import Connector
from accelerate_core.secrets import Secret
from accelerate_core.texts import one_line

if TYPE_CHECKING:
    from accelerate_core.protocols import Context

Security = Literal["starttls", "tls", "plain"]

#: Ports of submission, submission over TLS, and between servers (RFC 6409, 8314 and 5321).
_PORTS: dict[Security, int] = {"starttls": 587, "tls": 465, "plain": 25}
_ATOM = r"[!#$%&'*+/=?^_`{|}~A-Za-z0-9-]+"
#: What every server takes as an address. Others need SMTPUTF8 (RFC 6531), which few have.
_ADDRESS = re.compile(rf"(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@(?:[A-Za-z0-9-]+\.)*[A-Za-z0-9-]+")
#: Of an address (RFC 5321, 4.5.3.1.3, without its brackets).
_LONGEST = 254
_NAMED = re.compile(r"([^<>]*?)\s*<([^<>]*)>")
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")
_PLAIN = "allow_plain_password"


def named(text: str) -> tuple[str, str] | None:
    """Return name and address of `Name <address>` or `address`; None when it is neither."""
    found = _NAMED.fullmatch(text)
    name, address = found.groups() if found else ("", text)
    if one_line(text) != text or len(address) > _LONGEST or not _ADDRESS.fullmatch(address):
        return None
    return name.strip('"'), address


def _checked(text: str, where: str) -> None:
    if named(text) is None:
        raise ConfigError(
            f"{text!r} is no address of e-mail",
            where=where,
            accepted=('"team@example.com"', '"Performance <team@example.com>"'),
        )


def _is_sender(instance: object, attribute: object, value: str) -> None:
    _checked(value, "sender")


def _are_recipients(instance: object, attribute: object, value: tuple[str, ...]) -> None:
    if not value:
        raise ConfigError("nobody is to be told", where="to", accepted=('["team@example.com"]',))
    for one in value:
        _checked(one, "to")


def _is_host(instance: object, attribute: object, value: str) -> None:
    if not _HOST.fullmatch(value):
        raise ConfigError(
            f"{value!r} is no host", where="host", accepted=('"smtp.example.com"', '"192.0.2.1"')
        )


def _is_port(instance: object, attribute: object, value: int | None) -> None:
    if value is not None and not 0 < value < 65536:
        raise ConfigError(f"{value} is no port", where="port", accepted=("1 to 65535",))


def _is_user(instance: object, attribute: object, value: str | None) -> None:
    _can_be_sent("user", value)


def _is_password(instance: object, attribute: object, value: Secret | None) -> None:
    _can_be_sent("password", None if value is None else value.reveal())


def _can_be_sent(what: str, value: str | None) -> None:
    if value is not None and not value.isascii():
        raise ConfigError(
            f"the {what} has characters other than ASCII, which a login cannot send",
            where=what,
            hint=f"Give the account another {what}, or one made for this program.",
        )


def _is_file(instance: object, attribute: object, value: Path | None) -> None:
    if value is not None and not value.is_file():
        raise ConfigError(
            f"there is no file {value}",
            where="authority",
            accepted=("certificates (PEM)",),
        )


@attrs.frozen(kw_only=True)
class EmailSettings:
    """Say which server takes the mail, from whom and to whom."""

    #: The mail server: "smtp.example.com".
    host: str = attrs.field(validator=_is_host)
    #: Who writes: "bench@example.com" or "Benchmarks <bench@example.com>".
    sender: str = attrs.field(validator=_is_sender)
    #: Who is told; all see each other.
    to: tuple[str, ...] = attrs.field(validator=_are_recipients)
    #: "starttls": TLS begins after a greeting; "tls": at once; "plain": never.
    security: Security = "starttls"
    #: Of the server; without it 587, 465 or 25, as `security` says.
    port: int | None = attrs.field(default=None, validator=_is_port)
    #: Who logs in; without it nobody does.
    user: str | None = attrs.field(default=None, validator=_is_user)
    #: As `env:NAME`, `file:PATH` or `keyring:SERVICE/USER`.
    password: Secret | None = attrs.field(default=None, validator=_is_password)
    #: Certificates of the authority that the server's is from (PEM), where it is your own.
    authority: Path | None = attrs.field(default=None, validator=_is_file)
    #: Send the password although everybody on the way can read it (`security = "plain"`).
    allow_plain_password: bool = False

    def __attrs_post_init__(self) -> None:
        if (self.user is None) != (self.password is None):
            missing = "user" if self.user is None else "password"
            raise ConfigError(
                "a login has a user and a password", where=missing, hint=f"Set `{missing}`, too."
            )
        if self.password and self.security == "plain" and not self.allow_plain_password:
            raise ConfigError(
                "the password would cross the network readable for everybody",
                where="security",
                accepted=('"starttls"', '"tls"'),
                hint=f"Where that does no harm, set {_PLAIN} = true.",
            )

    @property
    def at_port(self) -> int:
        """The port itself."""
        return self.port or _PORTS[self.security]


class EmailPlugin:
    """Make the connector."""

    name = "email"
    settings = EmailSettings

    @hookimpl
    def connector_create(self, settings: EmailSettings, ctx: Context) -> Connector:
        """Return the connector; nobody is asked yet."""
        from .connector import EmailConnector

        return EmailConnector(settings)
