# SPDX-License-Identifier: Apache-2.0
"""What stands in TestRail after a run, whatever went wrong on the way."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from accelerate_testrail.connector import TestRailConnector
from accelerate_testrail.rendering import automation_id

from accelerate_core.errors import ConnectorError, ErrorInfo
from accelerate_core.events import Attachment, Event, RunFailed, RunFinished
from accelerate_core.testing import samples
from accelerate_core.testing.service import Fault
from accelerate_core.types import CellStatus, Measurement

from .conftest import connector_of, finished, regression
from .server import MULTIPLE, STRING, RailServer

ONE, MISSING = samples.measurement(1), samples.missing()
WRONG = attrs.evolve(samples.mismatch(), series_key="12" * 32)
PICTURE = Attachment(name="run-1.png", media_type="image/png", data=b"\x89PNG picture")


@pytest.fixture
def service(service: RailServer) -> RailServer:
    service.rate_limit = None
    return service


def tell(service: RailServer, *events: Event, **settings: Any) -> None:
    """Deliver by a connector of its own, as a new process."""
    connector = connector_of(service, ONE, MISSING, WRONG, **settings)
    try:
        for event in events:
            connector.deliver(event)
    finally:
        connector.close()


def refused(service: RailServer, event: Event, **settings: Any) -> ErrorInfo:
    with pytest.raises(ConnectorError) as caught:
        tell(service, event, **settings)
    return caught.value.info


def results(service: RailServer, one: Measurement) -> list[dict[str, Any]]:
    return service.results_of(automation_id(one.cell))


def is_closed(service: RailServer) -> bool:
    return any(one["is_completed"] for one in service.runs.values())


def shown(service: RailServer) -> list[Any]:
    """Return all that people see, without ids: they say in which order things were made."""
    statuses = {one["id"]: one["status_id"] for one in service.tests.values()}
    return [
        sorted((one["name"], one["depth"]) for one in service.sections.values()),
        sorted(one["title"] for one in service.cases.values()),
        [(one["name"], one["description"], one["is_completed"]) for one in service.runs.values()],
        sorted(statuses.values()),
        sorted((one["status_id"], one["comment"]) for one in service.results.values()),
        sorted((one["name"], one["bytes"]) for one in service.attachments.values()),
    ]


def test_a_run_is_named_and_holds_a_result_for_each_measurement(service: RailServer) -> None:
    event = attrs.evolve(finished(ONE, MISSING, WRONG), link="https://ci.example.com/7")
    connector = connector_of(service)
    receipt = connector.deliver(event)
    connector.close()
    (run,) = service.runs.values()
    assert receipt is not None
    assert (receipt.id, receipt.url) == (f"R{run['id']}", run["url"])
    assert run["name"] == "quickstart.toml 000000000000 2026-11-21 12:30"
    assert run["is_completed"] and not run["include_all"]
    assert "https://ci.example.com/7" in run["description"]
    names = {number: one["name"] for number, one in service.sections.items()}
    paths = {
        (names.get(one["parent_id"]), one["name"])
        for one in service.sections.values()
        if one["parent_id"]
    }
    assert paths == {("bert", "minilm"), ("models", "minilm")}
    assert {one["title"] for one in service.cases.values()} == {
        str(one.cell) for one in (ONE, MISSING, WRONG)
    }
    (passed,), (blocked,), (failed,) = (results(service, one) for one in (ONE, MISSING, WRONG))
    assert [one["status_id"] for one in (passed, blocked, failed)] == [1, 2, 5]
    assert (passed["elapsed"], passed["version"]) == ("1s", "0" * 40)
    assert blocked["elapsed"] is None
    assert "Latency: 12.5 ms, median of 3 samples" in passed["comment"]
    assert "https://ci.example.com/7" in passed["comment"]
    assert "What to do: accel browsers install minilm" in blocked["comment"]


def test_statuses_are_those_of_the_settings(service: RailServer) -> None:
    skipped = attrs.evolve(MISSING, status=CellStatus.SKIPPED, id="run-1-9")
    tell(service, finished(MISSING, skipped), statuses={"missing": 5})
    assert sorted(one["status_id"] for one in service.results.values()) == [4, 5]


class Failing(RailServer):
    """Fail one request, by its number."""

    def __init__(self, number: int, fault: Fault) -> None:
        super().__init__()
        self.rate_limit = None
        self._left, self._fault = number, fault

    def next_fault(self) -> Fault | None:
        self._left -= 1
        return self._fault if self._left == -1 else None


def test_whichever_answer_is_lost_all_is_there_once(service: RailServer) -> None:
    events = [
        attrs.evolve(regression(), attachments=[PICTURE]),
        attrs.evolve(finished(ONE, MISSING, WRONG), attachments=[PICTURE]),
    ]
    tell(service, *events)
    expected, requests = shown(service), len(service.requests)
    assert requests > 15 and len(service.results) == 4 and len(service.attachments) == 2
    for number in range(requests):
        with Failing(number, "lost") as failing:
            with pytest.raises(ConnectorError) as caught:
                tell(failing, *events)
            assert caught.value.info.retryable
            # What was delivered is not told again: of these, the run that is closed is the last.
            tell(failing, *(events[1:] if is_closed(failing) else events))
            assert shown(failing) == expected, number


def test_the_same_connector_finds_what_a_lost_answer_made() -> None:
    for number in range(12):
        with Failing(number, "lost") as failing:
            connector = connector_of(failing)
            for _ in range(2):
                try:
                    connector.deliver(finished(ONE, WRONG))
                except ConnectorError as error:
                    assert error.info.retryable
            connector.close()
            sections = [(one["parent_id"], one["name"]) for one in failing.sections.values()]
            assert len(sections) == len(set(sections)) == 2
            assert (len(failing.cases), len(failing.runs), len(failing.results)) == (2, 1, 2)


@pytest.mark.parametrize("fault", ["lost", "503"])
def test_what_failed_goes_on_where_it_was(service: RailServer, fault: Fault) -> None:
    events = [
        attrs.evolve(regression(), attachments=[PICTURE]),
        attrs.evolve(finished(ONE, MISSING, WRONG), attachments=[PICTURE]),
    ]
    tell(service, *events)
    expected, requests = shown(service), len(service.requests)
    made = next(i for i, one in enumerate(service.requests) if "add_run" in one.path)
    for number in range(requests):
        with Failing(number, fault) as failing:
            connector = connector_of(failing, ONE, MISSING, WRONG)
            for event in events:
                try:
                    connector.deliver(event)
                except ConnectorError:
                    connector.deliver(event)
            connector.close()
            assert shown(failing) == expected, number
            asked = [one.path for one in failing.requests]
            # A look at what failed: at cases by three requests, at a run that is new by all.
            assert len(asked) <= requests + (4 if number <= made else 1), asked


def test_a_run_is_found_again_although_clocks_differ(service: RailServer) -> None:
    ahead = datetime.now(UTC) + timedelta(hours=12)
    for _ in range(2):
        tell(service, finished(ONE, started_at=ahead), close_run=False)
    assert len(service.runs) == len(service.results) == 1


def test_results_go_in_chunks_and_lists_are_read_to_their_end(service: RailServer) -> None:
    section = {"id": 10**6, "name": "others", "parent_id": None, "suite_id": 1}
    service.sections[10**6] = {**section, "depth": 0, "project_id": 1}
    for number in range(2 * 10**6, 2 * 10**6 + 260):
        service.cases[number] = {
            "id": number, "title": "by hand", "section_id": 10**6, "suite_id": 1, "project_id": 1,
            "refs": None, "custom_automation_id": None,
        }  # fmt: skip
    many = [attrs.evolve(ONE, id=f"run-1-{number}") for number in range(520)]
    tell(service, finished(*many), close_run=False)
    tell(service, finished(*many), close_run=False)
    chunks = [
        len(request.json()["results"])
        for request in service.requests
        if "add_results_for_cases" in request.path
    ]
    assert chunks == [250, 250, 20]
    assert len(results(service, ONE)) == 520 and len(service.cases) == 261


def test_too_many_requests_are_gone_on_with_later(service: RailServer) -> None:
    service.rate_limit = 9
    cells = [samples.measurement(number) for number in range(1, 12)]
    info = refused(service, finished(*cells))
    assert info.retryable and 1 <= (info.retry_after or 0) <= 60
    made = len(service.cases)
    assert 0 < made < 11
    service.rate_limit = None
    tell(service, finished(*cells))
    assert len(service.cases) == len(service.results) == 11 and len(service.runs) == 1


def test_a_case_is_known_where_people_moved_and_renamed_it(service: RailServer) -> None:
    tell(service, finished(ONE))
    (case,), (outer, *_) = service.cases.values(), service.sections
    case.update(section_id=outer, title="Ours now")
    tell(service, finished(attrs.evolve(ONE, id="run-2-1"), id="run-2"))
    assert len(service.cases) == 1 and len(service.runs) == 2
    assert len(results(service, ONE)) == 2


def test_without_making_cases_those_there_get_results(service: RailServer) -> None:
    info = refused(service, finished(ONE), create_cases=False)
    assert "create_cases" in str(info.hint) and not info.retryable and not service.runs
    tell(service, finished(ONE))
    tell(service, finished(attrs.evolve(ONE, id="2"), WRONG, id="run-2"), create_cases=False)
    *_, run = service.runs.values()
    assert f"Cells without a case: 1\n    {WRONG.cell}" in run["description"]
    assert len(results(service, ONE)) == 2 and not results(service, WRONG)
    assert len(service.cases) == 1


def test_all_is_made_in_the_suite_that_is_set(service: RailServer) -> None:
    service.projects[1].suite_mode = MULTIPLE
    suite = service.add_suite(1, "Models")
    info = refused(service, finished(ONE))
    assert not info.retryable and "check" in str(info.hint)
    tell(service, finished(ONE), suite=suite)
    things = [*service.sections.values(), *service.cases.values(), *service.runs.values()]
    assert {one["suite_id"] for one in things} == {suite}


def test_no_case_is_made_that_could_not_be_found_again(service: RailServer) -> None:
    service.case_fields = {}
    info = refused(service, finished(ONE))
    assert "custom_automation_id" in info.message and "Case Fields" in str(info.hint)
    assert not info.retryable and not service.cases


def test_a_field_that_must_be_filled_in_is_said(service: RailServer) -> None:
    service.case_fields["custom_component"] = (STRING, True)
    info = refused(service, finished(ONE))
    assert "custom_component is a required field" in info.message
    assert "create_cases = false" in str(info.hint)


def test_a_field_of_results_that_must_be_filled_in_is_said(service: RailServer) -> None:
    service.result_fields["custom_build"] = (STRING, True)
    info = refused(service, finished(ONE))
    assert "custom_build is a required field" in info.message
    assert "custom field of results" in str(info.hint) and not info.retryable


def test_what_became_worse_fails_its_case(service: RailServer) -> None:
    tell(service, regression(), finished(ONE, MISSING, WRONG))
    passed, failed = results(service, ONE)
    assert (passed["status_id"], failed["status_id"]) == (1, 5)
    assert "became worse: 10 → 15" in failed["comment"]
    (test,) = (one for one in service.tests.values() if one["id"] == failed["test_id"])
    assert test["status_id"] == 5, "what the run found besides came later"
    assert len(service.runs) == 1 and is_closed(service)


def test_what_is_well_again_passes(service: RailServer) -> None:
    tell(service, attrs.evolve(regression(), status="fixed"))
    assert [one["status_id"] for one in results(service, ONE)] == [1, 1]


def test_of_several_measurements_the_last_says_whether_it_is_well(service: RailServer) -> None:
    before = attrs.evolve(ONE, id="run-1-8", status=CellStatus.MISMATCH, started_at=samples.START)
    connector = connector_of(service, before, ONE)
    connector.deliver(attrs.evolve(regression(), status="fixed"))
    connector.close()
    assert [one["status_id"] for one in results(service, ONE)] == [5, 1, 1]


def test_what_is_found_after_the_end_needs_an_open_run(service: RailServer) -> None:
    tell(service, finished(ONE, MISSING, WRONG))
    info = refused(service, regression())
    assert "is closed" in info.message and "close_run" in str(info.hint) and not info.retryable
    service.runs.clear()
    service.tests.clear()
    tell(service, finished(ONE, MISSING, WRONG), regression(), close_run=False)
    assert len(service.results_of(automation_id(ONE.cell))) == 2 and not is_closed(service)


@pytest.mark.parametrize("changes", [{"run_id": "run-404"}, {"series_key": "0" * 64}])
def test_a_regression_of_what_is_not_stored_is_an_error(
    service: RailServer, changes: dict[str, Any]
) -> None:
    info = refused(service, attrs.evolve(regression(), **changes))
    assert not info.retryable and info.hint and not service.runs


def test_an_interrupted_run_is_closed_when_it_is_whole(service: RailServer) -> None:
    tell(service, finished(ONE, is_interrupted=True))
    assert not is_closed(service)
    later = samples.START.replace(hour=15)
    tell(service, finished(ONE, WRONG, resumed_at=(later,)))
    assert is_closed(service) and len(service.runs) == 1
    assert len(results(service, ONE)) == len(results(service, WRONG)) == 1


def test_a_run_that_broke_off_is_told_and_stays_open(service: RailServer) -> None:
    summary = finished(ONE).summary
    error = ErrorInfo(kind="StoreError", message="the disk is full")
    tell(service, RunFailed(run_id="run-1", at=samples.START, summary=summary, error=error))
    assert len(results(service, ONE)) == 1 and not is_closed(service)


def test_pictures_are_attached_once(service: RailServer) -> None:
    event = attrs.evolve(finished(ONE), attachments=[PICTURE])
    tell(service, event, event, close_run=False)
    (file,), (run,) = service.attachments.values(), service.runs.values()
    assert file["bytes"] == PICTURE.data and file["run_id"] == run["id"]
    assert file["name"].startswith("run-1-") and file["name"].endswith(".png")


def test_hostile_names_arrive_as_plain_text(service: RailServer) -> None:
    many = samples.summaries()["hostile"]
    event = RunFinished(run_id="run-1", at=samples.START, summary=many)
    tell(service, event, event, close_run=False)
    assert len(service.results) == len(many.measurements)
    titles = {one["title"] for one in service.cases.values()}
    assert any("<script>alert(1)</script> on webgpu" in title for title in titles)
    assert not any("\x1b" in title or "\u202e" in title for title in titles)


def test_what_has_no_place_makes_nothing(service: RailServer) -> None:
    tell(service, finished())
    others = [
        one
        for one in samples.every_event()
        if one.kind not in ("run_finished", "run_failed", "regression")
    ]
    tell(service, *others)
    assert not service.requests and len(others) > 5


@pytest.fixture
def elsewhere() -> Iterator[TestRailConnector]:
    """Return a connector of an address that leads to another one."""
    from accelerate_core.testing.service import Answer, Service, route

    class Moved(Service):
        @route("GET", "/.*")
        def moved(self, request: Any) -> Answer:
            return Answer(status=301, headers={"location": "https://127.0.0.1/"})

    with Moved() as server:
        named: Any = server
        named.user, named.key = "ci@example.com", "api-key-0815"
        connector = connector_of(named)
        yield connector
        connector.close()


def test_an_address_that_leads_elsewhere_is_said(elsewhere: TestRailConnector) -> None:
    (problem,) = elsewhere.check()
    assert problem.startswith("the address leads to another one. Mend `url`")
