# SPDX-License-Identifier: Apache-2.0
"""Tell people by e-mail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage

from accelerate_core.delivering.message import Message, message_of
from accelerate_core.errors import ConnectorError
from accelerate_core.events import Event
from accelerate_core.protocols import Receipt

from .mail import Named, compose
from .plugin import EmailSettings, named
from .sending import TIMEOUT_S, Refusal, ask, largest, send, session


class EmailConnector:
    """Send each message as one mail to all.

    A server cannot be asked what it has sent: whoever dies between its answer and the outbox sends
    the mail again, under the same Message-ID.
    """

    def __init__(self, settings: EmailSettings, timeout_s: float = TIMEOUT_S) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._sender = _parsed(settings.sender)
        self._to = [_parsed(one) for one in settings.to]
        self._is_closed = False
        #: By message, while somebody is still to be told: who was (None), and who never will be.
        self._settled: dict[str, dict[str, Refusal | None]] = {}

    def deliver(self, event: Event) -> Receipt:
        """Send the mail to everybody who has not got it; the id is its Message-ID."""
        if self._is_closed:
            raise ConnectorError("it is closed", where="email", retryable=True)
        message = message_of(event)
        settled = self._settled.pop(message.key, {})
        waiting = [address for _, address in self._to if address not in settled]
        try:
            with session(self._settings, self._timeout_s) as smtp:
                mail, content = self._written(message, largest(smtp))
                refused = send(smtp, self._sender[1], waiting, content)
            later = {one: answer for one, answer in refused.items() if answer.is_passing}
            settled |= {one: refused.get(one) for one in waiting if one not in later}
            if later:
                raise _undelivered(later, " for now", retryable=True)
        except ConnectorError as error:
            if settled and error.info.retryable:
                self._settled[message.key] = settled
            raise
        if never := {one: answer for one, answer in settled.items() if answer is not None}:
            others = "Everybody else was told" if len(never) < len(settled) else "Nobody was told"
            raise _undelivered(never, "", hint=f"Mend `to`. {others}.", retryable=False)
        return Receipt(id=mail["Message-ID"])

    def check(self) -> Sequence[str]:
        """Return what is wrong with server, TLS, login, sender and recipients; nothing is sent."""
        try:
            with session(self._settings, self._timeout_s) as smtp:
                refused = ask(smtp, self._sender[1], [address for _, address in self._to])
        except ConnectorError as error:
            return [_sentence(error)]
        return [
            f"the server refuses the recipient {address}: {answer}. Mend `to`."
            for address, answer in refused.items()
        ]

    def close(self) -> None:
        """Take nothing more."""
        self._is_closed = True

    def _written(self, message: Message, most: int | None) -> tuple[EmailMessage, bytes]:
        """Return the mail and its bytes, without pictures where it would be too large."""
        now = datetime.now(UTC)
        mail = compose(message, sender=self._sender, to=self._to, now=now)
        content = mail.as_bytes()
        if most is not None and len(content) > most and message.attachments:
            mail = compose(message, sender=self._sender, to=self._to, now=now, has_files=False)
            content = mail.as_bytes()
        return mail, content


def _parsed(text: str) -> Named:
    parsed = named(text)
    assert parsed is not None  # the settings are checked
    return parsed


def _undelivered(
    refused: Mapping[str, Refusal], when: str, *, retryable: bool, hint: str | None = None
) -> ConnectorError:
    said = "; ".join(f"{address} ({answer})" for address, answer in refused.items())
    return ConnectorError(
        f"the server refuses recipients{when}: {said}",
        where="email",
        hint=hint,
        retryable=retryable,
    )


def _sentence(error: ConnectorError) -> str:
    return ". ".join(filter(None, (error.info.message, error.info.hint)))
