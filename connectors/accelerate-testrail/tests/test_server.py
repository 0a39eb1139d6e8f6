# SPDX-License-Identifier: Apache-2.0
"""The local TestRail answers as the documentation of its API says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from .server import MULTIPLE, RailServer


@pytest.fixture
def rail() -> Iterator[RailServer]:
    with RailServer() as server:
        yield server


@pytest.fixture
def ask(rail: RailServer) -> Iterator[httpx.Client]:
    # Reading certificates, which nobody needs here, takes longer than a test.
    with httpx.Client(trust_env=False, verify=False, auth=(rail.user, rail.key)) as client:
        client.headers["content-type"] = "application/json"
        yield client


def get(ask: httpx.Client, rail: RailServer, method: str) -> Any:
    answer = ask.get(f"{rail.url}/index.php?/api/v2/{method}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def post(ask: httpx.Client, rail: RailServer, method: str, **body: Any) -> Any:
    answer = ask.post(f"{rail.url}/index.php?/api/v2/{method}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(ask: httpx.Client, rail: RailServer, method: str, body: Any = None) -> tuple[int, str]:
    url = f"{rail.url}/index.php?/api/v2/{method}"
    answer = ask.get(url) if body is None else ask.post(url, json=body)
    return answer.status_code, answer.json()["error"]


def add_cases(ask: httpx.Client, rail: RailServer, count: int, **more: Any) -> list[int]:
    section = post(ask, rail, "add_section/1", name="Kernels")
    return [
        post(ask, rail, f"add_case/{section['id']}", title=f"gemm {n}", **more)["id"]
        for n in range(count)
    ]


def test_cases_come_in_pages_and_are_filtered(rail: RailServer, ask: httpx.Client) -> None:
    rail.rate_limit = None
    (first,) = add_cases(ask, rail, 1, refs="TR-1, TR-2", custom_automation_id="gemm/0")
    for number in range(first + 1, first + 253):
        rail.cases[number] = {**rail.cases[first], "id": number, "section_id": 0, "refs": None}
    page = get(ask, rail, "get_cases/1")
    assert (page["offset"], page["limit"], page["size"], len(page["cases"])) == (0, 250, 250, 250)
    assert page["_links"] == {"next": "/api/v2/get_cases/1&limit=250&offset=250", "prev": None}
    last = get(ask, rail, page["_links"]["next"].removeprefix("/api/v2/"))
    assert last["size"] == 3 and last["_links"]["next"] is None
    assert get(ask, rail, "get_cases/1&limit=1000")["limit"] == 250
    (found,) = get(ask, rail, "get_cases/1&refs=TR-2")["cases"]
    assert (found["id"], found["custom_automation_id"]) == (first, "gemm/0")
    assert get(ask, rail, "get_cases/1&custom_automation_id=gemm/0")["size"] == 250  # Passed over.
    section = found["section_id"]
    assert get(ask, rail, f"get_cases/1&section_id={section}&limit=5")["size"] == 1


def test_results_are_added_in_bulk_or_not_at_all(rail: RailServer, ask: httpx.Client) -> None:
    one, two, three = add_cases(ask, rail, 3)
    run = post(ask, rail, "add_run/1", name="Nightly", include_all=False, case_ids=[one, two])
    assert (run["untested_count"], run["is_completed"]) == (2, False)
    method = f"add_results_for_cases/{run['id']}"
    bad = [{"case_id": one, "status_id": 1}, {"case_id": three, "status_id": 1}]
    assert refused(ask, rail, method, {"results": bad}) == (
        400,
        "Field :results contains one or more invalid results "
        f"(case C{three} unknown or not part of the test run)",
    )
    assert not rail.results
    good = [
        {"case_id": one, "status_id": 1, "elapsed": "1m 5s"},
        {"case_id": two, "status_id": 5, "comment": "12 ms"},
    ]
    made = ask.post(f"{rail.url}/index.php?/api/v2/{method}", json={"results": good}).json()
    assert [result["status_id"] for result in made] == [1, 5]
    shown = get(ask, rail, f"get_results_for_run/{run['id']}")["results"]
    assert [result["id"] for result in shown] == [made[1]["id"], made[0]["id"]]
    tests = get(ask, rail, f"get_tests/{run['id']}&status_id=5")["tests"]
    assert [test["case_id"] for test in tests] == [two]
    assert get(ask, rail, f"get_run/{run['id']}")["failed_count"] == 1


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([], "Field :results cannot be empty (one result is required)"),
        ([{"status_id": 1}], "Field :results.case_id is a required field."),
        (
            [{"case_id": 10**6, "status_id": 1}],
            "Field :results cannot be empty but no valid tests or cases found",
        ),
        ([{"case_id": "C", "status_id": 3}], "Field :results.status_id uses an invalid status."),
        (
            [{"case_id": "C", "status_id": 1, "elapsed": "0.4s"}],
            "Field :results.elapsed is not in a valid time span format.",
        ),
    ],
)
def test_wrong_results_are_refused(
    rail: RailServer, ask: httpx.Client, results: list[dict[str, Any]], said: str
) -> None:
    (case,) = add_cases(ask, rail, 1)
    run = post(ask, rail, "add_run/1", name="Nightly")
    results = [
        {**one, **({"case_id": case} if one.get("case_id") == "C" else {})} for one in results
    ]
    method = f"add_results_for_cases/{run['id']}"
    assert refused(ask, rail, method, {"results": results}) == (400, said)


def test_runs_are_found_updated_and_closed(rail: RailServer, ask: httpx.Client) -> None:
    one, two = add_cases(ask, rail, 2)
    run = post(ask, rail, "add_run/1", name="a", refs="run-1", include_all=False, case_ids=[one])
    post(ask, rail, f"update_run/{run['id']}", name="b", case_ids=[one, two])
    (found,) = get(ask, rail, "get_runs/1&is_completed=0&refs_filter=run-1")["runs"]
    assert (found["name"], found["untested_count"]) == ("b", 2)
    assert post(ask, rail, f"close_run/{run['id']}")["is_completed"] is True
    assert get(ask, rail, "get_runs/1&is_completed=0")["runs"] == []
    said = (400, "Field :run_id is not a valid test run.")
    assert refused(ask, rail, f"update_run/{run['id']}", {"name": "c"}) == said
    assert refused(ask, rail, "get_run/999") == said


def test_a_suite_must_be_named_where_there_are_several(rail: RailServer, ask: httpx.Client) -> None:
    rail.projects[1].suite_mode = MULTIPLE
    other = rail.add_suite(1, "Browsers")
    said = (400, "Field :suite_id is a required field.")
    assert refused(ask, rail, "get_cases/1") == said
    assert refused(ask, rail, "add_run/1", {"name": "x"}) == said
    assert refused(ask, rail, "add_section/1", {"name": "x"}) == said
    assert get(ask, rail, f"get_sections/1&suite_id={other}")["sections"] == []
    assert [one["name"] for one in get(ask, rail, "get_suites/1")] == ["Master", "Browsers"]
    assert refused(ask, rail, "get_cases/1&suite_id=999")[0] == 400


def test_pictures_are_attached(rail: RailServer, ask: httpx.Client) -> None:
    (case,) = add_cases(ask, rail, 1)
    run = post(ask, rail, "add_run/1", name="Nightly")
    results = [{"case_id": case, "status_id": 5}]
    url = f"{rail.url}/index.php?/api/v2"
    made = ask.post(f"{url}/add_results_for_cases/{run['id']}", json={"results": results}).json()
    del ask.headers["content-type"]
    files = {"attachment": ("plot.png", b"\x89PNG\r\n", "image/png")}
    first = ask.post(f"{url}/add_attachment_to_run/{run['id']}", files=files).json()
    second = ask.post(f"{url}/add_attachment_to_result/{made[0]['id']}", files=files).json()
    assert rail.attachments[first["attachment_id"]]["bytes"] == b"\x89PNG\r\n"
    assert rail.results[made[0]["id"]]["attachment_ids"] == [second["attachment_id"]]
    shown = get(ask, rail, f"get_attachments_for_run/{run['id']}")["attachments"]
    assert [one["name"] for one in shown] == ["plot.png"]
    wrong = ask.post(
        f"{url}/add_attachment_to_run/{run['id']}", files={"file": files["attachment"]}
    )
    assert wrong.status_code == 400
    rail.can_edit_results = False
    denied = ask.post(f"{url}/add_attachment_to_result/{made[0]['id']}", files=files)
    assert denied.status_code == 403


def test_custom_fields_are_checked(rail: RailServer, ask: httpx.Client) -> None:
    shown = get(ask, rail, "get_case_fields")
    assert {one["system_name"] for one in shown} == {"custom_automation_id", "custom_preconds"}
    section = post(ask, rail, "add_section/1", name="Kernels")["id"]
    rail.case_fields["custom_team"] = (1, True)
    said = (400, "Field :custom_team is a required field.")
    assert refused(ask, rail, f"add_case/{section}", {"title": "x"}) == said
    case = post(ask, rail, f"add_case/{section}", title="x", custom_team="a", custom_unknown=1)
    assert "custom_unknown" not in case
    post(ask, rail, f"update_case/{case['id']}", custom_automation_id="gemm/1")
    assert rail.cases[case["id"]]["custom_team"] == "a"
    long = {"custom_automation_id": "x" * 251}
    assert refused(ask, rail, f"update_case/{case['id']}", long)[0] == 400


def test_too_many_requests_say_when_to_come_again(rail: RailServer, ask: httpx.Client) -> None:
    rail.rate_limit = 2
    get(ask, rail, "get_projects")
    get(ask, rail, "get_project/1")
    answer = ask.get(f"{rail.url}/index.php?/api/v2/get_statuses")
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 60
    assert answer.json()["error"].startswith("API Rate Limit Exceeded - 2 per minute")


def test_callers_and_rights_are_checked(rail: RailServer, ask: httpx.Client) -> None:
    assert get(ask, rail, "get_current_user")["email"] == rail.user
    assert get(ask, rail, f"get_user_by_email&email={rail.user}")["id"] == 1
    assert refused(ask, rail, "get_user_by_email&email=boss@example.com")[0] == 403
    assert refused(ask, rail, "get_project/2") == (
        400,
        "Field :project_id is not a valid or accessible project.",
    )
    assert refused(ask, rail, "get_everything") == (404, "Unknown method 'get_everything'")
    rail.denied = {"add_run"}
    assert refused(ask, rail, "add_run/1", {"name": "x"})[0] == 403
    rail.is_enabled = False
    assert refused(ask, rail, "get_projects")[1].startswith("The API is disabled")
    ask.auth = httpx.BasicAuth(rail.user, "wrong")
    assert refused(ask, rail, "get_projects") == (
        401,
        "Authentication failed: invalid or missing user/password or session cookie.",
    )
