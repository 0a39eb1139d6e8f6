# SPDX-License-Identifier: Apache-2.0
"""What is told when: groups, throttling, quiet hours, digests, escalation; time is injected.

Every event and every timer is delivered twice (`Office`), as after a process that died.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import attrs
import pytest
from accelerate_duckdb.store import DuckDbStore
from accelerate_notify.stored import KEPT
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from accelerate_core.delivering.outbox import StoredOutbox
from accelerate_core.errors import ConnectorError, ErrorInfo
from accelerate_core.events import Notification
from accelerate_core.memory_store import MemoryStore
from accelerate_core.testing import samples

from .office import NOW, Office, Recorder, fixed, regression, titles

Open = Callable[..., Office]
EVENTS = {event.kind: event for event in samples.every_event()}


def test_alerts_of_one_cause_are_one_message(office: Open) -> None:
    desk = office({})
    (message,) = desk.tell(regression("a"), regression("b", severity="critical"), regression("c"))
    assert message.title == "3 regressions: Chromium 156 -> 157"
    assert message.to == ("slack",) and message.severity == "critical"
    assert message.rows[0][0].startswith("latency of b became worse")
    assert len(message.of) == 3 and message.header == ("What", "Severity", "When")
    assert ("Cause", "Chromium 156 -> 157") in message.facts and ("Rule", "rule 1") in message.facts


def test_alerts_of_several_causes_are_several_messages(office: Open) -> None:
    found = office({}).tell(
        regression("a"), regression("b", cause_id="engine", cause="engine 1 -> 2"), regression("c")
    )
    assert titles(found) == [
        "2 regressions: Chromium 156 -> 157",
        "latency of b became worse: 10 → 15",
    ]


@pytest.mark.parametrize(("group", "count"), [("cause", 2), ("run", 1), ("event", 3)])
def test_a_rule_says_what_is_one_message(office: Open, group: str, count: int) -> None:
    alone = regression("c", cause_id=None, cause=None)
    found = office({"group": group}).tell(regression("a"), regression("b"), alone)
    assert len(found) == count


def test_one_alert_is_told_as_it_would_be_without_rules(office: Open) -> None:
    (message,) = office({}).tell(regression(link="https://ci/1"))
    assert message.title == "latency of r-1 became worse: 10 → 15"
    assert message.link == "https://ci/1"
    assert ("Change", "+50.0%") in message.facts


def test_what_comes_while_a_message_waits_joins_it(office: Open) -> None:
    desk = office({"wait": "10m"})
    assert desk.tell(regression("a")) == [] and desk.wait(minutes=9) == []
    assert desk.tell(regression("b")) == []
    assert titles(desk.wait(minutes=1)) == ["2 regressions: Chromium 156 -> 157"]
    assert desk.next_due() is None


def test_what_was_told_before_it_was_acknowledged_is_not_told_again(office: Open) -> None:
    desk = office({"wait": "10m"})
    desk.tell(regression("a"))
    # It joins what is due just now; the process dies, and the timer is older than the event.
    late = regression("b")
    desk.notifier.deliver(late)
    assert titles(desk.wait(minutes=10)) == ["2 regressions: Chromium 156 -> 157"]
    assert desk.tell(late) == [] and desk.wait(days=1) == []


def test_one_cause_is_told_at_most_so_often(office: Open) -> None:
    desk = office({"throttle": "1h"})
    assert len(desk.tell(regression("a"))) == 1
    desk.wait(minutes=10)
    assert desk.tell(regression("b")) == []
    desk.wait(minutes=10)
    assert desk.tell(regression("c")) == []
    # Another cause is not held back.
    assert len(desk.tell(regression("d", cause_id="engine"))) == 1
    (message,) = desk.wait(minutes=40)
    assert message.title == "2 regressions: Chromium 156 -> 157"
    assert desk.now - NOW == timedelta(hours=1)
    desk.wait(hours=2)
    assert len(desk.tell(regression("e"))) == 1


ACTIONS = ("wait", "wait", "wait", "sleep", "clock back")
RULES = st.one_of(
    st.fixed_dictionaries(
        {"wait": st.sampled_from([0, 300]), "throttle": st.sampled_from([0, 3600])}
    ),
    st.fixed_dictionaries({"digest": st.sampled_from([["09:00"], ["02:30", "sun 23:00"]])}),
)
TIMES = st.fixed_dictionaries(
    {},
    optional={
        "quiet_hours": st.sampled_from(["22:00-07:00", "02:30-03:00"]),
        "quiet_days": st.just(["sat", "sun"]),
        "urgent": st.just("critical"),
    },
)


@hypothesis_settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(ACTIONS),
            st.integers(0, 600),
            st.integers(0, 2),
            st.sampled_from(["major", "critical"]),
        ),
        max_size=15,
    ),
    RULES,
    TIMES,
    # The clock in Berlin is put back in the night after the second, forward in the other's.
    st.sampled_from([NOW, NOW.replace(month=10, day=24), NOW.replace(month=3, day=28)]),
)
def test_every_event_is_told_once_when_its_rule_says(
    steps: list[tuple[str, int, int, str]],
    how: dict[str, Any],
    times: dict[str, Any],
    start: datetime,
) -> None:
    desk = Office(MemoryStore(), {**how, **times}, timezone="Europe/Berlin")
    desk.now = start
    (rule,) = desk.notifier._rules.values()
    quiet = rule.quiet(desk.notifier._zone)
    found: dict[str, tuple[int, str, datetime]] = {}
    for number, (action, minutes, cause, severity) in enumerate(steps):
        if action == "clock back":
            desk.now -= timedelta(minutes=minutes)
        else:
            getattr(desk, action)(minutes=minutes)
        event = regression(f"r-{number}", cause_id=f"c-{cause}", severity=severity, at=desk.now)
        found[event.key] = cause, severity, desk.now
        desk.tell(event)
    desk.wait(days=9)
    told = [key for one in desk.messages for key in one.of]
    assert sorted(told) == sorted(found) and desk.next_due() is None
    is_steady = "clock back" not in {step[0] for step in steps}
    causes: dict[int, list[datetime]] = {}
    for one in desk.messages:
        alerts = [found[key] for key in one.of]
        if rule.urgent and "critical" in {severity for _, severity, _ in alerts}:
            assert not is_steady or max(at for _, _, at in alerts) == one.at
            continue
        assert quiet.loud_from(one.at) == one.at
        if not rule.digest:
            (cause,) = {cause for cause, _, _ in alerts}
            causes.setdefault(cause, []).append(one.at)
    for moments in causes.values() if is_steady else ():
        pauses = [after - before for before, after in itertools.pairwise(moments)]
        assert all(pause >= timedelta(seconds=rule.throttle) for pause in pauses)


def test_a_clock_that_was_wrong_keeps_nobody_from_being_told(office: Open) -> None:
    desk = office({"throttle": "1h"})
    desk.now += timedelta(days=365)
    assert len(desk.tell(regression("a"))) == 1
    desk.now -= timedelta(days=365)
    assert desk.tell(regression("b"), regression("c")) == []
    assert titles(desk.wait(hours=1)) == ["2 regressions: Chromium 156 -> 157"]


def test_a_rule_that_waits_less_than_before_brings_forward_what_waits(
    database: DuckDbStore,
) -> None:
    desk = Office(database, {"name": "ours", "wait": "24h"})
    desk.tell(regression("a"))
    desk.restart({"name": "ours", "wait": "10m"})
    desk.tell(regression("b"))
    assert titles(desk.wait(minutes=10)) == ["2 regressions: Chromium 156 -> 157"]
    assert desk.wait(days=2) == []


@pytest.mark.parametrize("state", ["dropped", "dead"])
def test_what_comes_after_a_timer_is_over_is_told_without_it(
    database: DuckDbStore, state: str
) -> None:
    desk = Office(database, {"wait": "24h"})
    (timer,) = desk.notifier.deliver(regression("a")).events  # type: ignore[union-attr]
    StoredOutbox(database).put(timer, ("notify",), NOW)
    with database.transaction() as transaction:
        transaction.execute("UPDATE outbox_deliveries SET state = ?", [state])
    desk.tell(regression("b"))
    (message,) = desk.wait(days=1)
    assert message.title.startswith("latency of b became worse")
    # What was given up can be tried again; what was dropped is forgotten some day.
    desk.now += timedelta(days=40)
    desk.restart()
    groups = database.query("SELECT count(*) FROM notify_groups WHERE told_at IS NULL").rows
    assert groups == ((int(state == "dead"),),)


def test_nobody_is_told_in_quiet_hours(office: Open) -> None:
    rule = {"quiet_hours": "22:00-07:00", "quiet_days": ["sat", "sun"]}
    desk = office(rule, timezone="Europe/Berlin")
    assert len(desk.tell(regression("a"))) == 1  # Wednesday, 13:00 in Berlin
    desk.wait(hours=9)  # 22:00
    assert desk.tell(regression("b")) == []
    assert desk.tell(regression("c")) == []
    (preview,) = desk.notifier.preview(regression("d"))
    assert preview.due_at == desk.next_due() == NOW.replace(day=26, hour=6)
    (message,) = desk.wait(hours=9)
    assert message.title.startswith("2 regressions") and message.at == NOW.replace(day=26, hour=6)


def test_a_process_that_starts_in_quiet_hours_does_not_tell_what_was_due_before(
    office: Open,
) -> None:
    desk = office({"wait": "10m", "quiet_hours": "13:00-14:00"})
    desk.tell(regression())
    assert desk.sleep(minutes=90) == []  # due at 12:10, seen at 13:30
    assert desk.next_due() == NOW.replace(hour=14)
    assert len(desk.wait(minutes=30)) == 1


def test_what_is_urgent_waits_for_nothing_and_takes_with_it_what_waits(office: Open) -> None:
    desk = office({"quiet_hours": "11:00-18:00", "urgent": "critical"})
    assert desk.tell(regression("a")) == []
    (message,) = desk.tell(regression("b", severity="critical"))
    assert message.title.startswith("2 regressions")
    assert desk.wait(days=1) == []


def test_urgent_news_is_not_throttled(office: Open) -> None:
    desk = office({"throttle": "1h", "urgent": "critical"})
    desk.tell(regression("a"))
    assert len(desk.tell(regression("b", severity="critical"))) == 1


def test_a_digest_gathers_everything_until_its_time(office: Open) -> None:
    rule = {"digest": ["09:00", "17:00"], "on": ["regression", "run_failed", "worker_lost"]}
    desk = office(rule)
    assert desk.tell(regression("a"), EVENTS["run_failed"], EVENTS["worker_lost"]) == []
    desk.wait(hours=1)
    desk.tell(regression("b"))
    (message,) = desk.wait(hours=4)
    assert message.title == "Digest: 1 failed run, 2 regressions, 1 lost worker"
    assert message.at == NOW.replace(hour=17) and len(message.rows) == 4
    assert "2. latency of a became worse: 10 → 15: Chromium 156 -> 157" in message.text
    desk.tell(regression("c"))
    (message,) = desk.wait(hours=16)
    assert message.title == "Digest: 1 regression" and message.at == NOW.replace(day=26, hour=9)


def test_a_weekly_digest_lets_pass_what_is_urgent(office: Open) -> None:
    desk = office({"digest": ["mon 08:00"], "urgent": "critical"})
    assert desk.tell(regression("a")) == []
    (message,) = desk.tell(regression("b", severity="critical"))
    assert message.title.startswith("latency of b")
    (message,) = desk.wait(days=5)
    assert message.title == "Digest: 1 regression" and message.at.weekday() == 0


def test_an_event_is_told_to_each_by_the_first_rule_that_names_it(office: Open) -> None:
    desk = office(
        {"name": "critical", "severity": "critical", "to": ["slack"]},
        {"name": "rest", "to": ["slack", "mail"]},
    )
    found = desk.tell(regression("a", severity="critical"))
    assert {(one.to, one.facts[-1]) for one in found} == {
        (("slack",), ("Rule", "critical")),
        (("mail",), ("Rule", "rest")),
    }
    (message,) = desk.tell(regression("b", cause_id="other"))
    assert message.to == ("slack", "mail")


def test_what_goes_to_others_is_another_message(office: Open) -> None:
    desk = office(
        {"name": "critical", "severity": "critical", "to": ["slack"]},
        {"name": "rest", "to": ["slack", "mail"], "wait": "10m"},
    )
    desk.tell(regression("a"), regression("b", severity="critical"))
    assert [(one.to, len(one.of)) for one in desk.wait(minutes=10)] == [
        (("slack", "mail"), 1),
        (("mail",), 1),
    ]


def test_what_is_fixed_before_it_is_told_is_shown_as_fixed(office: Open) -> None:
    desk = office({"wait": "1h"})
    one = regression("a")
    desk.tell(one)
    desk.tell(fixed(one, run_id="run-2", at=NOW + timedelta(minutes=5)))
    (message,) = desk.wait(hours=1)
    assert message.severity == "good" and "is well again" in message.title


def test_what_stays_open_is_told_to_more_people(office: Open) -> None:
    rule = {"escalate": {"after": "2h", "to": ["oncall"]}}
    desk = office(rule)
    one, other = regression("a"), regression("b")
    assert len(desk.tell(one, other)) == 1
    desk.wait(hours=1)
    desk.tell(fixed(one, run_id="run-2", at=desk.now))
    assert desk.wait(minutes=59) == []
    (message,) = desk.wait(minutes=1)
    assert message.to == ("oncall",)
    assert message.title == "Still open after 2 h: latency of b became worse: 10 → 15"
    assert desk.wait(days=3) == []


def test_what_is_fixed_in_time_is_not_told_again(office: Open) -> None:
    desk = office({"escalate": {"after": "2h", "to": ["oncall"]}})
    one = regression("a")
    desk.tell(one)
    desk.wait(hours=1)
    desk.tell(fixed(one, run_id="run-2", at=desk.now))
    assert desk.wait(days=1) == []


@pytest.mark.parametrize(
    ("status", "is_told"),
    [("open", True), ("acknowledged", False), ("fixed", False), ("wont_fix", False)],
)
def test_people_say_by_a_command_that_somebody_looks_at_it(
    database: DuckDbStore, status: str, is_told: bool
) -> None:
    desk = Office(database, {"escalate": {"after": "2h", "to": ["oncall"]}})
    desk.tell(regression("a"))
    database.save_run(samples.run_info())
    values = {
        "id": "a",
        "detected_at": NOW.replace(tzinfo=None),
        "updated_at": NOW.replace(tzinfo=None),
        "series_key": "a",
        "machine": "m",
        "metric": "latency_ms",
        "model_name": "bert",
        "platform": "webgpu",
        "precision": "fp32",
        "batch_size": 1,
        "changed_at": NOW.replace(tzinfo=None),
        "before": 10.0,
        "after": 15.0,
        "change": 0.5,
        "confidence": 0.99,
        "is_worse": True,
        "severity": "major",
        "status": status,
        "first_bad_run": "run-1",
        "was_measured_again": True,
        "evidence": "{}",
    }
    with database.transaction() as transaction:
        transaction.execute(
            f"INSERT INTO performance_regressions ({', '.join(values)})"
            f" VALUES ({', '.join('?' for _ in values)})",
            list(values.values()),
        )
    assert bool(desk.wait(hours=2)) is is_told


def test_runs_that_fail_alike_have_one_cause(office: Open) -> None:
    desk = office({"throttle": "24h"})
    failed: Any = EVENTS["run_failed"]
    desk.tell(failed)
    run = attrs.evolve(failed.summary.run, id="run-2")
    again = attrs.evolve(failed, run_id="run-2", summary=attrs.evolve(failed.summary, run=run))
    assert desk.tell(again) == []
    other = attrs.evolve(again, run_id="run-3", error=ErrorInfo(kind="StoreError", message="full"))
    assert len(desk.tell(other)) == 1


def test_what_waits_outlives_the_process_and_its_rule(database: DuckDbStore) -> None:
    desk = Office(database, {"name": "old", "wait": "1h"})
    desk.tell(regression("a"))
    desk.restart({"name": "old", "wait": "1h"})
    desk.tell(regression("b"))
    desk.restart({"name": "new", "to": ["mail"]})
    (message,) = desk.wait(hours=1)
    assert message.title.startswith("2 regressions") and message.to == ("slack",)


def test_a_receiver_that_is_gone_is_said_and_not_forgotten(database: DuckDbStore) -> None:
    desk = Office(database, {"name": "old", "wait": "1h", "to": ["slack"]})
    desk.tell(regression("a"))
    desk.restart({"name": "new", "to": ["mail"]})
    desk.notifier.meet("notify", {"mail": Recorder()})
    with pytest.raises(ConnectorError, match="nobody of slack") as caught:
        desk.wait(hours=1)
    assert caught.value.info.retryable is False and caught.value.info.hint


def test_two_connectors_with_rules_keep_their_groups_apart(database: DuckDbStore) -> None:
    first, second = Office(database, {"wait": "1h"}), Office(database, {"wait": "1h"})
    second.notifier.meet("more", {"slack": Recorder()})
    second.notifier.attach(database)
    first.tell(regression("a"))
    (alarm,) = second.notifier.deliver(regression("a")).events  # type: ignore[union-attr]
    assert isinstance(alarm, Notification) and alarm.to == ("more",)
    assert len(first.wait(hours=1)) == 1


def test_the_history_is_forgotten_some_day(database: DuckDbStore) -> None:
    desk = Office(database, {})
    desk.tell(regression("a"))
    count = "SELECT (SELECT count(*) FROM notify_groups) + (SELECT count(*) FROM notify_alerts)"
    desk.restart()
    assert database.query(count).rows == ((2,),)
    desk.now += KEPT + timedelta(days=1)
    desk.restart()
    assert database.query(count).rows == ((0,),)


def test_it_says_what_is_lost_without_a_store() -> None:
    desk = Office(MemoryStore(), {"name": "now"}, {"name": "nights", "quiet_hours": "22:00-07:00"})
    assert desk.notifier.unkept() == ["what 'nights' lets wait"]


def test_a_branch_is_looked_up_where_the_run_is_stored(store: Any) -> None:
    store.save_run(samples.run_info(ci={"branch": "main"}))
    desk = Office(store, {"on": ["regression"], "where": {"branch": "main"}})
    assert len(desk.tell(regression("a"))) == 1
    assert desk.tell(regression("b", run_id="unknown", cause_id="other")) == []
