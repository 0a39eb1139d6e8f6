# SPDX-License-Identifier: Apache-2.0
"""What a pipeline file says about rules. Everything wrong with one is said before a run starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args
from zoneinfo import ZoneInfo

import attrs
from attrs import validators

from accelerate_core.delivering.message import SEVERITIES
from accelerate_core.errors import ConfigError, did_you_mean
from accelerate_core.settings import Seconds, Share
from accelerate_core.types import BROWSERS, Target

from .times import DAYS, Day, Hours, Quiet, Weekly

Kind = Literal[
    "regression", "run_failed", "run_finished", "run_started", "measurement_stored", "worker_lost"
]
Level = Literal["info", "minor", "major", "critical"]
assert set(get_args(Level)) < set(SEVERITIES)

#: A name, or several; `*`, `?` and `[abc]` stand for what they do in names of files.
Patterns = str | tuple[str, ...]

_OF_CELLS = frozenset(("model", "target", "browser", "branch"))
#: What is known of each kind of event, by the words of `where`.
KNOWN: dict[str, frozenset[str]] = {
    "regression": _OF_CELLS | {"metric", "status", "change"},
    "run_failed": _OF_CELLS,
    "run_finished": _OF_CELLS,
    "run_started": _OF_CELLS,
    "measurement_stored": _OF_CELLS,
    "worker_lost": frozenset(("target", "browser", "branch")),
}
assert set(KNOWN) == set(get_args(Kind))

_LONGEST = Seconds(30 * 86400.0)


def several(value: str | Target | tuple[str, ...] | tuple[Target, ...] | None) -> tuple[str, ...]:
    """Return one or several as several, in words; none for None."""
    if value is None:
        return ()
    return tuple(map(str, value)) if isinstance(value, tuple) else (str(value),)


@attrs.frozen(kw_only=True)
class Where:
    """Say which events a rule is about; all that is said has to be so."""

    #: Models by name, as `"bert*"`; one or an array.
    model: Patterns | None = None
    #: Targets as in benchmarks; `"webgpu"` is every engine and every browser of it.
    target: Target | tuple[Target, ...] | None = None
    #: Browsers by name.
    browser: Patterns | None = None
    #: Metrics of regressions, as `"latency_ms"`.
    metric: Patterns | None = None
    #: Branches of the project, as CI names them.
    branch: Patterns | None = None
    #: Whether a regression was found or is gone.
    status: Literal["open", "fixed"] | None = None
    #: Least change of a regression, up or down.
    change: Share | None = None

    def __attrs_post_init__(self) -> None:
        for name in several(self.browser):
            if not set(name) & set("*?[") and name not in BROWSERS:
                raise ConfigError(
                    f"browser: {name!r} is no browser",
                    accepted=BROWSERS,
                    hint=did_you_mean(name, BROWSERS),
                )

    def said(self) -> frozenset[str]:
        """Return which words are used."""
        return frozenset(
            field.name for field in attrs.fields(Where) if getattr(self, field.name) is not None
        )


@attrs.frozen(kw_only=True)
class Escalation:
    """Say who is told as well when a regression stays open."""

    #: So long after the message; who acknowledges the regression is left alone.
    after: Seconds
    #: Ids of connectors.
    to: tuple[str, ...] = attrs.field(validator=validators.min_len(1))


@attrs.frozen(kw_only=True)
class Rule:
    """Say who is told of what, and when."""

    #: What messages and the history call it; by default "rule 1", "rule 2", ...
    name: str = ""
    #: Kinds of events.
    on: tuple[Kind, ...] = attrs.field(
        default=("regression", "run_failed"), validator=validators.min_len(1)
    )
    #: Of these only those.
    where: Where = Where()
    #: Least severity. A regression that is fixed has that which it had.
    severity: Level | None = None
    #: Ids of connectors of this file. An event is told to each by the first rule that names it.
    to: tuple[str, ...] = attrs.field(validator=validators.min_len(1))
    #: What becomes one message: alerts of one cause, all of a run, or each event on its own.
    group: Literal["cause", "run", "event"] = "cause"
    #: Wait so long for more of the same group. What a run finds at once is one group without.
    wait: Seconds = attrs.field(default=Seconds(0.0), validator=validators.le(_LONGEST))
    #: At most one message of a group in so long; what comes meanwhile is in the next.
    throttle: Seconds = attrs.field(default=Seconds(0.0), validator=validators.le(_LONGEST))
    #: Gather everything, and tell it in one message at these times: `["09:00"]`, `["mon 09:00"]`.
    digest: tuple[Weekly, ...] = ()
    #: Hours of each day in which messages wait.
    quiet_hours: Hours | None = None
    #: Days on which messages wait.
    quiet_days: tuple[Day, ...] = ()
    #: Least severity of what waits for nothing: no quiet hours, no throttle, no digest.
    urgent: Level | None = None
    #: Whom to tell when a regression stays open.
    escalate: Escalation | None = None

    def __attrs_post_init__(self) -> None:
        for kind in self.on:
            if missing := self.where.said() - KNOWN[kind]:
                raise ConfigError(
                    f"where.{min(missing)}: that is not known of {kind}",
                    accepted=tuple(sorted(KNOWN[kind])),
                    hint="Make a rule of its own for it.",
                )
        if len(set(self.quiet_days)) == len(DAYS):
            raise ConfigError("quiet_days: every day is quiet, so nobody would be told")
        if self.digest and (self.wait or self.throttle or self.group != "cause"):
            raise ConfigError("digest gathers everything: wait, throttle and group do nothing")
        if self.escalate and "regression" not in self.on:
            raise ConfigError('escalate: only "regression" stays open')

    @property
    def told(self) -> tuple[str, ...]:
        """The ids of all whom it ever tells."""
        return (*self.to, *(self.escalate.to if self.escalate else ()))

    def quiet(self, zone: ZoneInfo) -> Quiet:
        """Return when nobody is told."""
        days = frozenset(DAYS.index(day) for day in self.quiet_days)
        return Quiet(zone=zone, hours=self.quiet_hours, days=days)


@attrs.frozen(kw_only=True)
class NotifySettings:
    """Configure who is told of what, and when."""

    #: Rules, in `[[connectors.rules]]`; the order counts.
    rules: tuple[Rule, ...] = attrs.field(validator=validators.min_len(1))
    #: Whose clock quiet hours and digests go by: `"Europe/Berlin"`.
    timezone: str = "UTC"
    #: Folder with your own `alert.j2`, `group.j2`, `digest.j2` or `escalation.j2`.
    templates: Path | None = None

    def __attrs_post_init__(self) -> None:
        names = [rule.name for rule in self.named()]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"two rules are called {name!r}")
        _ = self.zone

    def named(self) -> Iterator[Rule]:
        """Yield the rules, each with a name."""
        for number, rule in enumerate(self.rules, 1):
            yield attrs.evolve(rule, name=rule.name or f"rule {number}")

    @property
    def zone(self) -> ZoneInfo:
        """The time zone; ConfigError when there is none of that name."""
        try:
            return ZoneInfo(self.timezone)
        except (KeyError, ValueError, OSError):
            from zoneinfo import available_timezones

            known = available_timezones()
            raise ConfigError(
                f"timezone: none is called {self.timezone!r}",
                accepted=("UTC", "Europe/Berlin", "America/New_York", "..."),
                hint=did_you_mean(self.timezone, known)
                or (None if known else "pip install tzdata"),
            ) from None
