# SPDX-License-Identifier: Apache-2.0
"""Issues as people see them: made once, told what is new, closed and opened again."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from accelerate_duckdb.store import DuckDbStore
from accelerate_jira import api
from accelerate_jira.connector import JiraConnector
from accelerate_jira.items import MOST_SERIES
from accelerate_jira.known import TABLES

from accelerate_core import events
from accelerate_core.errors import ConnectorError, ErrorInfo
from accelerate_core.memory_store import MemoryStore
from accelerate_core.testing import samples
from accelerate_core.types import CellStatus, RunSummary

from .server import RESOLUTION, Issue, JiraServer
from .sites import connector_of, told

PICTURE = events.Attachment(
    name="trend.png", media_type="image/png", data=b"\x89PNG...", description="Latency of 30 runs"
)
(SAMPLE,) = (one for one in samples.every_event() if isinstance(one, events.Regression))
(FAILED,) = (one for one in samples.every_event() if isinstance(one, events.RunFailed))


def regression(run_id: str = "run-1", **changes: Any) -> events.Regression:
    values = {"id": "r-1", "label": "latency of minilm on cpu", "run_id": run_id, **changes}
    return attrs.evolve(SAMPLE, **values)


def failed_run(count: int, run_id: str = "run-1") -> events.RunFailed:
    """Return a run with so many failed series, and one that is well."""
    bad = [
        attrs.evolve(samples.mismatch(number, run_id, f"model-{number}"), series_key=f"s{number}")
        for number in range(2, 2 + count)
    ]
    summary = RunSummary(run=samples.run_info(run_id), measurements=(samples.measurement(), *bad))
    return attrs.evolve(FAILED, run_id=run_id, summary=summary, error=None)


def ended_run(run_id: str, *, failed: int) -> events.RunFinished:
    """Return the end of a run of the series of `failed_run(2)`, of which so many fail."""
    summary = failed_run(2, run_id).summary
    ones = [
        one
        if number <= failed
        else attrs.evolve(one, status=CellStatus.OK, error=None, relative_l2=3e-6)
        for number, one in enumerate(summary.measurements)
    ]
    return events.RunFinished(
        run_id=run_id,
        at=samples.START,
        summary=attrs.evolve(summary, measurements=tuple(ones)),
        attachments=(PICTURE,),
    )


@pytest.fixture
def service() -> Iterator[JiraServer]:
    with JiraServer() as service:
        yield service
        assert not service.wrong


@pytest.fixture
def connector(service: JiraServer) -> Iterator[JiraConnector]:
    one = connector_of(service)
    yield one
    one.close()


def only(service: JiraServer) -> Issue:
    (issue,) = service.issues.values()
    return issue


@pytest.mark.parametrize("cloud", [True, False])
def test_a_regression_is_an_issue_with_numbers_picture_and_link(cloud: bool) -> None:
    with JiraServer(cloud=cloud) as service:
        connector = connector_of(service, labels=("performance",), issue_type="bug".title())
        event = regression(attachments=(PICTURE,), link="https://ci.example.com/run/1")
        receipt = connector.deliver(event)
        connector.close()
        issue = only(service)
    assert issue.summary == "latency of minilm on cpu became worse: 10 → 15"
    assert issue.issue_type == "Bug" and issue.status == "To Do"
    assert "10 → 15" in issue.description and "https://ci.example.com/run/1" in issue.description
    assert issue.labels[1:] == ["performance"]
    assert re.fullmatch("accelerate-[0-9a-f]{16}", issue.labels[0])
    assert [(one["filename"], one["bytes"]) for one in issue.attachments] == [
        ("trend-run-1.png", PICTURE.data)
    ]
    assert [one["object"]["url"] for one in issue.links] == ["https://ci.example.com/run/1"]
    assert receipt is not None and receipt.id == issue.key
    assert receipt.url == f"{service.url}/browse/{issue.key}"


def test_the_life_of_a_regression(service: JiraServer, connector: JiraConnector) -> None:
    link = "https://ci.example.com/run/"
    for run, status in (("1", "open"), ("2", "fixed"), ("3", "open")):
        pictured = regression(run, status=status, attachments=(PICTURE,), link=f"{link}{run}")
        for _ in range(2):
            connector.deliver(pictured)
        assert only(service).status == {"open": "To Do", "fixed": "Done"}[status]
        assert told(service, pictured) == 1
    issue = only(service)
    assert ["became worse" in text for text in issue.texts] == [False, True]
    assert "is well again" in issue.texts[0]
    assert len(issue.attachments) == 3 and len({one["filename"] for one in issue.attachments}) == 3
    assert [one["object"]["url"] for one in issue.links] == [f"{link}3"]


def test_what_nobody_heard_of_is_not_said_to_be_over(
    service: JiraServer, connector: JiraConnector
) -> None:
    assert connector.deliver(regression(status="fixed")) is None and not service.issues


def test_what_people_closed_already_is_only_told(
    service: JiraServer, connector: JiraConnector
) -> None:
    connector.deliver(regression())
    only(service).status = "Done"
    connector.deliver(regression("run-2", status="fixed"))
    asked = [one for one in service.requests if one.path.endswith("/transitions")]
    assert not asked and len(only(service).texts) == 1


def test_the_named_statuses_are_used(service: JiraServer) -> None:
    connector = connector_of(service, fixed_status="in progress", open_status="To Do")
    connector.deliver(regression())
    connector.deliver(regression("run-2", status="fixed"))
    assert only(service).status == "In Progress"
    only(service).status = "Done"
    connector.deliver(regression("run-3"))
    assert only(service).status == "To Do"


@pytest.mark.parametrize(
    ("changes", "transitions", "said"),
    [
        ({"fixed_status": "Closed"}, None, "leads to 'Closed'"),
        ({}, [("11", "To Do", "To Do")], "leads to a status of the category 'done'"),
    ],
)
def test_without_a_transition_what_is_told_is_there_and_the_setting_is_named(
    service: JiraServer, changes: dict[str, str], transitions: Any, said: str
) -> None:
    service.transitions = transitions or service.transitions
    connector = connector_of(service, **changes)
    connector.deliver(regression())
    with pytest.raises(ConnectorError, match=said) as caught:
        connector.deliver(regression("run-2", status="fixed"))
    info = caught.value.info
    assert info.retryable is False and "`fixed_status`" in str(info.hint)
    assert "To Do" in info.accepted and "is well again" in only(service).texts[0]


@pytest.mark.parametrize("status", ["", "Done"])
def test_a_transition_that_needs_nothing_is_taken_before_one_that_does(
    service: JiraServer, status: str
) -> None:
    service.transitions.insert(0, ("5", "Resolve", "Done"))
    service.screens["5"] = {"resolution": RESOLUTION}
    connector = connector_of(service, fixed_status=status)
    connector.deliver(regression())
    connector.deliver(regression("run-2", status="fixed"))
    assert only(service).status == "Done"


def test_a_field_that_a_transition_needs_is_named(
    service: JiraServer, connector: JiraConnector
) -> None:
    service.screens["31"] = {"resolution": RESOLUTION}
    connector.deliver(regression())
    with pytest.raises(ConnectorError, match="resolution: Resolution is required") as caught:
        connector.deliver(regression("run-2", status="fixed"))
    assert caught.value.info.retryable is False and "screen" in str(caught.value.info.hint)
    assert only(service).status == "To Do" and len(only(service).texts) == 1


def test_what_a_transition_needs_is_given_to_it_and_nothing_else(service: JiraServer) -> None:
    why = {**RESOLUTION, "name": "Why", "key": "customfield_1", "allowedValues": []}
    service.transitions.insert(0, ("5", "Resolve", "Done"))
    service.screens["5"] = {"resolution": RESOLUTION, "customfield_1": why}
    service.screens["31"] = {"resolution": RESOLUTION}
    service.screens["11"] = {"customfield_1": why}
    fixed, back = {"name": "Fixed"}, {"value": "It is back"}
    connector = connector_of(
        service,
        fixed_fields={"resolution": fixed, "customfield_2": 1},
        open_fields={"customfield_1": back},
    )
    connector.deliver(regression())
    connector.deliver(regression("run-2", status="fixed"))
    issue = only(service)
    assert issue.status == "Done" and issue.fields["resolution"] == fixed
    assert not {"customfield_1", "customfield_2"} & set(issue.fields)
    connector.deliver(regression("run-3"))
    assert issue.status == "To Do" and issue.fields["customfield_1"] == back


def test_each_failed_series_has_an_issue_that_later_runs_comment(
    service: JiraServer, connector: JiraConnector
) -> None:
    connector.deliver(failed_run(2))
    connector.deliver(failed_run(2))
    assert [one.summary.split(" ")[0] for one in service.issues.values()] == ["model-2", "model-3"]
    first = service.issues["PERF-1"]
    assert "mismatch" in first.summary and "model-2 is off by 0.5" in first.description
    assert "model-3" not in first.description
    connector.deliver(failed_run(1, "run-2"))
    assert [len(one.texts) for one in service.issues.values()] == [1, 0]


def test_a_run_where_much_fails_has_one_issue(
    service: JiraServer, connector: JiraConnector
) -> None:
    connector.deliver(failed_run(MOST_SERIES + 1))
    connector.deliver(failed_run(MOST_SERIES + 2, "run-2"))
    issue = only(service)
    assert "quickstart.toml failed" in issue.summary and len(issue.texts) == 1
    assert all(f"model-{number}" in issue.description for number in range(2, MOST_SERIES + 3))


def test_a_series_that_works_again_is_told_once_and_closed(
    service: JiraServer, connector: JiraConnector
) -> None:
    connector.deliver(failed_run(2))
    connector.deliver(ended_run("run-2", failed=1))
    well, bad = service.issues["PERF-2"], service.issues["PERF-1"]
    assert (well.status, bad.status) == ("Done", "To Do") and not bad.texts
    assert "model-3 on" in well.texts[0] and "works again" in well.texts[0]
    assert "12.5 ms" in well.texts[0] and not well.attachments
    # Later runs that find it well say nothing and ask nobody, whatever people did meanwhile.
    well.status = "To Do"
    del service.requests[:]
    connector.deliver(ended_run("run-3", failed=1))
    assert not service.requests and len(well.texts) == 1
    well.status = "Done"
    connector.deliver(failed_run(2, "run-4"))
    assert well.status == "To Do" and "mismatch" in well.texts[1]
    connector.deliver(ended_run("run-5", failed=0))
    assert well.status == bad.status == "Done" and len(well.texts) == 3


@pytest.mark.parametrize("status", [CellStatus.SKIPPED, CellStatus.MISSING])
def test_what_was_not_measured_is_not_well(
    service: JiraServer, connector: JiraConnector, status: CellStatus
) -> None:
    connector.deliver(failed_run(1))
    whole = ended_run("run-2", failed=0)
    ones = [attrs.evolve(one, is_required=False) for one in whole.summary.measurements]
    ones[1] = attrs.evolve(ones[1], status=status)
    summary = attrs.evolve(whole.summary, measurements=tuple(ones))
    assert connector.deliver(attrs.evolve(whole, summary=summary)) is None
    assert only(service).status == "To Do" and not only(service).texts


def test_an_issue_that_was_found_by_its_label_is_known_from_then_on(service: JiraServer) -> None:
    connector_of(service).deliver(failed_run(1))
    other = connector_of(service)
    assert other.deliver(ended_run("run-2", failed=0)) is None
    other.deliver(failed_run(1, "run-3"))
    del service.requests[:]
    other.deliver(ended_run("run-4", failed=0))
    assert only(service).status == "Done" and len(only(service).texts) == 2
    assert not [one for one in service.requests if "search" in one.path]


def test_a_run_where_much_failed_and_that_is_well_closes_its_issue(
    service: JiraServer, connector: JiraConnector
) -> None:
    connector.deliver(failed_run(MOST_SERIES + 1))
    connector.deliver(ended_run("run-2", failed=1))
    whole = ended_run("run-3", failed=0)
    interrupted = attrs.evolve(whole.summary.run, is_interrupted=True)
    connector.deliver(attrs.evolve(whole, summary=attrs.evolve(whole.summary, run=interrupted)))
    assert only(service).status == "To Do" and not only(service).texts
    connector.deliver(whole)
    assert only(service).status == "Done" and "finished" in only(service).texts[0]


def test_what_always_was_well_asks_nobody(service: JiraServer, connector: JiraConnector) -> None:
    assert connector.deliver(ended_run("run-1", failed=0)) is None
    assert not service.requests


def test_without_a_transition_only_the_run_that_was_first_well_says_so(
    service: JiraServer, connector: JiraConnector, tmp_path: Path
) -> None:
    store = DuckDbStore.open(tmp_path / "results.duckdb", tables=(TABLES,))
    connector.attach(store)
    connector.deliver(failed_run(1))
    transitions, service.transitions = service.transitions, []
    for _ in range(2):
        with pytest.raises(ConnectorError, match="no transition"):
            connector.deliver(ended_run("run-2", failed=0))
    connector.deliver(ended_run("run-3", failed=0))
    assert len(only(service).texts) == 1 and only(service).status == "To Do"
    service.transitions = transitions
    connector.deliver(ended_run("run-2", failed=0))
    assert len(only(service).texts) == 1 and only(service).status == "Done"
    store.close()


def test_what_cannot_be_done_to_one_issue_leaves_out_no_other(
    service: JiraServer, connector: JiraConnector
) -> None:
    connector.deliver(failed_run(2))
    service.transitions = []
    with pytest.raises(ConnectorError, match="no transition of PERF-1"):
        connector.deliver(ended_run("run-2", failed=0))
    assert [len(one.texts) for one in service.issues.values()] == [1, 1]


def test_a_run_that_broke_without_failed_cells_is_told(
    service: JiraServer, connector: JiraConnector
) -> None:
    summary = RunSummary(run=samples.run_info(), measurements=())
    error = ErrorInfo(kind="StoreError", message="the disk is full", hint="Make room.")
    connector.deliver(attrs.evolve(FAILED, summary=summary, error=error))
    assert "the disk is full" in only(service).summary and "Make room." in only(service).description


def test_a_long_text_is_cut_and_the_whole_is_linked(
    service: JiraServer, connector: JiraConnector
) -> None:
    many = tuple(
        attrs.evolve(
            samples.mismatch(number, "run-1", f"{number} " + "x" * 10_000),
            series_key=f"s{number}",
            status=CellStatus.FAILED,
        )
        for number in range(2, 60)
    )
    summary = RunSummary(run=samples.run_info(name="n" * 400), measurements=many)
    link = "https://ci.example.com/run/1"
    connector.deliver(attrs.evolve(FAILED, summary=summary, error=None, link=link))
    issue = only(service)
    assert len(issue.summary) == 255 and issue.summary.endswith("…")
    assert "Not shown here: " in issue.description and f"The whole: {link}" in issue.description


# --- when answers get lost ------------------------------------------------------------------------


@pytest.mark.parametrize("fate", ["502", "503", "broken", "late"])
def test_after_a_lost_answer_none_is_made_until_the_search_knows(
    service: JiraServer, monkeypatch: pytest.MonkeyPatch, fate: str
) -> None:
    if fate == "late":
        monkeypatch.setattr(api, "_TIMEOUT_S", (10.0, 0.5))
    connector = connector_of(service, search_lag_s=30.0)
    connector.deliver(regression(id="warm"))
    service.lag()
    # The search passes, and the answer to what is made next gets lost.
    _lose_next_issue(service, fate)
    for _ in range(3):
        with pytest.raises(ConnectorError) as caught:
            connector.deliver(regression())
        assert caught.value.info.retryable
    assert caught.value.info.retry_after == 5.0 and "an answer got lost" in str(caught.value)
    assert len(service.issues) == 2
    service.catch_up()
    connector.deliver(regression())
    assert len(service.issues) == 2 and told(service, regression()) == 1


def test_what_was_refused_is_made_at_once_when_it_can_be(service: JiraServer) -> None:
    connector = connector_of(service, search_lag_s=3600.0)
    service.denied.add("CREATE_ISSUES")
    with pytest.raises(ConnectorError) as caught:
        connector.deliver(regression())
    assert caught.value.info.retryable is False
    service.denied.clear()
    connector.deliver(regression())
    assert len(service.issues) == 1


def test_what_was_not_made_is_made_when_the_search_must_know(service: JiraServer) -> None:
    connector = connector_of(service, search_lag_s=0.1)
    connector.check()
    _lose_next_issue(service, "502", is_made=False)
    with pytest.raises(ConnectorError):
        connector.deliver(regression())
    assert not service.issues
    time.sleep(0.1)
    connector.deliver(regression())
    assert len(service.issues) == 1


def test_of_two_issues_about_one_thing_the_older_is_kept_up_to_date(service: JiraServer) -> None:
    service.lag()
    for run in ("run-1", "run-2"):
        connector_of(service).deliver(regression(run))
    service.catch_up()
    connector_of(service).deliver(regression("run-3"))
    assert [len(one.texts) for one in service.issues.values()] == [1, 0]


def test_known_issues_are_not_searched_for(service: JiraServer, connector: JiraConnector) -> None:
    connector.attach(MemoryStore())
    connector.deliver(regression())
    service.lag()
    del service.requests[:]
    connector.deliver(regression("run-2"))
    assert not [one for one in service.requests if "search" in one.path]
    assert len(only(service).texts) == 1


@pytest.mark.parametrize("newer", [99, 100, 230])
def test_what_was_told_is_found_among_many_comments(
    service: JiraServer, connector: JiraConnector, newer: int
) -> None:
    connector.deliver(regression())
    connector.deliver(regression("run-2"))
    only(service).comments += [
        {"id": str(one), "body": "hm", "created": "9"} for one in range(newer)
    ]
    connector.deliver(regression("run-2"))
    assert told(service, regression("run-2")) == 1


def test_each_project_has_its_issues(service: JiraServer, tmp_path: Path) -> None:
    service.projects["OPS"] = "Operations"
    store = DuckDbStore.open(tmp_path / "results.duckdb", tables=(TABLES,))
    perf, ops = connector_of(service), connector_of(service, project="OPS")
    perf.attach(store)
    ops.attach(store)
    perf.deliver(failed_run(1))
    del service.requests[:]
    assert ops.deliver(ended_run("run-2", failed=0)) is None and not service.requests
    ops.deliver(failed_run(1, "run-2"))
    assert set(service.issues) == {"PERF-1", "OPS-1"}
    store.close()


def test_what_people_deleted_is_made_anew(service: JiraServer, connector: JiraConnector) -> None:
    connector.deliver(regression())
    service.issues.clear()
    connector.deliver(regression("run-2"))
    assert "became worse" in only(service).summary


def test_what_is_being_told_when_the_process_ends_is_told(service: JiraServer) -> None:
    connector = connector_of(service)
    handle = service.handle

    def close_first(request: Any) -> Any:
        if request.path.endswith("/issue"):
            connector.close()
        return handle(request)

    service.handle = close_first  # type: ignore[method-assign]
    connector.deliver(regression(attachments=(PICTURE,)))
    assert len(only(service).attachments) == 1
    with pytest.raises(ConnectorError, match="closed") as caught:
        connector.deliver(regression("run-2"))
    assert caught.value.info.retryable


SENDER = """
import sys
from accelerate_duckdb.store import DuckDbStore
from accelerate_jira.connector import JiraConnector
from accelerate_jira.known import TABLES
from accelerate_jira.plugin import JiraSettings
from accelerate_core.events import Regression
from accelerate_core.secrets import Secret
from accelerate_core.testing import samples
url, user, token, path = sys.argv[1:]
connector = JiraConnector(JiraSettings(url=url, project="PERF", user=user, token=Secret(token)))
connector.attach(DuckDbStore.open(path, tables=(TABLES,)))
for event in samples.every_event():
    if isinstance(event, Regression):
        connector.deliver(event)
"""


def test_killed_while_an_issue_is_made(
    service: JiraServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.duckdb"
    DuckDbStore.open(path, tables=(TABLES,)).close()
    service.lag()
    processes: list[subprocess.Popen[bytes]] = []
    show: Callable[..., Any] = service._self

    def show_and_kill(*arguments: Any) -> Any:
        os.kill(processes[-1].pid, signal.SIGKILL)
        return show(*arguments)

    monkeypatch.setattr(service, "_self", show_and_kill)
    words = [sys.executable, "-c", SENDER, service.url, service.email, service.token, str(path)]
    processes.append(subprocess.Popen(words))
    assert processes[-1].wait(60) == -signal.SIGKILL and len(service.issues) == 1
    monkeypatch.undo()
    store = DuckDbStore.open(path, tables=(TABLES,))
    connector = connector_of(service, search_lag_s=3600.0)
    connector.attach(store)
    with pytest.raises(ConnectorError, match="an answer got lost"):
        connector.deliver(SAMPLE)
    service.catch_up()
    connector.deliver(SAMPLE)
    assert len(service.issues) == 1 and told(service, SAMPLE) == 1
    store.close()
    # The next process knows the issue, also while the search does not.
    service.lag()
    only(service).labels.clear()
    again = connector_of(service)
    with_store = DuckDbStore.open(path, tables=(TABLES,))
    again.attach(with_store)
    again.deliver(attrs.evolve(SAMPLE, run_id="run-2"))
    assert len(only(service).texts) == 1
    with_store.close()


def _lose_next_issue(service: JiraServer, fate: str, *, is_made: bool = True) -> None:
    """Let the answer to the next request that makes an issue get lost, whether it made one or not.

    A proxy answers with a status; the connection is "broken"; or the answer comes too "late".
    """
    handle = service.handle

    def lose(request: Any) -> Any:
        if request.method != "POST" or not request.path.endswith("/issue"):
            return handle(request)
        service.handle = handle  # type: ignore[method-assign]
        if is_made:
            handle(request)
        if fate == "late":
            time.sleep(0.8)
        if not fate.isdigit():
            raise ConnectionError(fate)
        return service.refusal(int(fate))

    service.handle = lose  # type: ignore[method-assign]


# --- what is said when things go wrong ------------------------------------------------------------


def test_no_secret_is_in_what_goes_wrong(
    service: JiraServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    said = []
    for fault in ("401", "403", "429", "500", "reset", "cut", "413", "404"):
        connector = connector_of(service)
        service.fail_next(*[fault] * 3)  # type: ignore[list-item]
        with pytest.raises(ConnectorError) as caught:
            connector.deliver(regression())
        service._faults.clear()
        said.append(f"{caught.value} {caught.value!r} {connector!r} {connector._settings!r}")
        connector.close()
    said.append("".join(str(one.__dict__) for one in caplog.records))
    assert service.token not in "".join(said) and "Basic " not in "".join(said)


def test_a_field_that_jira_wants_is_named(service: JiraServer, connector: JiraConnector) -> None:
    service.required = {"customfield_10010": "Team"}
    with pytest.raises(ConnectorError, match="customfield_10010: Team is required") as caught:
        connector.deliver(regression())
    assert caught.value.info.retryable is False and "`fields`" in str(caught.value.info.hint)
    filled = connector_of(service, fields={"customfield_10010": "Kernels"})
    filled.deliver(regression())
    assert only(service).fields["customfield_10010"] == "Kernels"
