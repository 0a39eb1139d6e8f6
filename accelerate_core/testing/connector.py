# SPDX-License-Identifier: Apache-2.0
"""The contract of connectors."""

from __future__ import annotations

import threading

import pytest

from ..errors import ConnectorError
from ..events import EVENT_TYPES, Event
from ..protocols import Connector
from . import samples
from .contract import Contract

_EVENTS = {event.kind: event for event in samples.every_event()}


class ConnectorContract(Contract):
    """What every connector keeps. Supply the fixtures `connector` and `unreachable`.

    `connector` delivers to something that takes the message; `unreachable` is set up as well, and
    nobody is there to take it.
    """

    @pytest.fixture
    def connector(self) -> Connector:
        """Return a connector that can deliver."""
        raise NotImplementedError("supply the fixture `connector`")

    @pytest.fixture
    def unreachable(self) -> Connector:
        """Return a connector whose other side is not there."""
        raise NotImplementedError("supply the fixture `unreachable`")

    @pytest.mark.parametrize("kind", [*EVENT_TYPES])
    def test_delivers_every_event(self, connector: Connector, kind: str) -> None:
        connector.deliver(_EVENTS[kind])
        connector.close()

    @pytest.mark.parametrize("text", samples.HOSTILE)
    def test_any_text_can_be_told(self, connector: Connector, text: str) -> None:
        for event in samples.every_event(text):
            connector.deliver(event)
        connector.close()

    def test_delivers_from_a_thread_of_its_own(self, connector: Connector) -> None:
        errors: list[BaseException] = []

        def deliver(event: Event) -> None:
            try:
                connector.deliver(event)
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=deliver, args=(_EVENTS["run_finished"],))
        thread.start()
        thread.join(30)
        assert not thread.is_alive() and not errors
        connector.close()

    def test_check_is_empty_when_all_is_well(self, connector: Connector) -> None:
        assert list(connector.check()) == []
        connector.close()

    def test_close_is_final(self, connector: Connector) -> None:
        connector.close()
        connector.close()
        with pytest.raises(ConnectorError):
            connector.deliver(_EVENTS["run_finished"])

    def test_unreachable_is_a_typed_error(self, unreachable: Connector) -> None:
        with pytest.raises(ConnectorError) as caught:
            unreachable.deliver(_EVENTS["run_finished"])
        assert caught.value.info.retryable is not None, "say whether to try again"
        unreachable.close()

    def test_unreachable_is_found_by_check(self, unreachable: Connector) -> None:
        found = list(unreachable.check())
        assert found and all(isinstance(one, str) and one for one in found)
        unreachable.close()

    def test_leaves_no_thread(self, connector: Connector) -> None:
        before = set(threading.enumerate())
        connector.deliver(_EVENTS["run_finished"])
        connector.close()
        for thread in set(threading.enumerate()) - before:
            thread.join(5)
            assert not thread.is_alive(), f"{thread.name} still runs after close"
