# SPDX-License-Identifier: Apache-2.0
"""Tell people in Microsoft Teams, through a workflow's webhook."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from accelerate_core.delivering.message import message_of
from accelerate_core.errors import ConnectorError
from accelerate_core.events import Event
from accelerate_core.protocols import Receipt

from .address import root, suspicious
from .card import card_id, payload
from .plugin import TeamsSettings

if TYPE_CHECKING:
    from .calling import Caller

#: How long a workflow's trigger may take.
TIMEOUT_S = 20.0


class TeamsConnector:
    """Post each message as a card.

    Nobody can ask Teams what was posted: whoever dies between its answer and the outbox posts the
    card again, with the same id.
    """

    def __init__(self, settings: TeamsSettings, timeout_s: float = TIMEOUT_S) -> None:
        self._url = settings.url.reveal()
        self._timeout_s = timeout_s
        self._is_closed = False

    @cached_property
    def _caller(self) -> Caller:
        # Made when it is needed: the client and its certificates would delay every run.
        from .calling import Caller

        return Caller(self._url, self._timeout_s)

    def deliver(self, event: Event) -> Receipt:
        """Post a card; the id is the card's."""
        if self._is_closed:
            raise ConnectorError("it is closed", where="teams", retryable=True)
        message = message_of(event)
        self._caller.post(payload(message))
        return Receipt(id=card_id(message.key))

    def check(self) -> Sequence[str]:
        """Return what is strange about the address, and whether its host answers; posts nothing."""
        found = list(suspicious(self._url))
        try:
            # The host's own page: the workflow is not asked, because asking it would post.
            self._caller.reach(root(self._url))
        except ConnectorError as error:
            found.append(f"{error.info.message}. {error.info.hint}")
        return found

    def close(self) -> None:
        """Close connections."""
        self._is_closed = True
        if "_caller" in vars(self):
            self._caller.close()
