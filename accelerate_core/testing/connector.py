# SPDX-License-Identifier: Apache-2.0
"""The contract of connectors."""

from __future__ import annotations

import threading
import time

import attrs
import pytest

from ..errors import ConnectorError
from ..events import EVENT_TYPES, Event, Regression
from ..protocols import Connector
from . import samples
from .contract import Contract
from .service import PASSING, Fault, Service

_TOO_MANY: list[Fault] = ["429"] * 20
_EVENTS = {event.kind: event for event in samples.every_event()}


class ConnectorContract(Contract):
    """What every connector keeps. Supply the fixtures `connector` and `unreachable`.

    `connector` delivers to something that takes the message; `unreachable` is set up as well, and
    nobody is there to take it. Those of an HTTP service keep `ServiceContract`, too.
    """

    #: The kind of event about a run that is told in any case.
    told = "run_finished"

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

        thread = threading.Thread(target=deliver, args=(_EVENTS[self.told],))
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
            connector.deliver(_EVENTS[self.told])

    def test_unreachable_is_a_typed_error(self, unreachable: Connector) -> None:
        with pytest.raises(ConnectorError) as caught:
            unreachable.deliver(_EVENTS[self.told])
        assert caught.value.info.retryable is not None, "say whether to try again"
        unreachable.close()

    def test_unreachable_is_found_by_check(self, unreachable: Connector) -> None:
        found = list(unreachable.check())
        assert found and all(isinstance(one, str) and one for one in found)
        unreachable.close()

    def test_leaves_no_thread(self, connector: Connector) -> None:
        before = set(threading.enumerate())
        connector.deliver(_EVENTS[self.told])
        connector.close()
        for thread in set(threading.enumerate()) - before:
            thread.join(5)
            assert not thread.is_alive(), f"{thread.name} still runs after close"


class ServiceContract(ConnectorContract):
    """What a connector of an HTTP service keeps besides. Supply the fixture `service`.

    `service` is where `connector` delivers to. `visible` counts, at the service, the items about an
    event's subject that carry its key; None where people cannot see items apart.
    """

    @pytest.fixture
    def service(self) -> Service:
        """Return the service that `connector` talks to."""
        raise NotImplementedError("supply the fixture `service`")

    def visible(self, service: Service, event: Event) -> int | None:
        """Return how many items the service shows with this event's key."""
        raise NotImplementedError("say how often the service shows an event")

    @pytest.mark.parametrize("fault", PASSING)
    @pytest.mark.parametrize("about", ["run", "regression"])
    def test_what_passes_is_tried_again_and_seen_once(
        self, connector: Connector, service: Service, fault: Fault, about: str
    ) -> None:
        event = _EVENTS[self.told if about == "run" else about]
        service.fail_next(fault)
        self._deliver_at_last(connector, event)
        assert self.visible(service, event) in (1, None)
        connector.close()

    def test_what_is_told_again_is_seen_once(self, connector: Connector, service: Service) -> None:
        for _ in range(2):
            connector.deliver(_EVENTS["regression"])
        assert self.visible(service, _EVENTS["regression"]) in (1, None)
        connector.close()

    @pytest.mark.parametrize("fault", ["401", "403", "413"])
    def test_what_will_not_pass_is_not_to_be_tried_again(
        self, connector: Connector, service: Service, fault: Fault
    ) -> None:
        service.fail_next(*[fault] * 20)
        with pytest.raises(ConnectorError) as caught:
            connector.deliver(_EVENTS[self.told])
        assert caught.value.info.retryable is False, caught.value
        assert caught.value.info.hint, "say what to do"
        connector.close()

    def test_too_many_requests_say_when_to_come_back(
        self, connector: Connector, service: Service
    ) -> None:
        service.retry_after_s = 40
        service.fail_next(*_TOO_MANY)
        with pytest.raises(ConnectorError) as caught:
            connector.deliver(_EVENTS[self.told])
        assert caught.value.info.retryable and caught.value.info.retry_after == 40
        connector.close()

    def test_many_events_under_faults_are_each_seen_once(
        self, connector: Connector, service: Service
    ) -> None:
        service.fail_some(0.2)
        one = _EVENTS["regression"]
        assert isinstance(one, Regression)
        events = [attrs.evolve(one, id=f"r-{number}") for number in range(10)]
        for event in events:
            self._deliver_at_last(connector, event)
        service.fail_some(0.0)
        assert {self.visible(service, event) for event in events} <= {1, None}
        connector.close()

    def _deliver_at_last(self, connector: Connector, event: Event) -> None:
        for _ in range(20):
            try:
                connector.deliver(event)
                return
            except ConnectorError as error:
                assert error.info.retryable, error
                time.sleep(min(error.info.retry_after or 0.0, 0.2))
        pytest.fail("not delivered in 20 tries")
