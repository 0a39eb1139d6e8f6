# SPDX-License-Identifier: Apache-2.0
"""What rules look at: events, by the words people use for them. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import attrs

from accelerate_core.delivering.message import SEVERITIES, Message, message_of
from accelerate_core.errors import ConfigError
from accelerate_core.events import (
    Event,
    MeasurementStored,
    Regression,
    RunFailed,
    RunFinished,
    RunStarted,
    WorkerGone,
)
from accelerate_core.types import Cell, RunInfo, Target

from .settings import Rule, several

#: Tells of a run by its id; None where nobody knows it.
Runs = Callable[[str], RunInfo | None]


@attrs.frozen(kw_only=True)
class Alert:
    """Hold what rules and templates know of one event. A word nobody knows is empty."""

    key: str  #: of the event
    kind: str
    run_id: str
    at: datetime
    subject: str  #: what it is about: a later alert about it takes its place
    severity: str  #: by which rules choose
    status: str = "open"  #: or "fixed"
    message: Message  #: what people are told of the event alone
    cause: str  #: equal where one message is enough
    cause_text: str = ""  #: in words
    regression: str = ""  #: its id
    model: tuple[str, ...] = ()
    target: tuple[str, ...] = ()
    browser: tuple[str, ...] = ()
    metric: tuple[str, ...] = ()
    branch: tuple[str, ...] = ()
    change: float | None = None  #: after / before - 1

    @property
    def title(self) -> str:
        """The message's title, one line."""
        return self.message.title

    @property
    def text(self) -> str:
        """The message's text."""
        return self.message.text


def about(event: Event, runs: Runs) -> Alert:
    """Return the alert of an event of a kind that rules may be about."""
    message = attrs.evolve(message_of(event), attachments=())
    more: dict[str, Any] = {"severity": message.severity}
    run: RunInfo | None = None
    if isinstance(event, Regression):
        more |= _of_regression(event)
    elif isinstance(event, RunStarted):
        run, cells = event.run, event.cells
        more |= _of_cells(cells) | {"cause": f"{event.kind}:{run.name or run.id}"}
    elif isinstance(event, RunFinished | RunFailed):
        run = event.summary.run
        wanted = [
            one
            for one in event.summary.measurements
            if one.is_failure or isinstance(event, RunFinished)
        ]
        error = event.error.kind if isinstance(event, RunFailed) and event.error else ""
        more |= _of_cells(one.cell for one in wanted)
        more |= {"cause": f"{event.kind}:{run.name or run.id}:{error}"}
    elif isinstance(event, MeasurementStored):
        one = event.measurement
        more |= _of_cells((one.cell,))
        more |= {"cause": f"measurement:{one.cell.model}:{one.cell.target}:{one.status}"}
    elif isinstance(event, WorkerGone):
        error = event.error.kind if event.error else ""
        more |= _of_targets((event.target,))
        more |= {"cause": f"{event.kind}:{event.target}:{error}"}
    run = run or runs(event.run_id)
    if run is not None and (branch := run.ci.get("branch")):
        more["branch"] = (str(branch),)
    return Alert(
        key=event.key,
        kind=event.kind,
        run_id=event.run_id,
        at=event.at,
        subject=event.subject if isinstance(event, Regression) else event.key,
        message=message,
        **more,
    )


def mismatch(rule: Rule, alert: Alert) -> str | None:
    """Return why a rule is not about an alert, in words; None when it is."""
    if alert.kind not in rule.on:
        return f"it is about {' and '.join(rule.on)}, not {alert.kind}"
    if rule.severity and rank(alert.severity) < rank(rule.severity):
        return f"severity: {alert.severity} is less than {rule.severity}"
    where = rule.where
    for word in ("model", "browser", "metric", "branch"):
        patterns, values = several(getattr(where, word)), getattr(alert, word)
        if patterns and not any(fnmatch.fnmatchcase(v, p) for v in values for p in patterns):
            return f"{word}: {_listed(values)} is not {_listed(patterns)}"
    wanted = several(where.target)
    if wanted and not any(_covers(one, value) for one in wanted for value in alert.target):
        return f"target: {_listed(alert.target)} is not {_listed(wanted)}"
    if where.status not in (None, alert.status):
        return f"status: {alert.status} is not {where.status}"
    if where.change is not None and (alert.change is None or abs(alert.change) < where.change):
        change = "unknown" if alert.change is None else f"{alert.change:+.1%}"
        return f"change: {change} is less than {where.change:.1%}"
    return None


def rank(severity: str) -> int:
    """Return a number that is higher for what is worse."""
    return SEVERITIES.index(severity)


def latest(alerts: Iterable[Alert]) -> tuple[Alert, ...]:
    """Return the latest alert about each subject, the worst first."""
    last = {alert.subject: alert for alert in sorted(alerts, key=lambda one: one.at)}
    worst = sorted(last.values(), key=lambda one: (-rank(one.message.severity), one.at, one.key))
    return tuple(worst)


def _of_regression(event: Regression) -> dict[str, Any]:
    known = event.severity if event.severity in SEVERITIES else "major"
    try:
        targets = _of_targets((Target.parse(event.target),))
    except ConfigError:
        targets = {}
    return targets | {
        "severity": known,
        "status": event.status,
        "cause": event.cause_id or event.subject,
        "cause_text": event.cause or "",
        "regression": event.id,
        "model": (event.model,) if event.model else (),
        "metric": (event.metric,),
        "change": event.change,
    }


def _of_cells(cells: Iterable[Cell]) -> dict[str, Any]:
    known = list(cells)
    models = tuple(dict.fromkeys(cell.model for cell in known))
    return {"model": models} | _of_targets(cell.target for cell in known)


def _of_targets(targets: Iterable[Target]) -> dict[str, Any]:
    known = list(dict.fromkeys(targets))
    browsers = tuple(dict.fromkeys(one.browser for one in known if one.browser))
    return {"target": tuple(map(str, known)), "browser": browsers}


def _covers(wanted: str, value: str) -> bool:
    return Target.parse(wanted).covers(Target.parse(value))


def _listed(values: Sequence[str]) -> str:
    return " or ".join(values[:5]) + (" or ..." if len(values) > 5 else "") or "unknown"
