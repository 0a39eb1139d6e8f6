# SPDX-License-Identifier: Apache-2.0
"""A real SMTP server (aiosmtpd) on a loopback port, with TLS, logins and what goes wrong there.

Codes are those of RFC 5321 and RFC 4954, enhanced ones those of RFC 3463.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import email
import email.policy
import ipaddress
import random
import ssl
import threading
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Literal, NoReturn, Self

import attrs
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Encryption = Literal["none", "starttls", "tls"]
Command = Literal["MAIL", "RCPT", "DATA"]

GREYLISTED = "451 4.7.1 Greylisted, try again later"
UNKNOWN = "550 5.1.1 No such user here"
CLOSING = "421 4.3.2 Service not available, closing transmission channel"
#: In place of an answer the connection breaks: before anything is done, or after all is.
CUT, LOST = "cut", "lost"


class Authority:
    """Make certificates that are trusted only by who is given `path`."""

    def __init__(self, folder: Path) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        self._certificate = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self._folder = folder
        self.path = folder / "authority.pem"
        self.path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def context(self, *hosts: str) -> ssl.SSLContext:
        """Return what a server for these hosts encrypts with."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
        certificate = (
            self._builder(name, key)
            .add_extension(x509.SubjectAlternativeName([_named(one) for one in hosts]), False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), False
            )
            .sign(self._key, hashes.SHA256())
        )
        path = self._folder / f"{hosts[0]}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _builder(self, name: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        )


def _named(host: str) -> x509.GeneralName:
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(host))
    return x509.DNSName(host)


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=signs_certificates,
        crl_sign=signs_certificates, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _parsed(content: bytes) -> EmailMessage:
    # Lines end in CRLF on the wire only.
    return email.message_from_bytes(content.replace(b"\r\n", b"\n"), policy=email.policy.default)


@attrs.frozen(kw_only=True)
class Received:
    """Hold a message as it came, and its envelope."""

    message: EmailMessage
    raw: bytes
    sender: str
    recipients: tuple[str, ...]
    user: str | None  #: who logged in
    is_encrypted: bool


class MailServer:
    """Take mail at `host` and `port` from entering to leaving.

    A `user` must log in before anything is sent; `only` leaves one way to do so. `unknown`
    addresses are refused with 550, messages larger than `most_bytes` with 552.
    """

    host = "localhost"

    def __init__(
        self,
        folder: Path,
        encryption: Encryption = "starttls",
        *,
        user: str | None = "accelerate",
        password: str = "not-a-password",
        only: Literal["LOGIN", "PLAIN"] | None = None,
        most_bytes: int = 1_000_000,
        certified: tuple[str, ...] = ("localhost", "127.0.0.1"),
    ) -> None:
        self.encryption, self.user, self.password = encryption, user, password
        self.authority = Authority(folder)
        self.most_bytes = most_bytes
        self.messages: list[Received] = []
        self.logins: list[str] = []  #: the mechanisms of all that were tried
        self.unknown: set[str] = set()
        self._excluded = {"LOGIN", "PLAIN"} - {only} if only else set()
        self._context = None if encryption == "none" else self.authority.context(*certified)
        self._refusals: dict[Command, list[str]] = {"MAIL": [], "RCPT": [], "DATA": []}
        self.requests: list[Command] = []
        self.slow_s: dict[str, float] = {}  #: by command, until it is answered
        self.refused_login = ""  #: what is answered to every login instead
        self.lost = 0  #: answers to content that did not arrive, though it was kept
        self._share, self._random = 0.0, random.Random(3)
        self._open: list[SMTP] = []

    def refuse(self, command: Command, *answers: str) -> None:
        """Answer the next commands of this kind so; after 421 the connection is closed."""
        self._refusals[command] += answers

    def fail_some(self, share: float) -> None:
        """Let this share of all mails fail from now on, in ways that pass."""
        self._share = share

    # --- serving ------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="smtp", daemon=True)
        self._thread.start()
        serving = self._loop.create_server(
            self._protocol,
            "127.0.0.1",
            0,
            ssl=self._context if self.encryption == "tls" else None,
        )
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result(10)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        for one in self._open:
            if isinstance(one.transport, asyncio.WriteTransport):
                one.transport.abort()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Transports close in a callback of their own.
        await asyncio.sleep(0)

    def _protocol(self) -> SMTP:
        protocol = SMTP(
            self,
            data_size_limit=self.most_bytes,
            enable_SMTPUTF8=True,
            hostname="localhost",
            timeout=20,
            tls_context=self._context if self.encryption == "starttls" else None,
            require_starttls=self.encryption == "starttls",
            # With implicit TLS nothing is sent in the clear, which aiosmtpd does not know.
            auth_require_tls=self.encryption != "tls",
            auth_exclude_mechanism=self._excluded,
            authenticator=self._authenticate,
            loop=self._loop,
        )
        self._open.append(protocol)
        return protocol

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        self.logins.append(mechanism)
        assert isinstance(data, LoginPassword) and self.user is not None
        if self.refused_login:
            return AuthResult(success=False, handled=False, message=self.refused_login)
        right = (data.login, data.password) == (self.user.encode(), self.password.encode())
        return AuthResult(success=right, handled=False, auth_data=self.user)

    # --- what aiosmtpd calls ------------------------------------------------------------------

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take the sender."""
        if self.user is not None and not session.authenticated:
            return "530 5.7.0 Authentication required"
        if (refusal := self._refusal("MAIL", server)) is not None:
            return refusal
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take one recipient."""
        if (refusal := self._refusal("RCPT", server)) is not None:
            return refusal
        if address in self.unknown:
            return UNKNOWN
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take the message itself."""
        await asyncio.sleep(self.slow_s.get("DATA", 0))
        refusal = self._refusal("DATA", server)
        if refusal not in (None, LOST):
            return refusal
        content = envelope.content
        assert isinstance(content, bytes) and envelope.mail_from is not None
        received = Received(
            message=_parsed(content),
            raw=content,
            sender=envelope.mail_from,
            recipients=tuple(envelope.rcpt_tos),
            user=session.auth_data if session.authenticated else None,
            is_encrypted=self.encryption == "tls" or session.ssl is not None,
        )
        self.messages.append(received)
        if refusal == LOST:
            self.lost += 1
            _break(server)
        return "250 2.0.0 OK: taken"

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Say good-bye."""
        await asyncio.sleep(self.slow_s.get("QUIT", 0))
        return "221 2.0.0 Bye"

    def _refusal(self, command: Command, server: SMTP) -> str | None:
        self.requests.append(command)
        if command == "MAIL" and self._random.random() < self._share:
            failing: Command = self._random.choice(("MAIL", "RCPT", "DATA"))
            self.refuse(failing, self._random.choice((GREYLISTED, CLOSING, CUT, LOST)))
        if not self._refusals[command]:
            return None
        answer = self._refusals[command].pop(0)
        if answer == CUT or (answer == LOST and command != "DATA"):
            _break(server)
        if answer.startswith("421"):
            assert server.transport is not None
            # Once the answer is out.
            self._loop.call_later(0.02, server.transport.close)
        return answer


def _break(server: SMTP) -> NoReturn:
    assert isinstance(server.transport, asyncio.WriteTransport)
    server.transport.abort()
    raise ConnectionResetError
