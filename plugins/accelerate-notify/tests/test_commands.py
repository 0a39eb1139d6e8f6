# SPDX-License-Identifier: Apache-2.0
"""`accel notify`: rules on trial, a message that is sent as a test, and the history."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from accelerate_duckdb.store import DuckDbStore
from accelerate_notify.alerts import about
from accelerate_notify.sample import SEVERITIES, Sample
from accelerate_notify.settings import KNOWN

from accelerate_core.cli import main
from accelerate_core.delivering.outbox import StoredOutbox
from accelerate_core.testing.service import Answer, Request, Service, route

from .office import NOW, Office, fixed, regression

FILE = """
[[models]]
name = "tiny"
source = "package:accelerate_core/data/tiny_mlp.onnx"

[[connectors]]
use = "notify"

[[connectors.rules]]
name = "on call"
severity = "critical"
to = ["hook"]

[[connectors.rules]]
where = { model = "bert*" }
on = ["regression"]
to = ["hook"]
wait = "24h"

[[connectors.rules]]
name = "all"
to = ["hook"]

[[connectors]]
use = "teams"
id = "hook"
on = ["notification"]
url = "env:HOOK"
"""


class Workflow(Service):
    """Takes whatever is posted."""

    def __init__(self) -> None:
        super().__init__()
        self.posted: list[str] = []

    @route("POST", "/workflows/.*")
    def take(self, request: Request) -> Answer:
        self.posted.append(request.body.decode())
        return Answer(status=202)


@pytest.fixture
def workflow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Workflow]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    (tmp_path / "pipeline.toml").write_text(FILE)
    with Workflow() as service:
        address = f"{service.url}/workflows/1/triggers/manual/paths/invoke?sig=abcdefgh"
        monkeypatch.setenv("HOOK", address)
        yield service


Shown = Callable[..., tuple[int, str, str]]


@pytest.fixture
def notify(workflow: Workflow, capsys: pytest.CaptureFixture[str]) -> Shown:
    """Return a function that runs `accel notify` and returns its code and what it shows."""

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["notify", *words])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def test_it_shows_which_rules_are_about_it_and_what_they_say(
    notify: Shown, workflow: Workflow
) -> None:
    code, shown, _ = notify("test", "pipeline.toml")
    assert code == 0 and workflow.posted == []
    assert "notify, on call: severity: major is less than critical" in shown
    assert "notify, rule 2: model: tiny is not bert*" in shown
    assert "notify, all: to hook, at once" in shown
    assert "latency_ms of tiny on webgpu:chromium became worse: 10 → 15" in shown

    _, shown, _ = notify("test", "pipeline.toml", "--model", "bert-base", "--severity", "critical")
    assert "notify, on call: to hook, at once" in shown
    assert "notify, all: earlier rules tell all it names" in shown

    _, shown, _ = notify("test", "pipeline.toml", "--model", "bert-base", "--rule", "2", "--json")
    (one,) = json.loads(shown)["rules"]
    assert one["rule"] == "rule 2" and one["mismatch"] is None and one["to"] == ["hook"]
    assert one["due_at"] > one["message"]["at"]


def test_it_shows_times_by_the_clock_of_the_rules_and_what_follows(
    notify: Shown, workflow: Workflow
) -> None:
    text = FILE.replace(
        'wait = "24h"', 'digest = ["09:00"]\nescalate = { after = "24h", to = ["hook"] }'
    )
    text = text.replace('use = "notify"', 'use = "notify"\ntimezone = "Asia/Kathmandu"')
    Path("pipeline.toml").write_text(text.replace('on = ["notification"]', ""))
    code, shown, said = notify("test", "pipeline.toml", "--model", "bert", "--change", "-20%")
    assert code == 0 and "09:00 +0545\n" in shown and "Change: -20.0%" in shown
    assert "  to hook if it is open 1 d later\n" in shown
    assert 'hook hears of it directly, too: on = ["notification"] leaves it to rules' in shown
    assert "notify: without [store] a run's end loses what 'rule 2' lets wait" in said
    code, shown, _ = notify("test", "pipeline.toml", "--rule", "all", "--to", "hook", "--json")
    assert json.loads(shown)["sent"] == {"hook": "sent"} and len(workflow.posted) == 1


@pytest.mark.parametrize(
    ("kind", "severity"), [(kind, one) for kind, known in SEVERITIES.items() for one in known]
)
def test_what_it_makes_up_has_all_that_rules_can_ask_for(kind: str, severity: str) -> None:
    sample = Sample(kind=kind, severity=severity, branch="main")
    alert = about(sample.event(), lambda _: sample.run)
    assert (alert.kind, alert.severity, alert.status) == (kind, severity, "open")
    assert all(getattr(alert, word) for word in KNOWN[kind])


def test_it_makes_up_what_the_rules_are_about(notify: Shown) -> None:
    lost = FILE.replace('where = { model = "bert*" }\non = ["regression"]', 'on = ["worker_lost"]')
    Path("pipeline.toml").write_text(lost)
    assert "is well again: 15 → 10" in notify("test", "pipeline.toml", "--fixed")[1]
    code, shown, _ = notify("test", "pipeline.toml", "--rule", "2")
    assert code == 0 and "webgpu:chromium was lost" in shown
    code, shown, _ = notify("test", "pipeline.toml", "--on", "run_failed", "--severity", "critical")
    assert code == 0 and "notify, on call: to hook, at once" in shown
    _, shown, _ = notify("test", "--help")
    assert all(kind in shown for kind in KNOWN)


def test_it_sends_what_is_marked_as_a_test(notify: Shown, workflow: Workflow) -> None:
    for number in (1, 2):
        code, shown, _ = notify("test", "pipeline.toml", "--to", "hook")
        assert code == 0 and "hook: sent" in shown
        assert len(workflow.posted) == number
    assert all("Test: " in one and " of tiny on " in one for one in workflow.posted)
    assert all("This is a test: it did not happen." in one for one in workflow.posted)


def test_what_cannot_be_sent_is_an_error_and_keeps_no_other_from_it(
    notify: Shown, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = FILE + '\n[[connectors]]\nuse = "teams"\nid = "away"\nurl = "env:AWAY"\n'
    Path("pipeline.toml").write_text(text)
    monkeypatch.setenv("AWAY", "https://127.0.0.1:9/workflow?sig=S3cret")
    code, shown, said = notify("test", "pipeline.toml", "--to", "away", "--to", "hook")
    assert code == 1 and "hook: sent" in shown and len(workflow.posted) == 1
    assert "error: 127.0.0.1 cannot be reached" in said and "where: away" in said
    assert "S3cret" not in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rule", "al"], "no rule is called 'al'"),
        (["--rule", "4"], "no rule is called '4'"),
        (["--to", "hok"], "no connector that can be told has the id 'hok'"),
        (["--to", "notify"], "no connector that can be told has the id 'notify'"),
        (["--severity", "majr"], "a regression is never 'majr'"),
        (["--on", "worker_lost", "--severity", "critical"], "a worker_lost is never 'critical'"),
        (["--on", "worker-lost"], "rules are about no 'worker-lost'"),
        (["--on", "run_failed", "--metric", "latency_ms"], "not known of run_failed"),
        (["--on", "run_started", "--fixed"], "--fixed: that is not known of run_started"),
        (["--on", "worker_lost", "--model", "bert"], "not known of worker_lost"),
        (["--change", "half"], "'half' is no change"),
        (["--change", "nan"], "'nan' is no change"),
        (["--change", "-100%"], "'-100%' is no change"),
        (["--target", "web gpu"], "'web gpu' is not a target"),
    ],
)
def test_wrong_words_are_named(notify: Shown, words: list[str], said: str) -> None:
    code, _, shown = notify("test", "pipeline.toml", *words)
    assert code == 2 and said in shown


def test_where_no_rule_fits_nothing_is_sent(notify: Shown, workflow: Workflow) -> None:
    code, shown, _ = notify("test", "pipeline.toml", "--rule", "on call", "--to", "hook")
    assert code == 1 and workflow.posted == [] and "is less than critical" in shown


def test_a_file_without_rules_is_refused(notify: Shown) -> None:
    Path("pipeline.toml").write_text("[pool]\n")
    code, _, said = notify("test", "pipeline.toml")
    assert code == 2 and "there are no rules" in said


def test_the_history_says_what_was_told_and_what_waits(
    notify: Shown, own: DuckDbStore, tmp_path: Path
) -> None:
    desk = Office(
        own,
        {"name": "now", "severity": "critical", "escalate": {"after": "1h", "to": ["mail"]}},
        {"name": "later", "wait": "24h"},
    )
    outbox = StoredOutbox(own)
    told = {}
    for state in ("told", "dead", "on its way", "dropped"):
        event = regression(state, severity="critical", cause_id=state)
        (message,) = desk.tell(event)
        outbox.put(message, ("slack",), NOW)
        told[state] = message.key
    with own.transaction() as transaction:
        for state, key in (("delivered", "told"), ("dead", "dead"), ("dropped", "dropped")):
            transaction.execute(
                "UPDATE outbox_deliveries SET state = ? WHERE key = ?", [state, told[key]]
            )
    desk.wait(minutes=1)
    desk.tell(regression("w-1"), regression("w-2"))
    for name, state in (("never", "dropped"), ("not yet", "dead")):
        (timer,) = desk.notifier.deliver(regression(name, cause_id=name)).events  # type: ignore[union-attr]
        outbox.put(timer, ("notify",), NOW)
        with own.transaction() as transaction:
            transaction.execute(
                "UPDATE outbox_deliveries SET state = ? WHERE key = ?", [state, timer.key]
            )
    settled: Any = fixed(regression("dead", cause_id="dead"), run_id="run-2", at=desk.now)
    desk.tell(settled)
    desk.wait(hours=1)
    own.close()
    path = str(tmp_path / "results.duckdb")
    code, shown, said = notify("history", "--db", path, "--json")
    assert code == 0, said
    rows = {row["title"].split(" became")[0]: row for row in json.loads(shown)}
    assert len(rows) == 8 and all(row["receivers"] == ["slack"] for row in rows.values())
    assert rows["latency of never"]["state"] == "dropped"
    assert rows["latency of not yet"]["state"] == "dead"
    for state in told:
        assert rows[f"latency of {state}"]["state"] == state
    waiting = rows["latency of w-1"]
    assert waiting["state"] == "waiting" and waiting["alerts"] == 2 and waiting["rule"] == "later"
    assert rows["latency of told"]["escalated_at"] and not waiting["escalated_at"]
    assert not rows["latency of dead"]["escalated_at"], "it was fixed"
    code, shown, _ = notify("history", "--db", path, "--limit", "4")
    assert code == 0 and "until 11-26 12:01" in shown and "latency of told" not in shown


def test_a_database_without_rules_has_no_history(notify: Shown, tmp_path: Path) -> None:
    DuckDbStore.open(tmp_path / "results.duckdb").close()
    code, shown, said = notify("history")
    assert code == 0, said
    assert "No rule made anything known." in shown
    code, _, said = notify("history", "--db", "nowhere.duckdb")
    assert code == 2 and "no such database" in said
