# SPDX-License-Identifier: Apache-2.0
"""What `accel connectors check` says of planted misconfigurations, and what is refused before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import attrs
import pytest
from accelerate_jira.plugin import JiraSettings

from accelerate_core.cli import main
from accelerate_core.errors import ConfigError
from accelerate_core.secrets import Secret
from accelerate_core.testing import samples
from accelerate_core.testing.service import Answer

from .server import RESOLUTION, JiraServer
from .sites import connector_of


@pytest.fixture(params=[True, False], ids=["cloud", "data-center"])
def service(request: pytest.FixtureRequest) -> Iterator[JiraServer]:
    with JiraServer(cloud=request.param) as service:
        yield service


def deny(right: str) -> Callable[[JiraServer], None]:
    return lambda service: service.denied.add(right)


def need_a_team(service: JiraServer) -> None:
    service.required["customfield_10010"] = "Team"


def take_no_files(service: JiraServer) -> None:
    service.attachments_enabled = False


def nothing(service: JiraServer) -> None:
    pass


#: What is planted at the site and in the settings, and what has to be named.
WRONG: dict[str, tuple[Callable[[JiraServer], None], dict[str, Any], tuple[str, ...]]] = {
    "token": (nothing, {"token": Secret("wrong-token")}, ("`token`", "`user`")),
    "user": (nothing, {"user": "somebody@example.com"}, ("`token`", "`user`")),
    "project": (nothing, {"project": "NONE"}, ("`project`", "'NONE'")),
    "issue type": (nothing, {"issue_type": "Flaw"}, ("`issue_type`", "'Flaw'", "Bug, Story, Task")),
    "field": (need_a_team, {}, ("`fields`", "'Team'", "customfield_10010 = ...")),
    "no field": (nothing, {"fields": {"customfield_1": 1}}, ("`fields`", "'customfield_1'")),
    "see": (deny("BROWSE_PROJECTS"), {}, ("`project`", "Browse Projects")),
    "create": (deny("CREATE_ISSUES"), {}, ("permission Create Issues", "PERF")),
    "comment": (deny("ADD_COMMENTS"), {}, ("permission Add Comments", "PERF")),
    "move": (deny("TRANSITION_ISSUES"), {}, ("permission Transition Issues", "PERF")),
    "attach": (deny("CREATE_ATTACHMENTS"), {}, ("permission Create Attachments", "PERF")),
    "files": (take_no_files, {}, ("attachments are turned off",)),
    "link": (deny("LINK_ISSUES"), {}, ("permission Link Issues", "PERF")),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_and_nothing_else(service: JiraServer, name: str) -> None:
    plant, changes, said = WRONG[name]
    plant(service)
    connector = connector_of(service, **changes)
    (found,) = connector.check()
    connector.close()
    assert all(word in found for word in said), found
    assert service.token not in found and "wrong-token" not in found
    assert not service.issues


def test_all_that_is_wrong_is_named_at_once(service: JiraServer) -> None:
    service.denied |= {"ADD_COMMENTS", "TRANSITION_ISSUES"}
    service.required["customfield_10010"] = "Team"
    found = connector_of(service).check()
    assert [one.split(" in ")[0].split("permission ")[-1] for one in found[:2]] == [
        "Add Comments",
        "Transition Issues",
    ]
    assert len(found) == 3 and "'Team'" in found[2]


def test_a_field_that_jira_fills_in_itself_is_not_asked_for(service: JiraServer) -> None:
    need_a_team(service)
    service.defaults = set(service.required)
    connector = connector_of(service)
    assert list(connector.check()) == []
    connector.deliver(next(one for one in samples.every_event() if one.kind == "regression"))
    assert len(service.issues) == 1


def test_a_status_that_nothing_leads_to_is_named(service: JiraServer) -> None:
    (event,) = (one for one in samples.every_event() if one.kind == "regression")
    connector = connector_of(service, fixed_status="Closed")
    assert list(connector.check()) == []  # JIRA shows transitions of issues, and there is none
    connector.deliver(event)
    (found,) = connector.check()
    assert "`fixed_status`" in found and "accepted: Done, In Progress, To Do" in found
    assert list(connector_of(service, fixed_status="done").check()) == []


def field(kind: str, **more: Any) -> dict[str, Any]:
    """Return a field of a transition's screen that nobody has to fill in."""
    schema = {"type": kind, "items": more.pop("items", "string")}
    return {"required": False, "hasDefaultValue": False, "name": "A", "schema": schema, **more}


FIXED = {"name": "Fixed"}
#: The screen of the transition, what the settings give, and what has to be named.
SCREENS: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]] = {
    "not given": ({}, {}, ("'Resolution'", 'resolution = { name = "Fixed" }')),
    "not there": ({}, {"duedate": "2026-11-22"}, ("'duedate' is not on the screen", "resolution")),
    "no such value": ({}, {"resolution": {"name": "Done"}}, ("may not be Done", "Fixed, Won't Do")),
    "no table": ({}, {"resolution": "Fixed"}, ("'resolution' has to be a table",)),
    "no number": ({"a": field("number")}, {"a": "1"}, ("'a' has to be a number",)),
    "a truth": ({"a": field("number")}, {"a": True}, ("'a' has to be a number",)),
    "no text": ({"a": field("string")}, {"a": 1}, ("'a' has to be a text",)),
    "no array": ({"a": field("array")}, {"a": "x"}, ("'a' has to be an array",)),
    "no item": ({"a": field("array")}, {"a": ["x", 1]}, ("an item that has to be a text",)),
    "no option": (
        {"a": field("array", items="option", allowedValues=[{"id": "1", "value": "red"}])},
        {"a": [{"value": "red"}, {"value": "blue"}]},
        ("'a' may not be blue; accepted: red",),
    ),
}


@pytest.mark.parametrize("name", SCREENS)
@pytest.mark.parametrize("way", ["fixed", "open"])
def test_what_the_screen_of_a_transition_does_not_take_is_named(
    service: JiraServer, name: str, way: str
) -> None:
    more, given, said = SCREENS[name]
    (event,) = (one for one in samples.every_event() if one.kind == "regression")
    connector_of(service).deliver(event)
    if way == "open":
        next(iter(service.issues.values())).status = "Done"
    service.screens = {"31" if way == "fixed" else "11": {"resolution": RESOLUTION, **more}}
    fields = ({"resolution": FIXED} if name != "not given" else {}) | given
    found = connector_of(service, **{f"{way}_fields": fields}).check()
    assert f"`{way}_fields`" in found[0] and all(word in found[0] for word in said), found
    assert len(found) == 1


@pytest.mark.parametrize(
    ("shown", "value"),
    [
        (field("string"), "a text"),
        (
            {**field("string"), "schema": {"type": "string", "custom": "x:textarea"}},
            {"type": "doc"},
        ),
        (field("any"), 7),
        (field("number"), 7.5),
        (field("user"), {"accountId": "5b10a2844c20165700ede21g"}),
        (field("array", items="version", allowedValues=[{"id": "1", "name": "2"}]), [{"id": 1}]),
    ],
)
def test_what_the_screen_of_a_transition_takes_is_well(
    service: JiraServer, shown: dict[str, Any], value: Any
) -> None:
    (event,) = (one for one in samples.every_event() if one.kind == "regression")
    connector_of(service).deliver(event)
    service.screens["31"] = {"a": shown}
    assert list(connector_of(service, fixed_fields={"a": value}).check()) == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(status=404), "404"),
        (Answer(body=b"<html>Log in</html>"), "not one of JIRA's"),
        (Answer.of({"name": "another API"}), "not one of JIRA's"),
        (Answer.of([1, 2]), "not one of JIRA's"),
    ],
)
def test_another_address_is_named(answer: Answer, said: str) -> None:
    class Elsewhere(JiraServer):
        def handle(self, request: Any) -> Any:
            return answer

    with Elsewhere() as service:
        (found,) = connector_of(service).check()
        assert said in found and "`url`" in found
    (found,) = connector_of(service).check()
    assert "nobody answers" in found and "`url`" in found


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("url", "example.atlassian.net", "no address of a server"),
        ("url", "https://me:secret@example.atlassian.net", "credentials stand in"),
        ("project", "perf 1", "no key of a project"),
        ("labels", ("two words",), "takes no label 'two words'"),
        ("fields", {"labels": ["x"]}, "'labels' is set by the connector"),
        ("fields", {"duedate": date(2026, 11, 22)}, 'Write it as a text: "2026-11-22"'),
        ("fixed_fields", {"a": [{"b": date(2026, 11, 22)}]}, "JIRA takes no date: 2026-11-22"),
    ],
)
def test_settings_that_cannot_be_are_refused(setting: str, value: Any, said: str) -> None:
    good = JiraSettings(
        url="https://jira.example.com/jira", project="PERF", token=Secret("a-token")
    )
    with pytest.raises(ConfigError, match=said) as caught:
        attrs.evolve(good, **{setting: value})
    assert caught.value.info.where == setting and "me:secret" not in str(caught.value)


def test_a_pipeline_file_is_checked_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with JiraServer() as service:
        monkeypatch.setenv("JIRA_TOKEN", service.token)
        file = tmp_path / "pipeline.toml"
        text = f"""
            [[connectors]]
            use = "jira"
            url = "{service.url}"
            project = "PERF"
            user = "{service.email}"
            token = "env:JIRA_TOKEN"
            fields = {{ customfield_10010 = {{ value = "Kernels" }} }}
        """
        file.write_text(text)
        service.required["customfield_10010"] = "Team"
        assert main(["connectors", "check", str(file)]) == 0
        assert "jira: ok" in capsys.readouterr().out
        file.write_text(text.replace('"PERF"', '"OTHER"'))
        assert main(["connectors", "check", str(file)]) == 1
        shown = capsys.readouterr().out
        assert "`project`" in shown and service.token not in shown
        file.write_text(text.replace('"env:JIRA_TOKEN"', '"in the file"'))
        assert main(["connectors", "check", str(file)]) == 2
        assert "a secret stands in the file itself" in capsys.readouterr().err
