# SPDX-License-Identifier: Apache-2.0
"""Send a cell's requests as its scenario says, and time them.

The scenarios are those of MLPerf Inference (Reddi et al., MLPerf Inference Benchmark, ISCA 2020),
with its percentiles: 90 for single_stream, 99 for multi_stream and server. Its minimum of requests
and of time is not kept: rows say how many there were and how sure they are.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs

from ..config import BenchmarkConfig
from ..running.work import Answer
from ..sampled import Sampling, Scenario, Trial
from . import sampling
from .numbers import median
from .sampling import MAX_SAMPLES, MIN_SAMPLES

#: Of the requests of a server scenario, so many are answered within the bound, or it is broken.
IN_TIME = 0.99
#: A trial lasts so many latency bounds: a queue that grows by a tenth breaks the bound meanwhile.
_BOUNDS = 10
#: The highest rate is known when one that is higher by this does not hold.
_CLOSE = 1.05
#: Rates this many times below what one request at a time would give are not tried.
_LOWEST = 64
#: Requests of the offline scenario that wait or run at once.
_IN_FLIGHT = 256


@attrs.frozen(kw_only=True)
class Requests:
    """Say how one request is made, and whom to tell."""

    submit: Callable[[], Awaitable[Answer]]
    #: Called with the number of samples and, where it is known, how many there will be.
    progress: Callable[[int, int | None], None]
    #: Awaited before each sample of a stream, with its number.
    turn: Callable[[int], Awaitable[None]] | None = None


@attrs.frozen(kw_only=True)
class Taken:
    """Hold the samples of a cell, and what is known of them."""

    answers: tuple[Answer, ...]
    samples_ms: tuple[float, ...]
    requests_per_second: float | None
    sampling: Sampling


async def take(scenario: Scenario, benchmark: BenchmarkConfig, requests: Requests) -> Taken:
    """Make the timed requests of a cell; the error of one that fails is the cell's."""
    ends = time.perf_counter() + benchmark.budget
    if scenario.name == "offline":
        return await _offline(benchmark, requests, ends)
    if scenario.name == "server":
        return await _server(scenario, benchmark, requests, ends)
    return await _stream(scenario.streams or 1, benchmark, requests, ends)


# --- streams ----------------------------------------------------------------------------------


async def _stream(
    at_once: int, benchmark: BenchmarkConfig, requests: Requests, ends: float
) -> Taken:
    """Make a group of requests, wait for all its answers, make the next."""
    interval, repeats = benchmark.interval, benchmark.repeats
    least = min(MIN_SAMPLES, repeats)
    groups: list[Sequence[Answer]] = []
    samples: list[float] = []
    begun = time.perf_counter()
    is_over = False
    while not is_over and (more := sampling.missing(samples, repeats, interval)):
        wanted = len(samples) + more
        while len(samples) < wanted:
            is_over = len(samples) >= least and time.perf_counter() > ends
            if is_over:
                break
            requests.progress(len(samples), wanted)
            if requests.turn is not None:
                await requests.turn(len(samples))
            started = time.perf_counter()
            groups.append(await _all([_task(requests) for _ in range(at_once)]))
            passed_ms = (time.perf_counter() - started) * 1e3
            samples.append(passed_ms if at_once > 1 else groups[-1][0].latency_ms)
    duration_s = time.perf_counter() - begun
    steady = sampling.steady(samples)
    kept = tuple(samples[steady.start :])
    middle = median(kept)
    ended_by = "repeats" if interval is None else "interval"
    if interval is not None and len(kept) >= MAX_SAMPLES:
        ended_by = "count"
    return _taken(
        tuple(answer for group in groups[steady.start :] for answer in group),
        kept,
        1e3 * at_once / middle if middle else None,
        ended_by="budget" if is_over else ended_by,
        interval=interval,
        warmup_ms=tuple(samples[: steady.start]),
        level_change=steady.change,
        duration_s=duration_s,
    )


# --- server -----------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class _Arrived:
    """What came of one rate."""

    trial: Trial
    answers: tuple[Answer, ...]
    samples_ms: tuple[float, ...]
    duration_s: float
    is_cut: bool


async def _server(
    scenario: Scenario, benchmark: BenchmarkConfig, requests: Requests, ends: float
) -> Taken:
    bound_ms = scenario.bound_ms or math.inf
    tried: list[_Arrived] = []
    best: _Arrived | None = None

    async def holds(rate: float) -> bool:
        nonlocal best
        # Of a trial in a search, nothing more is asked once it has failed.
        ends_early = scenario.rate is None
        count = max(benchmark.repeats, math.ceil(rate * bound_ms / 1e3 * _BOUNDS))
        arrived = await _arrivals(
            rate, min(count, MAX_SAMPLES), bound_ms, requests, ends, ends_early=ends_early
        )
        tried.append(arrived)
        # The few requests before the time was over beat no rate that was tried to its end.
        is_better = best is None or (rate > best.trial.rate and not arrived.is_cut)
        if arrived.trial.holds and is_better:
            best = arrived
        return arrived.trial.holds

    if scenario.rate is not None:
        await holds(scenario.rate)
    else:
        alone = [(await requests.submit()).latency_ms for _ in range(MIN_SAMPLES)]
        await highest(holds, 1e3 / max(1e-3, median(alone) or 0), lambda: _is_past(ends))
    # Where no rate held, the row tells of the lowest.
    shown = best or min(tried, key=lambda one: one.trial.rate)
    # The rate itself, as in MLPerf, where it was looked for; else what came of the one asked.
    reached = len(shown.samples_ms) / shown.duration_s if shown.duration_s else None
    if scenario.rate is None:
        reached = best.trial.rate if best else None
    return _taken(
        shown.answers,
        shown.samples_ms,
        reached,
        ended_by="budget" if tried[-1].is_cut or _is_past(ends) else "repeats",
        duration_s=shown.duration_s,
        rate=shown.trial.rate,
        within=shown.trial.within,
        trials=tuple(one.trial for one in tried),
    )


async def highest(
    holds: Callable[[float], Awaitable[bool]], start: float, is_over: Callable[[], bool]
) -> None:
    """Try rates until the highest that holds is known, within a twentieth, or time `is_over`.

    Doubles or halves from `start`, then bisects between one that held and one that did not.
    """
    low: float | None = None
    high: float | None = None
    rate = start
    while rate >= start / _LOWEST:
        if await holds(rate):
            low = rate
        else:
            high = rate
        if is_over() or (low is not None and high is not None and high / low <= _CLOSE):
            return
        if low is None:
            rate /= 2
        elif high is None:
            rate *= 2
        else:
            rate = math.sqrt(low * high)


async def _arrivals(
    rate: float,
    count: int,
    bound_ms: float,
    requests: Requests,
    ends: float,
    *,
    ends_early: bool,
) -> _Arrived:
    """Make `count` requests at the times of a Poisson process, whatever is still unanswered.

    A latency counts from when its request should have been made, so that what is late here is
    not forgotten there. The times are the same for each run, but for the rate.
    """
    gaps = random.Random(0)
    late_allowed = math.floor((1 - IN_TIME) * count)
    samples: list[float] = [math.nan] * count
    late = 0

    async def request(index: int, due: float) -> Answer:
        nonlocal late
        answer = await requests.submit()
        samples[index] = (time.perf_counter() - due) * 1e3
        late += samples[index] > bound_ms
        return answer

    tasks: list[asyncio.Task[Answer]] = []
    begun = due = time.perf_counter()
    try:
        for index in range(count):
            due += gaps.expovariate(rate)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            if index >= MIN_SAMPLES and (_is_past(ends) or (ends_early and late > late_allowed)):
                break
            requests.progress(index, count)
            tasks.append(asyncio.ensure_future(request(index, due)))
    except BaseException:
        await _cancel(tasks)
        raise
    answers = await _all(tasks)
    sent = len(answers)
    within = sampling.share(sent - late, sent)
    trial = Trial(rate=rate, within=within, count=sent, holds=within.value >= IN_TIME)
    return _Arrived(
        trial=trial,
        answers=tuple(answers),
        samples_ms=tuple(samples[:sent]),
        duration_s=time.perf_counter() - begun,
        is_cut=sent < count and _is_past(ends),
    )


# --- offline ----------------------------------------------------------------------------------


async def _offline(benchmark: BenchmarkConfig, requests: Requests, ends: float) -> Taken:
    """Make all requests at once; what counts is how long they take together."""
    count = benchmark.repeats
    tasks: list[asyncio.Task[Answer]] = []
    free = asyncio.Semaphore(_IN_FLIGHT)
    begun = time.perf_counter()
    try:
        while len(tasks) < count:
            await free.acquire()
            if len(tasks) >= MIN_SAMPLES and _is_past(ends):
                break
            requests.progress(len(tasks), count)
            tasks.append(_task(requests))
            tasks[-1].add_done_callback(lambda _: free.release())
    except BaseException:
        await _cancel(tasks)
        raise
    answers = tuple(await _all(tasks))
    duration_s = time.perf_counter() - begun
    return _taken(
        answers,
        tuple(answer.latency_ms for answer in answers),
        len(answers) / duration_s,
        ended_by="repeats" if len(answers) == count else "budget",
        duration_s=duration_s,
    )


# --- what they share --------------------------------------------------------------------------


def _taken(
    answers: tuple[Answer, ...],
    samples_ms: tuple[float, ...],
    requests_per_second: float | None,
    **known: Any,
) -> Taken:
    facts = attrs.evolve(
        sampling.describe(samples_ms),
        workers=len({answer.connection.id for answer in answers}),
        **known,
    )
    return Taken(
        answers=answers,
        samples_ms=samples_ms,
        requests_per_second=requests_per_second,
        sampling=facts,
    )


def _is_past(ends: float) -> bool:
    return time.perf_counter() > ends


def _task(requests: Requests) -> asyncio.Task[Answer]:
    return asyncio.ensure_future(requests.submit())


async def _all(tasks: Sequence[asyncio.Task[Answer]]) -> list[Answer]:
    """Return what tasks return; the first error ends them all."""
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        await _cancel(tasks)
        raise


async def _cancel(tasks: Sequence[asyncio.Task[Answer]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
