# SPDX-License-Identifier: Apache-2.0
"""Rules: which events they are about, and what is said of one that is wrong."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from accelerate_notify.alerts import about, latest, mismatch
from accelerate_notify.notifier import Notifier
from accelerate_notify.settings import KNOWN
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from accelerate_core.assembly import make_connectors, make_host
from accelerate_core.config import parse
from accelerate_core.delivering.message import SEVERITIES
from accelerate_core.errors import ConfigError
from accelerate_core.testing import samples
from accelerate_core.types import Target

from .office import NOW, RENDERER, Recorder, fixed, regression, settings

RUN = samples.run_info(ci={"branch": "main"})
EVENTS = {event.kind: event for event in samples.every_event()}


def fits(event: Any, **rule: Any) -> bool:
    (one,) = settings({"on": [event.kind], **rule}).named()
    return mismatch(one, about(event, lambda _: RUN)) is None


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, True),
        ({"model": "bert"}, True),
        ({"model": "bert*"}, True),
        ({"model": ["tiny", "b?rt"]}, True),
        ({"model": "Bert"}, False),
        ({"model": "ber"}, False),
        ({"target": "webgpu:chromium"}, True),
        ({"target": "webgpu/ort:chromium"}, True),
        ({"target": "webgpu/plan:chromium"}, False),
        ({"target": "webgpu:*"}, True),
        ({"target": "webgpu"}, True),
        ({"target": ["cpu", "webgpu:*"]}, True),
        ({"browser": "chromium"}, True),
        ({"browser": ["firefox", "webkit*"]}, False),
        ({"metric": "latency_ms"}, True),
        ({"metric": "memory*"}, False),
        ({"branch": "main"}, True),
        ({"branch": ["release/*"]}, False),
        ({"status": "open"}, True),
        ({"status": "fixed"}, False),
        ({"change": "50%"}, True),
        ({"change": 0.51}, False),
        ({"model": "bert", "metric": "latency_ms", "change": "10%"}, True),
        ({"model": "bert", "metric": "latency_ms", "change": "60%"}, False),
    ],
)
def test_all_that_is_said_has_to_be_so(where: dict[str, Any], expected: bool) -> None:
    assert fits(regression(), where=where) is expected


def test_a_gain_is_a_change_too_and_an_unknown_one_is_none() -> None:
    assert fits(regression(change=-0.5), where={"change": "40%"})
    assert not fits(regression(change=None), where={"change": "0%"})
    assert not fits(regression(target="no target at all"), where={"target": "webgpu:*"})


@given(st.sampled_from(SEVERITIES[1:]), st.sampled_from(SEVERITIES[1:]))
def test_severity_is_at_least_that_of_the_rule(least: str, severity: str) -> None:
    expected = SEVERITIES.index(severity) >= SEVERITIES.index(least)
    assert fits(regression(severity=severity), severity=least) is expected
    # Who was told that it broke is told that it is mended.
    assert fits(fixed(regression(severity=severity)), severity=least) is expected


def test_runs_fit_by_what_failed_in_them() -> None:
    failed, finished = EVENTS["run_failed"], EVENTS["run_finished"]
    assert fits(failed, where={"model": "minilm", "browser": "chromium"}, severity="critical")
    assert not fits(failed, where={"model": "bert"})
    assert fits(finished, where={"target": "webgpu:*"})
    assert fits(EVENTS["worker_lost"], where={"target": "cpu"})
    assert fits(EVENTS["measurement_stored"], where={"model": "minilm"})
    assert fits(EVENTS["run_started"], where={"model": "minilm"})


@pytest.mark.parametrize("kind", sorted(KNOWN))
def test_every_kind_knows_what_a_rule_may_say_of_it(kind: str) -> None:
    event: Any = regression() if kind == "regression" else EVENTS[kind]
    if kind == "worker_lost":
        event = attrs.evolve(event, target=Target.parse("webgpu:chromium"))
    if hasattr(event, "run"):
        event = attrs.evolve(event, run=RUN)
    if hasattr(event, "summary"):
        event = attrs.evolve(event, summary=attrs.evolve(event.summary, run=RUN))
    alert = about(event, lambda _: RUN)
    assert alert.cause and all(getattr(alert, word) for word in KNOWN[kind])


@hypothesis_settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 9)), min_size=1))
def test_the_latest_of_each_is_shown_the_worst_first(events: list[tuple[int, bool, int]]) -> None:
    alerts = [
        about(
            regression(
                f"r-{name}",
                run_id=f"run-{number}",
                at=NOW.replace(minute=number),
                severity=SEVERITIES[2 + minute % 3],
                status="open" if is_open else "fixed",
            ),
            lambda _: None,
        )
        for number, (name, is_open, minute) in enumerate(events[:50])
    ]
    shown = latest(alerts)
    assert latest(alerts[::-1]) == shown, "whichever comes first"
    assert {one.subject for one in shown} == {one.subject for one in alerts}
    for one in shown:
        assert one.at == max(other.at for other in alerts if other.subject == one.subject)
    ranks = [SEVERITIES.index(one.message.severity) for one in shown]
    assert ranks == sorted(ranks, reverse=True)


def test_a_rule_says_why_it_is_not_about_something() -> None:
    (rule,) = settings({"where": {"model": ["tiny", "vit*"]}}).named()
    alert = about(regression(), lambda _: None)
    assert mismatch(rule, alert) == "model: bert is not tiny or vit*"
    (rule,) = settings({"where": {"branch": "main"}, "on": ["regression"]}).named()
    assert mismatch(rule, alert) == "branch: unknown is not main"
    (rule,) = settings({"severity": "critical"}).named()
    assert mismatch(rule, alert) == "severity: major is less than critical"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"where": {"modell": "bert"}}, "unknown key"),
    ({"where": {"browser": "chromum"}}, "'chromum' is no browser"),
    ({"where": {"target": "web gpu"}}, "is not a target"),
    ({"where": {"model": 3}}, "3 is not allowed"),
    ({"where": {"status": "closed"}}, "'closed' is not allowed"),
    ({"where": {"change": "much"}}, "is not a share"),
    ({"where": {"metric": "latency_ms"}}, "where.metric: that is not known of run_failed"),
    ({"on": ["regresion"]}, "'regresion' is not allowed"),
    ({"on": []}, "on"),
    ({"to": []}, "to"),
    ({"severity": "bad"}, "'bad' is not allowed"),
    ({"quiet_hours": "22-7"}, "is no part of a day"),
    ({"quiet_days": ["sunday"]}, "'sunday' is not allowed"),
    ({"quiet_days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]}, "every day is quiet"),
    ({"digest": ["9:00"]}, "is no time of a day"),
    ({"digest": ["09:00"], "throttle": "1h"}, "digest gathers everything"),
    ({"throttle": "31 days"}, "is not a length of time"),
    ({"throttle": 31 * 86400}, "throttle"),
    ({"on": ["run_failed"], "escalate": {"after": "2h", "to": ["mail"]}}, "stays open"),
    ({"escalate": {"after": "2h"}}, "this key is missing"),
    ({"group": "all"}, "'all' is not allowed"),
]


@pytest.mark.parametrize(("rule", "said"), WRONG)
def test_what_is_wrong_with_a_rule_is_said(rule: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        settings({"on": ["regression", "run_failed"], **rule})
    assert caught.value.info.where and "rules" in caught.value.info.where


def test_what_is_wrong_with_all_rules_is_said() -> None:
    with pytest.raises(ConfigError, match="two rules are called 'a'"):
        settings({"name": "a"}, {"name": "a"})
    with pytest.raises(ConfigError, match="two rules are called 'rule 2'"):
        settings({"name": "rule 2"}, {})
    with pytest.raises(ConfigError, match="none is called 'Europe/Berlon'") as caught:
        settings({}, timezone="Europe/Berlon")
    assert "Europe/Berlin" in (caught.value.info.hint or "")
    with pytest.raises(ConfigError):
        settings()


FILE: dict[str, Any] = {
    "connectors": [
        {"use": "notify", "rules": [{"to": ["pager"]}]},
        {"use": "notify", "id": "more", "rules": [{"to": ["notify"]}]},
    ]
}


def test_who_is_not_in_the_file_cannot_be_told() -> None:
    config = parse(FILE, where="file.toml")
    with pytest.raises(ConfigError, match="rule 1: no connector that can be told") as caught:
        make_connectors(config, make_host(config))
    assert caught.value.info.accepted == ("none is in the file",)
    assert caught.value.info.where == "file.toml [[connectors]] number 1 (notify)"


def test_a_rule_tells_whom_it_names_now_and_later() -> None:
    rules = settings({"to": ["slack"]}, {"escalate": {"after": "1h", "to": ["oncall"]}})
    assert Notifier(rules, RENDERER).tells == {"slack", "oncall"}


def test_only_who_can_be_told_is_told() -> None:
    class Live(Recorder):
        is_live = True

    def met(to: str, **more: Any) -> None:
        notifier = Notifier(settings({"to": [to], **more}), RENDERER)
        others: dict[str, Any] = {"slack": Recorder(), "exporter": Live()}
        notifier.meet("notify", others | {"more": Notifier(settings({}), RENDERER)})

    met("slack")
    for name in ("notify", "more", "exporter", "slak"):
        with pytest.raises(ConfigError, match=f"'{name}'") as caught:
            met(name)
        assert caught.value.info.accepted == ("slack",)
    with pytest.raises(ConfigError, match="'oncall'"):
        met("slack", escalate={"after": "2h", "to": ["oncall"]})
