# SPDX-License-Identifier: Apache-2.0
"""Recommendations: asked of the database, printed, and kept in it."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import attrs

from accelerate_core.protocols import Store

from ..reading import Results
from .asking import check_names, since
from .candidates import Candidate, Estimate, candidates
from .history import iso
from .ranking import Answer, Choice, answers, objective_named


@attrs.frozen(kw_only=True)
class Recommendations:
    """Hold an answer for each machine, kind of adapter, model and length of sequence."""

    objective: str
    time_range: str
    answers: tuple[Answer, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON data; times are ISO 8601 and UTC."""
        return {
            "objective": self.objective,
            "time_range": self.time_range,
            "answers": [_answer_data(one) for one in self.answers],
        }

    def to_json(self) -> str:
        """Return the same as text."""
        return json.dumps(_finite(self.to_dict()), indent=2, ensure_ascii=False)

    def __str__(self) -> str:
        """Return a line for each answer."""
        if not self.answers:
            return f"not enough data: nothing was measured within {self.time_range}"
        return "\n".join(f"{one.question.model}: {in_words(one)}" for one in self.answers)


def recommend(
    results: Results,
    *,
    task: str | None = None,
    model: str | None = None,
    objective: str = "latency",
    time_range: str = "30d",
) -> Recommendations:
    """Rank what was measured; ConfigError for an objective, range or name that nobody knows."""
    wanted = objective_named(objective)
    begin = since(time_range)
    check_names(results, model=model, task=task)
    found = candidates(results, wanted.metrics, model=model, task=task, since=begin)
    return Recommendations(
        objective=objective, time_range=time_range, answers=answers(found, wanted)
    )


def in_words(answer: Answer) -> str:
    """Return an answer as a sentence."""
    best = answer.best
    if best is None:
        tried = len(answer.refused)
        return f"not enough data on {tried} way{'s' if tried > 1 else ''} to run it"
    text = f"{best.candidate}, {value_text(best.score, answer.objective.unit)}"
    alike = [str(one.candidate) for one in answer.choices[1:] if one.is_as_good]
    if alike:
        text += f"; as good: {', '.join(alike)}"
    elif len(answer.choices) == 1:
        text += "; nothing else was measured enough"
    return text


def value_text(estimate: Estimate, unit: str) -> str:
    """Return a value with its interval and unit."""
    if estimate.low is None or estimate.high is None:
        return f"{number(estimate.value)} {unit}"
    interval = f"[{number(estimate.low)}, {number(estimate.high)}]"
    return f"{number(estimate.value)} {interval} {unit}"


def number(value: float) -> str:
    """Return three digits of a number, all of a large one."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def keep(store: Store, found: Recommendations) -> int:
    """Add the answers to the table `browser_recommendations`; return how many there were."""
    created = datetime.now(UTC).replace(tzinfo=None)
    with store.transaction() as transaction:
        for answer in found.answers:
            row = _row(answer, found.time_range, created)
            transaction.execute(
                f"INSERT INTO browser_recommendations ({', '.join(row)})"
                f" VALUES ({', '.join('?' for _ in row)})",
                list(row.values()),
            )
    return len(found.answers)


def _row(answer: Answer, time_range: str, created: datetime) -> dict[str, Any]:
    data, best = _finite(_answer_data(answer)), answer.best
    chosen = best.candidate if best else None
    metrics = answer.objective.metrics
    return {
        "id": uuid.uuid4().hex,
        "created_at": created,
        "model_name": answer.question.model,
        "model_type": answer.question.task,
        "objective": answer.objective.name,
        "is_software": answer.question.is_software,
        "machine": answer.question.machine,
        "browser": chosen and chosen.browser,
        "platform": chosen and chosen.backend,
        "engine": chosen and chosen.engine,
        "precision": chosen and chosen.precision,
        "batch_size": chosen and chosen.batch_size,
        "metric": metrics[0] if len(metrics) == 1 else answer.objective.name,
        "value": best and best.score.value,
        "value_low": best and best.score.low,
        "value_high": best and best.score.high,
        "sample_size": chosen.measurements if chosen else 0,
        "alternatives": json.dumps(data["choices"][1:], ensure_ascii=False),
        "conditions": json.dumps(
            {
                "time_range": time_range,
                "sequence_length": answer.question.sequence_length,
                "scenario": answer.question.scenario,
                "runs": chosen.runs if chosen else 0,
                **(data["choices"][0]["conditions"] if chosen else {}),
                "refused": data["refused"],
            },
            ensure_ascii=False,
        ),
    }


def _answer_data(answer: Answer) -> dict[str, Any]:
    return {
        **attrs.asdict(answer.question),
        "unit": answer.objective.unit,
        "is_enough_data": bool(answer.choices),
        "choices": [_choice_data(one) for one in answer.choices],
        "refused": [
            {**_way(one.candidate), "reason": one.reason, **_sample(one.candidate)}
            for one in answer.refused
        ],
    }


def _choice_data(choice: Choice) -> dict[str, Any]:
    one = choice.candidate
    return {
        **_way(one),
        **attrs.asdict(choice.score),
        "is_as_good": choice.is_as_good,
        **_sample(one),
        "conditions": {
            "browser_version": one.browser_version,
            "engine_version": one.engine_version,
            "device_type": one.device_type,
            "adapter": one.adapter,
            "threads": list(one.threads),
            "relative_l2": one.relative_l2,
            "first": one.first and iso(one.first),
            "last": one.last and iso(one.last),
        },
    }


def _way(one: Candidate) -> dict[str, Any]:
    return {
        "backend": one.backend,
        "engine": one.engine,
        "browser": one.browser,
        "precision": one.precision,
        "batch_size": one.batch_size,
    }


def _sample(one: Candidate) -> dict[str, Any]:
    return {
        "measurements": one.measurements,
        "runs": one.runs,
        "tries": one.tries,
        "successes": one.successes,
    }


def _finite(value: Any) -> Any:
    """Return JSON data without infinities: None, as they are no numbers there."""
    if isinstance(value, float):
        return value if abs(value) < float("inf") else None
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return value
