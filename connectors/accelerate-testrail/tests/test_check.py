# SPDX-License-Identifier: Apache-2.0
"""What is set up wrong is named exactly, and nothing is made meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from accelerate_testrail.plugin import TestRailSettings

from accelerate_core.errors import ConfigError, ConnectorError
from accelerate_core.settings import structure
from accelerate_core.testing import samples
from accelerate_core.testing.service import Answer

from .conftest import connector_of, finished
from .server import BASELINES, MULTIPLE, STRING, TEXT, Project, RailServer


def problems(service: RailServer, **settings: Any) -> list[str]:
    """Return what is wrong; nothing was written."""
    before = [len(things) for things in (service.sections, service.cases, service.runs)]
    connector = connector_of(service, **settings)
    found = list(connector.check())
    connector.close()
    assert before == [len(things) for things in (service.sections, service.cases, service.runs)]
    return found


@pytest.mark.parametrize("mode", [1, BASELINES])
def test_all_is_well(service: RailServer, mode: int) -> None:
    service.projects[1].suite_mode = mode
    assert problems(service) == []


def test_a_wrong_key(service: RailServer) -> None:
    connector = connector_of(service)
    service.key = "another"
    (problem,) = connector.check()
    connector.close()
    assert "Mend `user` and `key`" in problem


def test_a_disabled_api(service: RailServer) -> None:
    service.is_enabled = False
    (problem,) = problems(service)
    assert problem.endswith('Turn on "Enable API" under "Administration", "Site Settings", "API".')


def test_a_project_that_is_not_there(service: RailServer) -> None:
    (problem,) = problems(service, project=7)
    assert "Mend `project`: there is none with the number 7." in problem


def test_a_project_without_access(service: RailServer) -> None:
    service.projects[1].is_accessible = False
    (problem,) = problems(service)
    assert problem.endswith('under "Administration", "Projects", "Access".')


def test_a_completed_project(service: RailServer) -> None:
    service.projects[1].is_completed = True
    (problem,) = problems(service)
    assert problem == "the project 1 is completed. Reopen it, or set another `project`."


def test_several_suites(service: RailServer) -> None:
    service.projects[1].suite_mode = MULTIPLE
    suite = service.add_suite(1, "Models")
    service.projects[2] = Project(id=2, name="Other")
    other = service.add_suite(2, "Not ours")
    (problem,) = problems(service, create_cases=False)[:1]
    assert problem.endswith(f"Set `suite` to one of them: 1 (Master), {suite} (Models).")
    assert problems(service, suite=suite) == []
    (problem,) = problems(service, suite=other)[:1]
    assert f"has no suite {other}." in problem


def test_a_field_that_is_not_there(service: RailServer) -> None:
    del service.case_fields["custom_automation_id"]
    (problem,) = problems(service)
    assert "no field 'custom_automation_id'" in problem
    assert 'system name "automation_id"' in problem
    service.case_fields["custom_case_id"] = (TEXT, False)
    assert problems(service, id_field="custom_case_id") == []


def test_a_field_that_has_to_be_filled_in(service: RailServer) -> None:
    service.case_fields["custom_automation_id"] = (STRING, True)  # This one is.
    service.case_fields["custom_component"] = service.result_fields["custom_build"] = (STRING, True)
    of_case, of_result = problems(service)
    assert "each case has to have 'custom_component'" in of_case and '"Case Fields"' in of_case
    assert "each result has to have 'custom_build'" in of_result and '"Result Fields"' in of_result
    assert problems(service, create_cases=False) == [of_result]


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({"is_active": False}, {}),
        ({"include_all": False}, {}),
        ({}, {"default_value": "x"}),
        ({}, {"is_required": False}),
        ({"configs": []}, {}),
    ],
)
def test_a_field_that_is_not_asked_for(
    service: RailServer, monkeypatch: pytest.MonkeyPatch, changes: Any, options: Any
) -> None:
    def shown(request: Any) -> Answer:
        context = {"is_global": False, "project_ids": [1]}
        config = {"context": context, "options": {"is_required": True, **options}}
        field = {"system_name": "custom_build", "configs": [config], **changes}
        other = {**config, "context": {"is_global": False, "project_ids": [2]}}
        return Answer.of([field, {**field, "system_name": "custom_other", "configs": [other]}])

    handle = service.handle
    monkeypatch.setattr(
        service,
        "handle",
        lambda request: (
            shown(request) if "/api/v2/get_result_fields" in request.query else handle(request)
        ),
    )
    assert problems(service) == []


@pytest.mark.parametrize(
    ("method", "right"),
    [
        ("add_run", "add runs"),
        ("add_section", "add sections and cases"),
        ("add_results_for_cases", "add results"),
    ],
)
def test_a_right_that_the_role_lacks(service: RailServer, method: str, right: str) -> None:
    connector = connector_of(service, close_run=False)
    connector.deliver(finished(samples.measurement(1)))
    connector.close()
    results = dict(service.results)
    assert problems(service) == []
    service.denied = {method}
    (problem,) = problems(service)
    assert problem.endswith(f"Give the account a role in the project that may {right}.")
    assert service.results == results


def test_no_right_to_make_cases_is_needed_where_none_are_made(service: RailServer) -> None:
    service.denied = {"add_section", "add_case"}
    assert problems(service, create_cases=False) == []


def test_a_status_that_is_not_there(service: RailServer) -> None:
    (problem,) = problems(service, statuses={"missing": 9})
    assert problem.startswith("there is no status 9. Set `statuses.missing` to one of 1 (Passed)")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(status=404), "there is no TestRail"),
        (Answer(body=b"<html>Log in</html>"), "the answer is no JSON"),
        (Answer.of({"name": "another API"}), "not one of TestRail's"),
        (Answer.of([1, 2]), "not one of TestRail's"),
    ],
)
def test_no_installation_at_the_address(
    service: RailServer, monkeypatch: pytest.MonkeyPatch, answer: Answer, said: str
) -> None:
    monkeypatch.setattr(service, "handle", lambda request: answer)
    (problem,) = problems(service)
    assert said in problem and "`url`" in problem


def test_lists_come_without_pages_from_old_installations(
    service: RailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = service._page

    def whole(request: Any, name: str, items: list[Any], known: str = "") -> Answer:
        page(request, name, items, known)
        return Answer.of(items)

    monkeypatch.setattr(service, "_page", whole)
    connector = connector_of(service, close_run=False)
    connector.deliver(finished(samples.measurement(1)))
    connector.close()
    assert problems(service) == []


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"url": "example.testrail.io"}, "url"),
        ({"url": "https://me@example.testrail.io"}, "url"),
        ({"id_field": "automation_id"}, "id_field"),
        ({"statuses": {"broken": 5}}, "statuses"),
        ({"statuses": {"missing": 3}}, "statuses.missing"),
        ({"project": 0}, "project"),
        ({"suite": 0}, "suite"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    values: dict[str, Any], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESTRAIL_KEY", "api-key-0815")
    table = {
        "url": "https://example.testrail.io",
        "user": "ci@example.com",
        "key": "env:TESTRAIL_KEY",
        "project": 12,
    }
    assert structure(table, TestRailSettings, where="accelerate.toml")
    with pytest.raises(ConfigError) as caught:
        structure({**table, **values}, TestRailSettings, where="accelerate.toml")
    assert where in f"{caught.value.info.where} {caught.value.info.message}"


def test_the_key_is_in_no_error(service: RailServer) -> None:
    connector = connector_of(service, url="http://127.0.0.1:9")
    with pytest.raises(ConnectorError) as caught:
        connector.deliver(finished(samples.measurement(1)))
    connector.close()
    assert service.key not in str(caught.value) and caught.value.__cause__ is None
