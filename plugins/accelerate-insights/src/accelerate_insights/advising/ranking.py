# SPDX-License-Identifier: Apache-2.0
"""Which candidate serves an objective best, and whose numbers do not say. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby

import attrs

from accelerate_core.errors import ConfigError, did_you_mean

from .candidates import FEWEST_RUNS, Candidate, Estimate, Question


@attrs.frozen(kw_only=True)
class Objective:
    """Say what is wanted, and by what it is measured."""

    name: str
    #: Columns of measurements it looks at.
    metrics: tuple[str, ...]
    unit: str  #: of the value that candidates are ranked by
    is_lower_better: bool = True


OBJECTIVES: Mapping[str, Objective] = {
    one.name: one
    for one in (
        Objective(name="latency", metrics=("latency_ms",), unit="ms"),
        Objective(
            name="throughput",
            metrics=("throughput_items_per_second",),
            unit="items/s",
            is_lower_better=False,
        ),
        Objective(name="memory", metrics=("memory_usage_mb",), unit="MB"),
        Objective(name="reliability", metrics=(), unit="of tries", is_lower_better=False),
        Objective(
            name="balanced",
            metrics=("latency_ms", "throughput_items_per_second", "memory_usage_mb"),
            unit="times the best",
        ),
    )
}
#: What `balanced` looks at, and whether less of it is better.
_BALANCED = {"latency_ms": True, "throughput_items_per_second": False, "memory_usage_mb": True}


@attrs.frozen(kw_only=True)
class Choice:
    """A candidate with what it is ranked by."""

    candidate: Candidate
    score: Estimate
    is_as_good: bool  #: its interval overlaps that of the best, which it cannot be told apart from


@attrs.frozen(kw_only=True)
class Refused:
    """A candidate that is not recommended, and why."""

    candidate: Candidate
    reason: str


@attrs.frozen(kw_only=True)
class Answer:
    """Say which ways to run a model serve an objective, best first; none: not enough data."""

    question: Question
    objective: Objective
    choices: tuple[Choice, ...]
    refused: tuple[Refused, ...]

    @property
    def best(self) -> Choice | None:
        """The first choice; None when there is not enough data for any."""
        return self.choices[0] if self.choices else None


def objective_named(name: str, where: str = "objective") -> Objective:
    """Return an objective; ConfigError for one nobody knows."""
    if name not in OBJECTIVES:
        raise ConfigError(
            f"there is no objective {name!r}",
            where=where,
            accepted=tuple(OBJECTIVES),
            hint=did_you_mean(name, OBJECTIVES),
        )
    return OBJECTIVES[name]


def answers(candidates: Sequence[Candidate], objective: Objective) -> tuple[Answer, ...]:
    """Return an answer for every question that candidates belong to, in their order."""
    return tuple(
        _answer(question, tuple(alike), objective)
        for question, alike in groupby(candidates, key=lambda one: one.question)
    )


def wilson(successes: int, tries: int) -> Estimate:
    """Return a share with its interval at 95% (Wilson, 1927), which holds at 0 and 1, too."""
    z = 1.959964
    share, square = successes / tries, z * z / tries
    middle = (share + square / 2) / (1 + square)
    half = z / (1 + square) * math.sqrt(share * (1 - share) / tries + square / (4 * tries))
    return Estimate(value=share, low=max(0.0, middle - half), high=min(1.0, middle + half))


def refusal(candidate: Candidate, objective: Objective) -> str | None:
    """Return why a candidate is not recommended, in words; None when it may be."""
    if candidate.wrong:
        return f"wrong outputs in {candidate.wrong} measurements"
    if candidate.precision != "fp32" and candidate.relative_l2 is None:
        return f"nobody knows what {candidate.precision} does to its outputs"
    if candidate.runs < FEWEST_RUNS:
        if candidate.old:
            return f"{candidate.runs} runs of what is installed now, {candidate.old} older rows"
        return f"{candidate.runs} of at least {FEWEST_RUNS} runs"
    unknown = [name for name in objective.metrics[:1] if name not in candidate.estimates]
    return f"{unknown[0]} was not measured" if unknown else None


def _answer(question: Question, alike: tuple[Candidate, ...], objective: Objective) -> Answer:
    reasons = [refusal(one, objective) for one in alike]
    usable = [one for one, reason in zip(alike, reasons, strict=True) if reason is None]
    sign = 1 if objective.is_lower_better else -1
    scored = sorted(
        zip(usable, _scores(usable, objective), strict=True),
        key=lambda pair: (sign * pair[1].value, str(pair[0])),
    )
    return Answer(
        question=question,
        objective=objective,
        choices=tuple(
            Choice(candidate=one, score=score, is_as_good=score.overlaps(scored[0][1]))
            for one, score in scored
        ),
        refused=tuple(
            Refused(candidate=one, reason=reason)
            for one, reason in zip(alike, reasons, strict=True)
            if reason is not None
        ),
    )


def _scores(usable: Sequence[Candidate], objective: Objective) -> list[Estimate]:
    if objective.name == "reliability":
        return [wilson(one.successes, one.tries) for one in usable]
    if objective.name == "balanced":
        return _balanced(usable)
    return [one.estimates[objective.metrics[0]] for one in usable]


def _balanced(usable: Sequence[Candidate]) -> list[Estimate]:
    """Return geometric means of how many times the best of each metric they are.

    Latency, throughput and memory count alike, as far as all candidates have them; the mean is
    divided by the share of tries that succeeded. Intervals are those of all parts added up:
    wider than needed.
    """
    names = [name for name in _BALANCED if all(name in one.estimates for one in usable)]
    best = {
        name: (min if _BALANCED[name] else max)(one.estimates[name].value for one in usable)
        for name in names
    }

    def mean(one: Candidate, share: float, ends: Mapping[bool, str]) -> float:
        logs = []
        for name in names:
            is_lower_better = _BALANCED[name]
            value = getattr(one.estimates[name], ends[is_lower_better]) or 0.0
            ratio = value / best[name] if best[name] else math.inf
            logs.append(_log(ratio) if is_lower_better else -_log(ratio))
        return math.exp(min(sum(logs) / len(names), 700.0)) / share if share else math.inf

    scores = []
    for one in usable:
        share = wilson(one.successes, one.tries)
        scores.append(
            Estimate(
                value=mean(one, share.value, {True: "value", False: "value"}),
                low=mean(one, share.high or 1.0, {True: "low", False: "high"}),
                high=mean(one, share.low or 0.0, {True: "high", False: "low"}),
            )
        )
    return scores


def _log(ratio: float) -> float:
    return math.log(ratio) if ratio > 0 else -math.inf
