# SPDX-License-Identifier: Apache-2.0
"""From the words of `accel notify test` to what is to be made up; ConfigError for a wrong one."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence

from accelerate_core.config import Config
from accelerate_core.errors import ConfigError, did_you_mean
from accelerate_core.types import Target

from .sample import SEVERITIES, Sample
from .settings import KNOWN, Rule


def wanted(
    config: Config,
    rules: Sequence[Rule],
    *,
    kind: str | None = None,
    severity: str | None = None,
    model: str | None = None,
    target: str | None = None,
    metric: str | None = None,
    change: str | None = None,
    is_fixed: bool = False,
    branch: str | None = None,
) -> Sample:
    """Return what is to be made up; what is not said fits the rules and the file."""
    kind = _kind(kind, rules)
    said = {"model": model, "metric": metric, "change": change, "status": is_fixed or None}
    for word in sorted(word for word, value in said.items() if value is not None):
        if word not in KNOWN[kind]:
            option = "--fixed" if word == "status" else f"--{word}"
            raise ConfigError(f"{option}: that is not known of {kind}", where=f"--on {kind}")
    return Sample(
        kind=kind,
        severity=_severity(kind, severity),
        model=model or _first_model(config),
        target=_target(target or _first_target(config)),
        metric=metric or "latency_ms",
        change=_change(change or "50%"),
        is_fixed=is_fixed,
        branch=branch,
    )


def _kind(kind: str | None, rules: Sequence[Rule]) -> str:
    """Return the kind that is wanted, or the one that fits these rules."""
    if kind is None:
        usual = "regression"
        return usual if any(usual in rule.on for rule in rules) else rules[0].on[0]
    if kind not in KNOWN:
        raise ConfigError(
            f"rules are about no {kind!r}",
            where="--on",
            accepted=tuple(KNOWN),
            hint=did_you_mean(kind, KNOWN),
        )
    return kind


def _severity(kind: str, severity: str | None) -> str:
    accepted = SEVERITIES[kind]
    if severity not in (None, *accepted):
        raise ConfigError(
            f"a {kind} is never {severity!r}",
            where="--severity",
            accepted=accepted,
            hint=did_you_mean(str(severity), accepted),
        )
    return severity or accepted[0]


def _change(text: str) -> float:
    number, size = (text[:-1], 100) if text.endswith("%") else (text, 1)
    with contextlib.suppress(ValueError):
        if -1 < (change := float(number) / size) < math.inf:
            return change
    raise ConfigError(f"{text!r} is no change", where="--change", accepted=("50%", "-20%", "0.5"))


def _target(text: str) -> Target:
    try:
        return Target.parse(text)
    except ConfigError as error:
        raise ConfigError(
            error.info.message,
            where="--target",
            accepted=error.info.accepted,
            hint=error.info.hint,
        ) from None


def _first_model(config: Config) -> str:
    return config.models[0].name if config.models else "bert"


def _first_target(config: Config) -> str:
    for benchmark in config.benchmarks:
        for target in benchmark.targets:
            return str(target).replace(":*", ":chromium")
    return "webgpu:chromium"
