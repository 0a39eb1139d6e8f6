# SPDX-License-Identifier: Apache-2.0
"""A session with a mail server (RFC 5321), and what its refusals mean.

`smtplib` speaks the protocol: one mail at a time needs nothing that a library would add. Errors are
in our own words; a server's own are kept where no password has been sent in the same breath.
"""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence

import attrs

from accelerate_core.errors import ConnectorError
from accelerate_core.texts import cut, one_line

from .plugin import EmailSettings

#: For the connection, TLS and the login.
TIMEOUT_S = 30.0
#: For the answer to the content (RFC 5321, 4.5.3.2.6): who gives up earlier sends it twice.
_CONTENT_S = 600.0
#: For the answer to a good-bye, which changes nothing.
_BYE_S = 0.5

#: RFC 1870, part 6.1.
_TOO_LARGE = 552
_LOGIN = "Mend `user` and `password`; many providers want a password made for this program."
_OTHER_WAY = {
    "starttls": 'Mend `port` or `security`: port 465 usually wants security = "tls".',
    "tls": 'Mend `port` or `security`: port 587 usually wants security = "starttls".',
    "plain": 'Mend `port` or `security`: port 587 usually wants "starttls", 465 "tls".',
}
_AUTHORITY = "If its authority is your own, set `authority` to the file of its certificate (PEM)."
_NAME = "Set `host` to the name that the certificate is for."
#: X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH of OpenSSL.
_OTHER_NAME = (62, 64)


@attrs.frozen
class Refusal:
    """Hold why a recipient was refused."""

    code: int
    words: str

    @property
    def is_passing(self) -> bool:
        """Whether the server says to come back (RFC 5321, 4.2.1)."""
        return 400 <= self.code < 500

    def __str__(self) -> str:
        return f"{self.code} {self.words}".strip()


@contextlib.contextmanager
def session(settings: EmailSettings, timeout_s: float = TIMEOUT_S) -> Iterator[smtplib.SMTP]:
    """Connect, begin TLS and log in; ConnectorError for what goes wrong here and inside."""
    with _explained(settings):
        smtp = _connected(settings, timeout_s)
        try:
            yield smtp
        except BaseException:
            smtp.close()
            raise
        # What was accepted was accepted, whatever the server says to a good-bye.
        with contextlib.suppress(smtplib.SMTPException, OSError):
            _wait_at_most(smtp, _BYE_S)
            smtp.quit()
        smtp.close()


def largest(smtp: smtplib.SMTP) -> int | None:
    """Return how many bytes a mail may have (RFC 1870); None where the server does not say."""
    size = smtp.esmtp_features.get("size", "")
    return int(size) if size.isdigit() and int(size) else None


def send(
    smtp: smtplib.SMTP, sender: str, to: Sequence[str], content: bytes
) -> Mapping[str, Refusal]:
    """Hand over a mail, and return who was refused."""
    _wait_at_most(smtp, _CONTENT_S)
    try:
        refused = smtp.sendmail(sender, to, content)
    except smtplib.SMTPRecipientsRefused as error:
        # Nobody gets it. A server that closes (421) leaves the others without an answer.
        *_, last = error.recipients.values()
        refused = {one: error.recipients.get(one, last) for one in to}
    return {address: _refusal(*answer) for address, answer in refused.items()}


def ask(smtp: smtplib.SMTP, sender: str, to: Sequence[str]) -> Mapping[str, Refusal]:
    """Return who would be refused, and send nothing."""
    code, answer = smtp.mail(sender)
    if code != 250:
        raise smtplib.SMTPSenderRefused(code, answer, sender)
    answers = {one: _refusal(*smtp.rcpt(one)) for one in to}
    return {one: answer for one, answer in answers.items() if answer.code not in (250, 251)}


def _wait_at_most(smtp: smtplib.SMTP, seconds: float) -> None:
    if smtp.sock is not None:
        smtp.sock.settimeout(seconds)


def _connected(settings: EmailSettings, timeout_s: float) -> smtplib.SMTP:
    host, port = settings.host, settings.at_port
    if settings.security == "tls":
        context = _context(settings)
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=timeout_s, context=context)
    else:
        smtp = smtplib.SMTP(host, port, timeout=timeout_s)
    try:
        if settings.security == "starttls":
            _start_tls(smtp, settings)
        if settings.user is not None and settings.password is not None:
            _log_in(smtp, settings.user, settings.password.reveal())
        smtp.ehlo_or_helo_if_needed()
    except BaseException:
        smtp.close()
        raise
    return smtp


def _context(settings: EmailSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.authority)
    except (ssl.SSLError, OSError):
        raise _error(
            f"{settings.authority} holds no certificates that can be read",
            hint="Set `authority` to a file of certificates (PEM).",
            retryable=False,
        ) from None


def _start_tls(smtp: smtplib.SMTP, settings: EmailSettings) -> None:
    try:
        smtp.starttls(context=_context(settings))
    except smtplib.SMTPNotSupportedError:
        raise _error(
            f"{_place(settings)} does not offer STARTTLS",
            hint='Mend `port` or `security`; port 465 usually wants security = "tls".',
            retryable=False,
        ) from None


def _log_in(smtp: smtplib.SMTP, user: str, password: str) -> None:
    try:
        smtp.login(user, password)
    except smtplib.SMTPNotSupportedError:
        raise _error(
            "the server takes no login on this connection",
            hint='Leave `user` and `password` out, or set security = "starttls" or "tls".',
            retryable=False,
        ) from None
    except smtplib.SMTPAuthenticationError as error:
        is_passing = 400 <= error.smtp_code < 500
        raise _error(
            f"the server cannot log anybody in now ({error.smtp_code})"
            if is_passing
            else f"user or password is wrong ({error.smtp_code})",
            hint=None if is_passing else _LOGIN,
            retryable=is_passing,
        ) from None
    except (smtplib.SMTPServerDisconnected, smtplib.SMTPResponseException):
        raise
    except smtplib.SMTPException:
        raise _error(
            "the server offers none of the logins CRAM-MD5, PLAIN and LOGIN",
            hint="Ask its administrator for one of them, or for a relay without a login.",
            retryable=False,
        ) from None


@contextlib.contextmanager
def _explained(settings: EmailSettings) -> Iterator[None]:
    try:
        yield
    except smtplib.SMTPSenderRefused as error:
        if error.smtp_code == _TOO_LARGE:
            raise _answered("the mail is too large", error, "See the run itself.") from None
        raise _answered(
            f"the server refuses the sender {error.sender}",
            error,
            "Mend `sender`: usually it has to belong to `user`, or to a domain of the server.",
        ) from None
    except smtplib.SMTPDataError as error:
        raise _answered(
            "the server refuses the mail", error, "Ask its administrator what it refuses and why."
        ) from None
    except smtplib.SMTPResponseException as error:
        raise _answered(f"{_place(settings)} refuses to talk", error, "Mend `host`.") from None
    except smtplib.SMTPServerDisconnected as error:
        if isinstance(error.__context__, TimeoutError):
            raise _silent(settings) from None
        raise _error(
            f"{_place(settings)} broke the connection", hint=_OTHER_WAY[settings.security]
        ) from None
    except smtplib.SMTPException as error:
        raise _error(f"{_place(settings)} cannot be used: {type(error).__name__}") from None
    except OSError as error:
        raise _unreachable(error, settings) from None


def _unreachable(error: OSError, settings: EmailSettings) -> ConnectorError:
    place, other_way = _place(settings), _OTHER_WAY[settings.security]
    match error:
        case ssl.SSLCertVerificationError():
            hint = _NAME if error.verify_code in _OTHER_NAME else _AUTHORITY
            why = one_line(error.verify_message or "it cannot be verified")
            return _error(f"the certificate of {place}: {why}", hint=hint, retryable=False)
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return _error(f"{place} broke the connection", hint=other_way)
        case ssl.SSLError():
            reason = (error.reason or "").replace("_", " ").lower()
            said = f"{place} speaks no TLS, or another one ({reason})"
            return _error(said, hint=other_way, retryable=False)
        case socket.gaierror():
            return _error(f"the host {settings.host} is not known", hint="Mend `host`.")
        case ConnectionRefusedError():
            return _error(f"nobody listens at {place}", hint="Mend `host` and `port`.")
        case TimeoutError():
            return _silent(settings)
        case ConnectionError():
            return _error(f"{place} broke the connection", hint=other_way)
    return _error(f"{place} cannot be reached: {error.strerror}", hint="Mend `host` and `port`.")


def _silent(settings: EmailSettings) -> ConnectorError:
    return _error(f"{_place(settings)} did not answer in time", hint=_OTHER_WAY[settings.security])


def _answered(what: str, error: smtplib.SMTPResponseException, hint: str) -> ConnectorError:
    refusal = _refusal(error.smtp_code, error.smtp_error)
    return _error(
        f"{what}: {refusal}",
        hint=None if refusal.is_passing else hint,
        retryable=refusal.is_passing or refusal.code < 0,
    )


def _refusal(code: int, answer: bytes | str) -> Refusal:
    words = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    return Refusal(code, cut(one_line(words), 200))


def _place(settings: EmailSettings) -> str:
    return f"{settings.host}:{settings.at_port}"


def _error(message: str, *, hint: str | None = None, retryable: bool = True) -> ConnectorError:
    return ConnectorError(message, where="email", hint=hint, retryable=retryable)
