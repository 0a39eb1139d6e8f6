# SPDX-License-Identifier: Apache-2.0
"""The local JIRA answers as the documentation of its REST API says."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from . import adf
from .server import GONE, INVISIBLE, NO_DOCUMENT, NO_FIELD, RESOLUTION, TOO_LONG, JiraServer

DOCUMENT = adf.of("Latency went up.")


@pytest.fixture
def jira() -> Iterator[JiraServer]:
    with JiraServer() as server:
        yield server


@pytest.fixture
def ask(jira: JiraServer) -> Iterator[httpx.Client]:
    with client(jira) as found:
        yield found


def client(jira: JiraServer, **more: Any) -> httpx.Client:
    more = more or {"auth": (jira.email, jira.token)}
    # Reading certificates, which nobody needs here, takes longer than a test.
    return httpx.Client(base_url=f"{jira.url}/rest/api/3", trust_env=False, verify=False, **more)


def fields(**more: Any) -> dict[str, Any]:
    return {
        "project": {"key": "PERF"},
        "issuetype": {"name": "Bug"},
        "summary": "Slower",
        **more,
    }


def create(ask: httpx.Client, **more: Any) -> Any:
    answer = ask.post("/issue", json={"fields": fields(**more)})
    assert answer.status_code == 201, answer.text
    return answer.json()


def errors(answer: httpx.Response) -> tuple[int, list[str], dict[str, str]]:
    body = answer.json()
    return answer.status_code, body["errorMessages"], body["errors"]


def found(ask: httpx.Client, jql: str, **more: Any) -> list[str]:
    answer = ask.post("/search/jql", json={"jql": jql, "fields": ["summary"], **more})
    assert answer.status_code == 200, answer.text
    return [issue["key"] for issue in answer.json()["issues"]]


def test_an_issue_is_created_read_and_edited(jira: JiraServer, ask: httpx.Client) -> None:
    made = create(ask, description=DOCUMENT, labels=["accelerate"])
    assert made["key"] == "PERF-1" and made["self"].endswith(f"/rest/api/3/issue/{made['id']}")
    read = ask.get("/issue/PERF-1", params={"fields": "summary,labels,status"}).json()
    assert read["fields"]["status"]["statusCategory"]["key"] == "new"
    assert set(read["fields"]) == {"summary", "labels", "status"}
    change = {"fields": {"summary": "Faster"}, "update": {"labels": [{"add": "fixed"}]}}
    assert ask.put(f"/issue/{made['id']}", json=change).status_code == 204
    assert jira.issues["PERF-1"].summary == "Faster"
    assert [issue.key for issue in jira.labelled("fixed")] == ["PERF-1"]
    assert jira.issues["PERF-1"].description == "Latency went up."
    plain = ask.get(f"{jira.url}/rest/api/2/issue/PERF-1").json()
    assert plain["fields"]["description"] == "Latency went up."


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"project": {"key": "NO"}}, {"project": "Specify a valid project ID or key"}),
        ({"issuetype": {"name": "X"}}, {"issuetype": "The issue type selected is invalid."}),
        ({"summary": ""}, {"summary": "You must specify a summary of the issue."}),
        (
            {"summary": "a\nb"},
            {"summary": "The summary is invalid because it contains newline characters."},
        ),
        ({"summary": "x" * 256}, {"summary": "Summary can't exceed 255 characters."}),
        ({"labels": ["a b"]}, {"labels": "The label 'a b' contains spaces which is invalid."}),
        ({"description": adf.of("x" * 32_768)}, {"description": TOO_LONG}),
        ({"description": "plain"}, {"description": NO_DOCUMENT}),
        ({"customfield_1": 1}, {"customfield_1": NO_FIELD.format("customfield_1")}),
    ],
)
def test_wrong_fields_are_named(ask: httpx.Client, wrong: Any, said: dict[str, str]) -> None:
    answer = ask.post("/issue", json={"fields": fields(**wrong)})
    assert errors(answer) == (400, [], said)


def test_a_field_that_a_project_needs_is_told(jira: JiraServer, ask: httpx.Client) -> None:
    jira.required = {"customfield_10050": "Team"}
    answer = ask.post("/issue", json={"fields": fields()})
    assert errors(answer) == (400, [], {"customfield_10050": "Team is required."})
    types = ask.get("/issue/createmeta/PERF/issuetypes").json()["issueTypes"]
    bug = next(one["id"] for one in types if one["name"] == "Bug")
    shown = ask.get(f"/issue/createmeta/PERF/issuetypes/{bug}").json()["fields"]
    needed = {one["fieldId"] for one in shown if one["required"]}
    assert needed == {"project", "issuetype", "summary", "customfield_10050"}


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "paragraph", "content": [{"type": "text", "text": ""}]}],
        [{"type": "text", "text": "not a block"}],
        [{"type": "heading", "content": [], "attrs": {"level": 7}}],
        [{"type": "table", "content": [{"type": "tableRow", "content": []}]}],
        [{"type": "image"}],
        [
            {
                "type": "paragraph",
                "content": [{"type": "text", "text": "x", "marks": [{"type": "b"}]}],
            }
        ],
        [{"type": "panel", "content": [{"type": "paragraph"}], "attrs": {"panelType": "bad"}}],
    ],
)
def test_documents_that_break_the_format_are_refused(
    jira: JiraServer, ask: httpx.Client, content: Any
) -> None:
    create(ask)
    body = {"type": "doc", "version": 1, "content": content}
    answer = ask.post("/issue/PERF-1/comment", json={"body": body})
    assert errors(answer) == (400, ["INVALID_INPUT"], {}) and jira.wrong
    assert not jira.issues["PERF-1"].comments


def test_comments_are_documents_in_version_3_and_text_in_version_2(
    jira: JiraServer, ask: httpx.Client
) -> None:
    create(ask)
    made = ask.post("/issue/PERF-1/comment", json={"body": DOCUMENT})
    assert (made.status_code, made.json()["body"]) == (201, DOCUMENT)
    old = ask.post(f"{jira.url}/rest/api/2/issue/PERF-1/comment", json={"body": "{panel}x{panel}"})
    assert (old.status_code, old.json()["body"]) == (201, "{panel}x{panel}")
    refused = ask.post("/issue/PERF-1/comment", json={"body": "plain"})
    assert errors(refused) == (400, [], {"comment": "Comment body is not valid!"})
    shown = ask.get("/issue/PERF-1/comment", params={"orderBy": "-created", "maxResults": 1}).json()
    assert (shown["total"], [one["id"] for one in shown["comments"]]) == (2, [old.json()["id"]])
    changed = ask.put(f"/issue/PERF-1/comment/{made.json()['id']}", json={"body": adf.of("new")})
    assert changed.status_code == 200
    assert jira.issues["PERF-1"].texts == ["new", "{panel}x{panel}"]


def test_search_returns_ids_unless_fields_are_asked_for(ask: httpx.Client) -> None:
    made = [create(ask, labels=["accelerate", f"n{number}"])["id"] for number in range(3)]
    page = ask.get("/search/jql", params={"jql": "labels = accelerate", "maxResults": 2}).json()
    assert page["issues"] == [{"id": made[2]}, {"id": made[1]}] and page["isLast"] is False
    more = {"jql": "labels = accelerate", "nextPageToken": page["nextPageToken"]}
    last = ask.get("/search/jql", params=more).json()
    assert last == {"issues": [{"id": made[0]}], "isLast": True}
    assert found(ask, 'project = PERF AND labels = "n1" ORDER BY created ASC') == ["PERF-2"]


@pytest.mark.parametrize(
    ("jql", "keys"),
    [
        ('labels in (red, "blue") order by key asc', ["PERF-1", "PERF-2"]),
        ("labels != red", ["PERF-2"]),
        ("labels is EMPTY", ["PERF-3"]),
        ('summary ~ "slower gemm"', ["PERF-1"]),
        (
            "statusCategory != Done AND (labels = red OR labels = blue) AND NOT key = PERF-1",
            ["PERF-2"],
        ),
        ("status = 'In Progress'", []),
    ],
)
def test_a_subset_of_jql_is_understood(ask: httpx.Client, jql: str, keys: list[str]) -> None:
    create(ask, labels=["red"], summary="gemm is slower")
    create(ask, labels=["blue"])
    create(ask)
    assert found(ask, jql) == keys


@pytest.mark.parametrize(
    ("jql", "said"),
    [
        ("", "Unbounded JQL queries are not allowed here."),
        ("order by created", "Unbounded JQL queries are not allowed here."),
        ("project = NO", "The value 'NO' does not exist for the field 'project'."),
        ("colour = red", "Field 'colour' does not exist or you do not have permission to view it."),
        ("labels = a@b", "The character '@' is a reserved JQL character."),
        ("labels =", "Expecting a value before the end of the query."),
        ("issue.property[accelerate].key = x", "does not exist or you do not have permission"),
    ],
)
def test_bad_queries_are_refused(ask: httpx.Client, jql: str, said: str) -> None:
    status, messages, _ = errors(ask.post("/search/jql", json={"jql": jql}))
    assert status == 400 and said in messages[0]


def test_the_old_search_is_gone_from_the_cloud_only(ask: httpx.Client) -> None:
    assert errors(ask.get("/search", params={"jql": "project = PERF"})) == (410, [GONE], {})
    with JiraServer(cloud=False) as server:
        bearer = client(server, headers={"authorization": f"Bearer {server.token}"})
        old = bearer.get(f"{server.url}/rest/api/2/search", params={"jql": "project = PERF"})
        assert old.json() == {"startAt": 0, "maxResults": 50, "total": 0, "issues": []}
        assert bearer.get("/myself").status_code == 404  # No version 3 there.
        bearer.close()


def test_searches_lag_behind_but_for_issues_to_reconcile(
    jira: JiraServer, ask: httpx.Client
) -> None:
    jira.lag()
    made = create(ask, labels=["new"])
    assert found(ask, "labels = new") == []
    assert found(ask, "labels = new", reconcileIssues=[int(made["id"])]) == ["PERF-1"]
    jira.catch_up()
    assert found(ask, "labels = new") == ["PERF-1"]


def test_properties_are_kept_and_searched_when_an_app_declares_them(
    jira: JiraServer, ask: httpx.Client
) -> None:
    create(ask)
    at = "/issue/PERF-1/properties/accelerate"
    assert ask.get(at).status_code == 404
    assert ask.put(at, json={"key": "regression:1"}).status_code == 201
    assert ask.put(at, json={"key": "regression:2"}).status_code == 200
    assert ask.get(at).json() == {"key": "accelerate", "value": {"key": "regression:2"}}
    assert [one["key"] for one in ask.get(at.removesuffix("/accelerate")).json()["keys"]]
    jira.indexed_properties = {"accelerate.key"}
    assert found(ask, 'issue.property[accelerate].key = "regression:2"') == ["PERF-1"]
    assert ask.put(at, json="x" * 40_000).status_code == 400
    assert ask.delete(at).status_code == 204


def test_attachments_need_their_header_and_have_a_limit(
    jira: JiraServer, ask: httpx.Client
) -> None:
    create(ask)
    files = {"file": ("plot ü.png", b"\x89PNG\r\n", "image/png")}
    bare = ask.post("/issue/PERF-1/attachments", files=files)
    assert (bare.status_code, bare.text) == (403, "XSRF check failed")
    token = {"X-Atlassian-Token": "no-check"}
    (made,) = ask.post("/issue/PERF-1/attachments", files=files, headers=token).json()
    assert (made["filename"], made["size"], made["mimeType"]) == ("plot ü.png", 6, "image/png")
    assert ask.get(made["content"]).content == b"\x89PNG\r\n"
    jira.attachment_limit = 5
    large = ask.post("/issue/PERF-1/attachments", files=files, headers=token)
    assert large.status_code == 413 and len(jira.issues["PERF-1"].attachments) == 1


def test_transitions_lead_to_a_status(jira: JiraServer, ask: httpx.Client) -> None:
    create(ask)
    shown = ask.get("/issue/PERF-1/transitions").json()["transitions"]
    (done,) = [one for one in shown if one["to"]["statusCategory"]["key"] == "done"]
    bad = ask.post("/issue/PERF-1/transitions", json={"transition": {"id": "99"}})
    assert errors(bad) == (400, ["Transition id '99' is not valid for this issue."], {})
    answer = ask.post("/issue/PERF-1/transitions", json={"transition": {"id": done["id"]}})
    assert answer.status_code == 204 and jira.issues["PERF-1"].status == "Done"
    jira.screens = {"11": {"resolution": RESOLUTION}}
    asked = {"expand": "transitions.fields"}
    shown = ask.get("/issue/PERF-1/transitions", params=asked).json()["transitions"]
    assert [list(one["fields"]) for one in shown] == [["resolution"], [], []]
    bare = ask.post("/issue/PERF-1/transitions", json={"transition": {"id": "11"}})
    assert errors(bare) == (400, [], {"resolution": "Resolution is required."})
    jira.denied = {"TRANSITION_ISSUES"}
    assert ask.get("/issue/PERF-1/transitions").json()["transitions"] == []


def test_a_remote_link_of_the_same_global_id_is_updated(
    jira: JiraServer, ask: httpx.Client
) -> None:
    create(ask)
    link = {"globalId": "run:1", "object": {"url": "https://x/1", "title": "Report"}}
    first = ask.post("/issue/PERF-1/remotelink", json=link)
    link["object"] = {"url": "https://x/2", "title": "Report"}
    again = ask.post("/issue/PERF-1/remotelink", json=link)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert [one["object"]["url"] for one in jira.issues["PERF-1"].links] == ["https://x/2"]
    bare = ask.post("/issue/PERF-1/remotelink", json={"object": {"url": "https://x"}})
    assert errors(bare)[0] == 400


def test_rights_that_are_missing_are_told(jira: JiraServer, ask: httpx.Client) -> None:
    create(ask)
    jira.denied = {"CREATE_ISSUES"}
    asked = {"permissions": "CREATE_ISSUES,ADD_COMMENTS", "projectKey": "PERF"}
    shown = ask.get("/mypermissions", params=asked).json()["permissions"]
    assert {key: one["havePermission"] for key, one in shown.items()} == {
        "CREATE_ISSUES": False,
        "ADD_COMMENTS": True,
    }
    assert ask.get("/mypermissions").status_code == 400
    assert ask.get("/mypermissions", params={"permissions": "FLY"}).status_code == 400
    refused = ask.post("/issue", json={"fields": fields()})
    assert errors(refused)[:2] == (
        400,
        ["You do not have permission to create issues in this project."],
    )
    jira.denied = {"BROWSE_PROJECTS"}
    assert errors(ask.get("/issue/PERF-1")) == (404, [INVISIBLE], {})
    assert errors(ask.get("/project/PERF")) == (
        404,
        ["No project could be found with key 'PERF'."],
        {},
    )


def test_callers_are_known_by_their_token(jira: JiraServer, ask: httpx.Client) -> None:
    assert ask.get("/myself").json()["emailAddress"] == jira.email
    with client(jira, auth=(jira.email, "wrong")) as other:
        answer = other.get("/myself")
        assert (answer.status_code, answer.json()) == (
            401,
            {
                "message": "Client must be authenticated to access this resource.",
                "status-code": 401,
            },
        )
    with client(jira, headers={"accept": "application/json"}) as nobody:
        assert nobody.get("/serverInfo").json()["deploymentType"] == "Cloud"
        assert nobody.get("/myself").status_code == 401


def test_too_many_requests_say_when_to_come_again(jira: JiraServer, ask: httpx.Client) -> None:
    jira.fail_next("429")
    answer = ask.get("/myself")
    assert answer.status_code == 429 and answer.headers["retry-after"]
    assert answer.headers["x-ratelimit-remaining"] == "0"


@pytest.mark.parametrize("cloud", [True, False])
def test_the_python_client_can_speak_to_it(cloud: bool) -> None:
    from jira import JIRA

    with JiraServer(cloud=cloud) as server:
        auth: dict[str, Any] = (
            {"basic_auth": (server.email, server.token)} if cloud else {"token_auth": server.token}
        )
        speaker = JIRA(server.url, max_retries=0, **auth)
        issue = speaker.create_issue(fields=fields(description="text", labels=["a"]))
        speaker.add_comment(issue, "more")
        speaker.add_attachment(issue, attachment=io.BytesIO(b"png"), filename="a.png")
        speaker.transition_issue(issue, "Done")
        (found,) = speaker.search_issues("labels = a", fields="summary,status")
        assert found.fields.status.name == "Done"
        assert server.issues[issue.key].texts == ["more"]
        speaker.close()
