# SPDX-License-Identifier: Apache-2.0
"""Observers are told in order, and hurt nobody."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

from accelerate_core.events import JobFinished, Regression
from accelerate_core.observers import Bus


def event(number: int) -> JobFinished:
    return JobFinished(
        run_id="r",
        at=datetime.now(UTC),
        job_id=str(number),
        model="m",
        worker_id=None,
        latency_ms=None,
        attempts=1,
    )


def test_one_that_raises_is_counted_and_the_others_get_everything() -> None:
    got: list[str] = []

    def broken(one: JobFinished) -> None:
        raise RuntimeError(f"no {one.job_id}")

    bus = Bus()
    bus.add("broken", broken)
    bus.add("good", lambda one: got.append(one.job_id))
    for number in range(5):
        bus.send(event(number))
    bus.close()
    assert got == ["0", "1", "2", "3", "4"]
    bus.close()


def test_failures_say_who_how_often_and_how() -> None:
    done = threading.Event()

    def broken(one: JobFinished) -> None:
        if one.job_id == "1":
            done.set()
        raise RuntimeError(f"no {one.job_id}")

    bus = Bus()
    bus.add("broken", broken)
    bus.send(event(0))
    bus.send(event(1))
    assert done.wait(5)
    bus.flush()
    (failure,) = bus.failures()
    assert (failure.observer, failure.count, failure.last.message) == ("broken", 2, "no 1")
    bus.close()


def test_an_observer_gets_only_the_kinds_it_asked_for() -> None:
    got: list[str] = []
    bus = Bus()
    bus.add("one", lambda one: got.append(one.kind), ["regression"])
    bus.send(event(0))
    bus.send(
        Regression(
            run_id="r",
            at=datetime.now(UTC),
            series_key="k",
            metric="latency_ms",
            before=1.0,
            after=2.0,
            severity="high",
        )
    )
    bus.close()
    assert got == ["regression"]


def test_one_that_hangs_does_not_hold_up_the_sender_or_the_end() -> None:
    stuck = threading.Event()
    bus = Bus()
    bus.add("stuck", lambda _: stuck.wait(30))
    for number in range(1000):
        bus.send(event(number))
    bus.close(timeout_s=0.2)
    stuck.set()
