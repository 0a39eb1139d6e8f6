# SPDX-License-Identifier: Apache-2.0
"""Tell a channel: a thread per run, each thing said once and brought up to date."""

from __future__ import annotations

from collections.abc import Sequence

from accelerate_core.delivering.message import Message, message_of
from accelerate_core.errors import ConnectorError
from accelerate_core.events import (
    Event,
    Notification,
    Regression,
    RunFailed,
    RunFinished,
    RunStarted,
)
from accelerate_core.protocols import Receipt

from .api import Slack
from .blocks import rendered
from .channel import Channel, Item
from .checking import problems
from .plugin import SlackSettings

#: What the head of a run's thread says. Other events about the run are replies.
_HEADS = (RunStarted, RunFinished)


class SlackConnector:
    """Deliver events to a channel."""

    #: One message per run, changed in place, and what needs somebody.
    kinds = tuple(
        kind.kind for kind in (RunStarted, RunFinished, RunFailed, Regression, Notification)
    )

    def __init__(self, settings: SlackSettings) -> None:
        self._slack = Slack(settings.token.reveal().strip(), settings.api_url)
        self._channel = Channel(self._slack, settings.channel)
        self._is_closed = False

    def deliver(self, event: Event) -> Receipt:
        """Show an event in the channel, or in the thread of its run where that is there."""
        if self._is_closed:
            raise ConnectorError("the connector is closed", where="slack", retryable=True)
        try:
            return self._deliver(event, message_of(event))
        except ConnectorError:
            self._channel.doubt()
            raise

    def check(self) -> Sequence[str]:
        """Return what is wrong with the token, its scopes and the channel."""
        return problems(self._slack, self._channel)

    def close(self) -> None:
        """Take no more events; no connection is kept."""
        self._is_closed = True

    def _deliver(self, event: Event, message: Message) -> Receipt:
        run = f"run:{event.run_id}"
        is_head = isinstance(event, _HEADS)
        item = Item(
            subject=message.key if message.subject == run and not is_head else message.subject,
            key=message.key,
            at=event.at.isoformat(),
        )
        # A notification is about several runs, or none.
        is_alone = is_head or isinstance(event, Notification)
        posted = self._channel.show(
            item,
            rendered(message),
            None if is_alone else self._channel.thread(run),
            is_broadcast=isinstance(event, Regression),
        )
        for file in message.attachments:
            self._channel.attach(posted.thread_ts or posted.ts, item.key, file)
        return Receipt(id=posted.ts, url=self._channel.link(posted))
