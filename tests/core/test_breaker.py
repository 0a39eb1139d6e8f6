# SPDX-License-Identifier: Apache-2.0
"""The circuit breaker against a slow model of resilience4j's documented rules."""

from __future__ import annotations

from fractions import Fraction

import attrs
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from accelerate_core.fleet.breaker import Breaker, BreakerState
from accelerate_core.fleet.settings import SECOND, BreakerSettings, Window

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN

#: Rates whose products with small counts are exact: the model compares fractions.
RATES = (0.25, 0.5, 0.75, 1.0)


@attrs.define(eq=False)
class Call:
    """A call of the model, as it began and ended."""

    began_in: int
    ended_ns: int | None = None
    is_failed: bool = False
    is_slow: bool = False
    is_released: bool = False


class Model:
    """Keep every call for ever, and work everything out from all of them each time."""

    def __init__(self, settings: BreakerSettings) -> None:
        self.settings = settings
        #: (state, since when), in order: the period is the place in it.
        self.periods = [(CLOSED, 0)]
        self.calls: list[Call] = []

    @property
    def state(self) -> BreakerState:
        return self.periods[-1][0]

    @property
    def period(self) -> int:
        return len(self.periods) - 1

    def expire(self, now: int) -> None:
        state, since = self.periods[-1]
        longest = self.settings.half_open_ns
        if state is HALF_OPEN and longest > 0 and now - since >= longest:
            self.periods.append((OPEN, since + longest))

    def permits(self, now: int) -> bool:
        self.expire(now)
        state, since = self.periods[-1]
        begun = [call for call in self.calls if call.began_in == self.period]
        unspent = self.settings.probes - sum(not call.is_released for call in begun)
        return {
            CLOSED: True,
            OPEN: now - since >= self.settings.open_ns,
            HALF_OPEN: unspent > 0,
        }[state]

    def begin(self, now: int) -> Call | None:
        if not self.permits(now):
            return None
        if self.state is OPEN:
            self.periods.append((HALF_OPEN, now))
        call = Call(self.period)
        self.calls.append(call)
        return call

    def end(self, now: int, call: Call, is_failed: bool, is_slow: bool) -> None:
        self.expire(now)
        call.ended_ns, call.is_failed, call.is_slow = now, is_failed, is_slow
        if call.began_in != self.period:
            return
        set_ = self.settings
        ended = [one for one in self.calls if one.began_in == self.period and one.ended_ns]
        ended.sort(key=lambda one: one.ended_ns or 0)
        enough = set_.minimum_calls
        if self.state is HALF_OPEN:
            enough = min(enough, set_.probes)
        elif set_.window_kind is Window.COUNT:
            ended = ended[-set_.window :]
            enough = min(enough, set_.window)
        else:
            first = now // SECOND - set_.window + 1
            ended = [one for one in ended if (one.ended_ns or 0) // SECOND >= first]
        if len(ended) < enough:
            return
        failed = Fraction(sum(one.is_failed for one in ended), len(ended))
        slow = Fraction(sum(one.is_slow for one in ended), len(ended))
        if failed >= set_.failure_rate or slow >= set_.slow_call_rate:
            self.periods.append((OPEN, now))
        elif self.state is HALF_OPEN:
            self.periods.append((CLOSED, now))


class BreakerAgainstModel(RuleBasedStateMachine):
    @initialize(
        settings=st.builds(
            BreakerSettings,
            window_kind=st.sampled_from(Window),
            window=st.integers(1, 5),
            minimum_calls=st.integers(1, 6),
            failure_rate=st.sampled_from(RATES),
            slow_call_rate=st.sampled_from(RATES),
            open_ns=st.sampled_from([1, 2 * SECOND]),
            probes=st.integers(1, 4),
            half_open_ns=st.sampled_from([0, 0, 3 * SECOND]),
        )
    )
    def configure(self, settings: BreakerSettings) -> None:
        self.breaker, self.model = Breaker(settings), Model(settings)
        self.now = 1
        self.running: list[tuple[Call, int]] = []

    @rule(times=st.integers(1, 4))
    def calls_begin(self, times: int) -> None:
        for _ in range(times):
            self.now += 1
            call = self.model.begin(self.now)
            period = self.breaker.acquire(self.now)
            assert (call is None) == (period is None)
            if call is not None and period is not None:
                self.running.append((call, period))

    @rule(data=st.data(), is_failed=st.booleans(), is_slow=st.booleans(), times=st.integers(1, 4))
    def calls_end(self, data: st.DataObject, is_failed: bool, is_slow: bool, times: int) -> None:
        for _ in range(min(times, len(self.running))):
            self.now += 1
            index = data.draw(st.integers(0, len(self.running) - 1))
            call, period = self.running.pop(index)
            self.model.end(self.now, call, is_failed, is_slow)
            self.breaker.record(self.now, period, is_failed=is_failed, is_slow=is_slow)

    @rule(data=st.data())
    def a_call_is_cancelled(self, data: st.DataObject) -> None:
        if self.running:
            self.now += 1
            call, period = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
            self.model.expire(self.now)
            call.is_released = True
            self.breaker.release(self.now, period)

    @rule(later=st.sampled_from([1, SECOND // 2, SECOND, 2 * SECOND, 3 * SECOND, 9 * SECOND]))
    def time_passes(self, later: int) -> None:
        self.now += later

    @invariant()
    def they_agree(self) -> None:
        if not hasattr(self, "model"):
            return
        assert self.breaker.permits(self.now) == self.model.permits(self.now)
        assert self.breaker.state(self.now) == self.model.state
        at = self.breaker.permits_at_ns()
        if at is not None and not self.breaker.permits(self.now):
            assert at > self.now

    @invariant()
    def probes_are_bounded(self) -> None:
        if hasattr(self, "model") and self.model.state is HALF_OPEN:
            here = [call for call in self.model.calls if call.began_in == self.model.period]
            counted = [call for call in here if not call.is_released]
            assert len(counted) <= self.model.settings.probes


TestBreakerAgainstModel = BreakerAgainstModel.TestCase
TestBreakerAgainstModel.settings = hypothesis_settings(max_examples=150, stateful_step_count=40)


def end(breaker: Breaker, now: int, *, failed: bool = False, slow: bool = False) -> None:
    period = breaker.acquire(now)
    assert period is not None
    breaker.record(now, period, is_failed=failed, is_slow=slow)


def opened(**settings: object) -> Breaker:
    breaker = Breaker(BreakerSettings(minimum_calls=2, **settings))  # type: ignore[arg-type]
    for _ in range(2):
        end(breaker, 0, failed=True)
    assert breaker.state(0) is OPEN
    return breaker


def test_too_few_calls_say_nothing() -> None:
    breaker = Breaker(BreakerSettings(minimum_calls=10))
    for now in range(9):
        end(breaker, now, failed=True)
    assert breaker.state(9) is CLOSED
    end(breaker, 9, failed=True)
    assert breaker.state(9) is OPEN


def test_a_rate_equal_to_its_threshold_opens() -> None:
    breaker = Breaker(BreakerSettings(minimum_calls=4, failure_rate=0.5))
    for failed in (False, True, False, True):
        end(breaker, 0, failed=failed)
    assert breaker.state(0) is OPEN


def test_slow_calls_open_although_none_failed() -> None:
    breaker = Breaker(BreakerSettings(minimum_calls=3))
    for _ in range(3):
        end(breaker, 0, slow=True)
    assert breaker.state(0) is OPEN


def test_calls_of_long_ago_say_nothing() -> None:
    breaker = Breaker(BreakerSettings(window_kind=Window.TIME, window=10, minimum_calls=2))
    end(breaker, 0, failed=True)
    end(breaker, 10 * SECOND, failed=True)
    assert breaker.state(10 * SECOND) is CLOSED
    end(breaker, 19 * SECOND, failed=True)
    assert breaker.state(19 * SECOND) is OPEN


def test_an_open_circuit_permits_probes_after_its_wait_and_no_more_of_them() -> None:
    breaker = opened(open_ns=5 * SECOND, probes=2)
    assert breaker.acquire(5 * SECOND - 1) is None
    assert breaker.permits_at_ns() == 5 * SECOND
    probes = [breaker.acquire(5 * SECOND) for _ in range(3)]
    assert probes[2] is None and None not in probes[:2]
    assert breaker.state(5 * SECOND) is HALF_OPEN


@pytest.mark.parametrize(("failed", "then"), [(False, CLOSED), (True, OPEN)])
def test_the_probes_decide(failed: bool, then: BreakerState) -> None:
    breaker = opened(probes=2)
    now = 5 * SECOND
    end(breaker, now, failed=failed)
    assert breaker.state(now) is HALF_OPEN, "until all permitted calls have ended"
    end(breaker, now, failed=failed)
    assert breaker.state(now) is then


def test_a_cancelled_probe_makes_room_for_another() -> None:
    breaker = opened(probes=1)
    now = 5 * SECOND
    probe = breaker.acquire(now)
    assert probe is not None and not breaker.permits(now)
    breaker.release(now, probe)
    assert breaker.permits(now)


def test_probes_that_never_end_do_not_block_for_ever() -> None:
    breaker = opened(probes=1, half_open_ns=60 * SECOND)
    breaker.acquire(5 * SECOND)
    assert breaker.state(65 * SECOND - 1) is HALF_OPEN
    assert breaker.state(65 * SECOND) is OPEN
    assert not breaker.permits(70 * SECOND - 1)
    assert breaker.permits(70 * SECOND)


def test_a_call_from_before_is_no_probe() -> None:
    breaker = Breaker(BreakerSettings(minimum_calls=2, probes=1))
    old = breaker.acquire(0)
    for _ in range(2):
        end(breaker, 0, failed=True)
    assert old is not None and breaker.acquire(5 * SECOND) is not None
    breaker.record(5 * SECOND, old, is_failed=False, is_slow=False)
    breaker.release(5 * SECOND, old)
    assert breaker.state(5 * SECOND) is HALF_OPEN
    assert not breaker.permits(5 * SECOND)
