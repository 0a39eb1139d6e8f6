# SPDX-License-Identifier: Apache-2.0
"""What an experiment found, as values. Moments are nanoseconds of `time.perf_counter_ns()`."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from .checker import Finding, Rule


@attrs.frozen(kw_only=True)
class Run:
    """One attempt of a request on one worker, as the worker saw it."""

    request: int
    worker: str
    began_ns: int
    ended_ns: int
    is_ok: bool
    #: The page lost its device or thread meanwhile, and ran again: for so long.
    again_ns: int | None = None


@attrs.frozen(kw_only=True)
class Request:
    """One request as its caller saw it."""

    number: int
    asked_ns: int
    ended_ns: int
    error: str | None = None  #: kind of the error it ended with

    @property
    def latency_ms(self) -> float:
        """From asking to answer or error."""
        return (self.ended_ns - self.asked_ns) / 1e6


@attrs.frozen(kw_only=True)
class Struck:
    """One fault that happened, or why it did not."""

    fault: str
    worker: str | None = None
    at_ns: int
    ended_ns: int = 0  #: until when it lasted; `at_ns` for one that was over at once
    seen: str | None = None  #: the proof; None when it did not happen
    reason: str | None = None  #: why it did not
    #: From the fault to the acceptance elsewhere, the other's own run taken off; one for each
    #: request the worker was running.
    recovery_ms: tuple[float, ...] = ()
    #: Requests it was running that no other worker answered in time.
    unrecovered: int = 0


@attrs.frozen(kw_only=True)
class Row:
    """One scenario under one strategy."""

    scenario: str
    strategy: str
    targets: tuple[str, ...]
    reason: str | None = None  #: why it could not be run
    seed: int = 0
    rate: float = 0.0
    deadline_s: float = 0.0
    began_ns: int = 0
    requests: tuple[Request, ...] = ()
    struck: tuple[Struck, ...] = ()
    runs_ms: tuple[float, ...] = ()  #: what each run took that its worker ended well
    findings: tuple[Finding, ...] = ()
    workers_lost: int = 0  #: by whatever reason
    workers_mended: int = 0  #: given a new device or page
    processes_left: int = 0
    folders_left: int = 0
    is_interrupted: bool = False

    @property
    def answered(self) -> int:
        """Requests that got an answer."""
        return sum(one.error is None for one in self.requests)

    @property
    def success_rate(self) -> float | None:
        """Part of the requests that got an answer."""
        return self.answered / len(self.requests) if self.requests else None

    @property
    def latencies_ms(self) -> list[float]:
        """Latencies of the answers."""
        return [one.latency_ms for one in self.requests if one.error is None]

    @property
    def recoveries_ms(self) -> list[float]:
        """Recovery times of all faults."""
        return [time_ms for one in self.struck for time_ms in one.recovery_ms]

    @property
    def faults(self) -> int:
        """How many faults happened."""
        return sum(one.seen is not None for one in self.struck)

    def count(self, rule: Rule) -> int:
        """Return how often a rule was broken."""
        return sum(one.rule is rule for one in self.findings)

    @property
    def verdict(self) -> str:
        """One word for the row."""
        if self.reason is not None:
            return "does not apply"
        if self.findings or self.processes_left or self.folders_left:
            return "broken"
        if not self.faults:
            return "no fault happened"
        return "held" if self.answered == len(self.requests) else "held, with errors"


def recoveries(
    one: Struck, runs: Sequence[Run], requests: Sequence[Request]
) -> tuple[tuple[float, ...], int]:
    """Return how long each request that a fault hurt took to be answered elsewhere.

    Hurt is what its worker was running, or began to run while it lasted, and did not finish, or
    only on another device. In milliseconds from the fault, or from the beginning of the run if
    that is later, without the answering run itself; and how many never were answered.
    """
    ended = {request.number: request for request in requests}
    times: list[float] = []
    lost = 0
    for hurt in runs:
        is_hurt = hurt.began_ns <= max(one.at_ns, one.ended_ns) and one.at_ns < hurt.ended_ns
        is_finished = hurt.is_ok and hurt.again_ns is None
        if hurt.worker != one.worker or is_finished or not is_hurt:
            continue
        request = ended.get(hurt.request)
        answers = [run for run in runs if run.request == hurt.request and run.is_ok]
        if request is None or request.error is not None or not answers:
            lost += 1
            continue
        from_ns = max(one.at_ns, hurt.began_ns)
        answer = min(answers, key=lambda run: run.ended_ns)
        took_ns = answer.ended_ns - max(answer.began_ns, from_ns)
        if answer.again_ns is not None:
            took_ns = min(took_ns, answer.again_ns)
        times.append(max(0, request.ended_ns - from_ns - took_ns) / 1e6)
    return tuple(times), lost
