# SPDX-License-Identifier: Apache-2.0
"""How far `progressive` climbs, and where it starts."""

from __future__ import annotations

import attrs
import pytest
from accelerate_recovery import ProgressivePolicy, ProgressiveSettings

from accelerate_core.errors import ErrorInfo
from accelerate_core.fleet.policy import (
    FailedAttempt,
    FailureKind,
    GiveUp,
    JobView,
    Mend,
    Retry,
)
from accelerate_core.fleet.settings import SECOND
from accelerate_core.testing.fleets import WatchedFleet
from accelerate_core.types import Target

CHROMIUM, FIREFOX, EDGE = (Target("webgpu", None, one) for one in ("chromium", "firefox", "edge"))
WASM = Target("wasm", None, "chromium")
CPU = Target("cpu")
JOB = JobView(id="job", model="fp32", targets=(CHROMIUM,), attempts=1)


class Story:
    """Fail one job again and again, as the fleet would show it."""

    def __init__(self, *targets: Target, degraded: tuple[str, ...] = ()) -> None:
        self.fleet = WatchedFleet()
        for worker in ("one", "two", "three"):
            self.fleet.add(worker, str(targets[0]))
        self.job = attrs.evolve(JOB, targets=targets[:1], further=targets[1:], degraded=degraded)
        self.policy = ProgressivePolicy(ProgressiveSettings(max_attempts=10))
        self.failures = 0
        self.jobs = 1

    def fail(self, kind: FailureKind = FailureKind.INTERNAL, worker: str = "one") -> Retry:
        """Fail it, and move it as the machine would."""
        self.failures += 1
        self.fleet.begin()
        failed = FailedAttempt(
            job_id=self.job.id,
            attempt=self.failures,
            failures=self.failures,
            failing_since_ns=0,
            worker_id=worker,
            kind=kind,
            error=ErrorInfo(kind="WorkerLost", message="no answer"),
        )
        action = self.policy.decide(failed, self.job, self.fleet)
        assert isinstance(action, Retry)
        if action.target is not None:
            left = self.job.further
            left = left[left.index(action.target) :]
            self.job = attrs.evolve(self.job, targets=left[:1], further=left[1:])
        if action.model is not None:
            self.job = attrs.evolve(self.job, model=action.model)
        return action

    def next_job(self) -> None:
        self.jobs += 1
        self.job = attrs.evolve(self.job, id=f"job-{self.jobs}")
        self.failures = 0


def test_it_climbs_rung_by_rung_and_stays_at_a_restart() -> None:
    story = Story(CHROMIUM)
    assert [story.fail() for _ in range(6)] == [
        Retry(avoid=("one",)),
        Retry(mend=Mend.PAGE),
        Retry(mend=Mend.DEVICE),
        Retry(mend=Mend.RESTART),
        Retry(mend=Mend.RESTART),
        Retry(mend=Mend.RESTART),
    ]


def test_it_leaves_browser_backend_and_precision_to_jobs_that_list_them() -> None:
    story = Story(CHROMIUM, FIREFOX, EDGE, WASM, degraded=("int8", "int4"))
    for _ in range(4):
        story.fail()
    assert [story.fail() for _ in range(5)] == [
        Retry(target=FIREFOX),
        Retry(target=EDGE),
        Retry(target=WASM),
        Retry(model="int8"),
        Retry(model="int4"),
    ]


def test_targets_are_taken_in_their_order_and_none_is_skipped() -> None:
    story = Story(CHROMIUM, WASM, FIREFOX)
    taken = [story.fail(FailureKind.CRASH).target for _ in range(4)]
    assert taken == [None, WASM, FIREFOX, None]


@pytest.mark.parametrize(
    ("kind", "mend"),
    [
        (FailureKind.DEVICE_LOST, Mend.DEVICE),
        (FailureKind.CONNECTION, Mend.PAGE),
        (FailureKind.CRASH, Mend.RESTART),
        (FailureKind.HANG, Mend.RESTART),
        (FailureKind.TIMEOUT, None),
        (FailureKind.NUMERICAL, None),
    ],
)
def test_it_starts_where_it_can_help(kind: FailureKind, mend: Mend | None) -> None:
    assert Story(CHROMIUM).fail(kind).mend is mend


def test_rungs_that_a_target_does_not_have_are_skipped() -> None:
    native = Story(CPU)
    assert [native.fail().mend for _ in range(3)] == [None, Mend.RESTART, Mend.RESTART]
    wasm = Story(WASM)
    assert [wasm.fail().mend for _ in range(3)] == [None, Mend.PAGE, Mend.RESTART]


def test_a_worker_that_fails_another_job_soon_gets_the_next_rung() -> None:
    story = Story(CHROMIUM)
    assert story.fail(FailureKind.DEVICE_LOST).mend is Mend.DEVICE
    story.next_job()
    story.fleet.now_ns += 10 * SECOND
    assert story.fail(FailureKind.DEVICE_LOST).mend is Mend.RESTART
    story.next_job()
    assert story.fail(FailureKind.DEVICE_LOST, "two").mend is Mend.DEVICE
    story.next_job()
    story.fleet.now_ns += 10 * SECOND + 1
    assert story.fail(FailureKind.DEVICE_LOST).mend is Mend.DEVICE, "long ago is forgotten"


def test_slow_workers_are_not_blamed_for_other_jobs() -> None:
    story = Story(CHROMIUM)
    for _ in range(5):
        assert story.fail(FailureKind.TIMEOUT) == Retry(avoid=("one",))
        story.next_job()
    assert story.fail(FailureKind.INTERNAL) == Retry(avoid=("one",))


def test_a_job_whose_worker_is_mended_for_anothers_sake_does_not_climb() -> None:
    story = Story(CHROMIUM, FIREFOX)
    assert [story.fail(FailureKind.LOST) for _ in range(5)] == [Retry()] * 5
    assert story.fail().avoid == ("one",)


def test_too_little_memory_asks_for_another_worker_then_for_a_smaller_model() -> None:
    full = FailureKind.OUT_OF_MEMORY
    story = Story(CHROMIUM, degraded=("int8", "int4"))
    assert [story.fail(full), story.fail(full, "two"), story.fail(full, "three")] == [
        Retry(avoid=("one",)),
        Retry(model="int8"),
        Retry(model="int4"),
    ]
    alone = Story(CHROMIUM, degraded=("int8",))
    alone.fleet.remove("two")
    alone.fleet.remove("three")
    assert alone.fail(full) == Retry(model="int8")
    never = Story(CHROMIUM)
    assert [never.fail(full), never.fail(full)] == [Retry(avoid=("one",)), Retry(mend=Mend.PAGE)]


def test_it_remembers_a_bounded_number_of_jobs() -> None:
    story = Story(CHROMIUM)
    for _ in range(3000):
        story.fail(FailureKind.TIMEOUT)
        story.next_job()
    assert len(story.policy._jobs) == 1024


def test_it_gives_up_in_the_end() -> None:
    failed = FailedAttempt(
        job_id="job",
        attempt=8,
        failures=8,
        failing_since_ns=0,
        worker_id="one",
        kind=FailureKind.CRASH,
        error=ErrorInfo(kind="WorkerLost", message="gone"),
    )
    assert ProgressivePolicy().decide(failed, JOB, WatchedFleet()) == GiveUp()
