# SPDX-License-Identifier: Apache-2.0
"""Serve the part of TestRail's API (v2) that is about cases, runs and results, as documented.

What goes wrong at a user's site is planted by attributes. Source of each method: the page of this
name in the API reference of TestRail (Users, Projects, Suites, Sections, Cases, ...).
"""

from __future__ import annotations

import base64
import json
import math
import re
import time
from typing import Any

import attrs

from accelerate_core.testing.service import Answer, Request, Service, route

API = "/api/v2/"
PAGE = 250  #: entries in a list, at most
NAME_LIMIT = 250  #: characters of titles, names and custom fields of the type String
ATTACHMENT_LIMIT = 256 * 1024 * 1024  #: bytes
SINGLE, BASELINES, MULTIPLE = 1, 2, 3  #: suite modes
UNTESTED = 3
#: "Statuses": the system statuses.
STATUSES = {1: "Passed", 2: "Blocked", 3: "Untested", 4: "Retest", 5: "Failed"}
#: "Case Fields": types of custom fields.
STRING, TEXT = 1, 3
RUN = "Field :run_id is not a valid test run."
SUITE = "Field :suite_id is not a valid test suite."
SECTION = "Field :section_id is not a valid section."
CASE = "Field :case_id is not a valid test case."


@attrs.define(kw_only=True)
class Project:
    """Hold a project."""

    id: int
    name: str
    suite_mode: int = SINGLE
    is_accessible: bool = True
    is_completed: bool = False


class Refused(Exception):
    """A request is answered with an error."""

    def __init__(self, status: int, message: str, **headers: str) -> None:
        self.answer = Answer.of({"error": message}, status, **headers)


class RailServer(Service):
    """Serve projects, cases, runs and results from memory; ids count up over everything."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.key = "ci@example.com", "api-key-0815"
        self.is_enabled = True  #: the API, in the site settings
        self.can_edit_results = True  #: needed to attach files to results
        #: Methods that the role of the user does not allow.
        self.denied: set[str] = set()
        #: Requests in a window of 60 s (Professional subscription); None: a server of one's own.
        self.rate_limit: int | None = 180
        self.window_s = 60.0
        self.projects = {1: Project(id=1, name="Performance")}
        #: Custom fields of cases, by system name: type, and whether a case must have it.
        self.case_fields = {
            "custom_automation_id": (STRING, False),
            "custom_preconds": (TEXT, False),
        }
        self.result_fields: dict[str, tuple[int, bool]] = {}  #: likewise, of results
        self.suites: dict[int, dict[str, Any]] = {}
        self.sections: dict[int, dict[str, Any]] = {}
        self.cases: dict[int, dict[str, Any]] = {}
        self.runs: dict[int, dict[str, Any]] = {}
        self.tests: dict[int, dict[str, Any]] = {}
        self.results: dict[int, dict[str, Any]] = {}
        self.attachments: dict[int, dict[str, Any]] = {}
        self._ids = iter(range(1, 10**9))
        self._times: list[float] = []
        self.add_suite(1, "Master")

    # --- for tests ----------------------------------------------------------------------------

    def add_suite(self, project_id: int, name: str) -> int:
        """Add a suite as a person would do it; its id is returned."""
        number = next(self._ids)
        self.suites[number] = {"id": number, "name": name, "project_id": project_id}
        return number

    def results_of(self, automation_id: str) -> list[dict[str, Any]]:
        """Return the results of the cases with an automation id, oldest first."""
        cases = {
            number
            for number, case in self.cases.items()
            if case.get("custom_automation_id") == automation_id
        }
        tests = {number for number, test in self.tests.items() if test["case_id"] in cases}
        return [result for result in self.results.values() if result["test_id"] in tests]

    # --- rights and errors --------------------------------------------------------------------

    def refusal(self, status: int) -> Answer:
        """Word errors: "Error handling"."""
        said = {
            401: "Authentication failed: invalid or missing user/password or session cookie.",
            403: "You are not allowed to perform this action (insufficient permissions).",
            409: "The account is undergoing daily maintenance.",
            429: f"API Rate Limit Exceeded - {self.rate_limit} per minute maximum allowed. "
            "Retry after 1 seconds.",
        }
        return Refused(status, said.get(status, f"HTTP {status}")).answer

    def missing(self, request: Request) -> Answer:
        """Word the answer to a method that is not there."""
        name = request.path.removeprefix(API).split("/")[0]
        return Refused(404, f"Unknown method '{name}'").answer

    def allow(self, request: Request) -> Answer | None:
        """Check the caller: "Accessing the TestRail API"."""
        basic = base64.b64encode(f"{self.user}:{self.key}".encode()).decode()
        if request.headers.get("authorization") != f"Basic {basic}":
            return self.refusal(401)
        if not self.is_enabled:
            text = (
                "The API is disabled for your installation. It can be enabled in the "
                "administration area in TestRail under Administration > Site Settings > API."
            )
            return Refused(403, text).answer
        return self.refusal(403) if request.path.split("/")[3] in self.denied else None

    def handle(self, request: Request) -> Answer:
        """Answer a method: its path stands in the query string, its filters follow after `&`."""
        method = next((name for name in request.query if name.startswith(API)), None)
        if method is None or not request.path.endswith("/index.php"):
            return Answer(status=404)
        filters = {name: values for name, values in request.query.items() if name != method}
        try:
            with self._lock:
                self._count()
                return super().handle(attrs.evolve(request, path=method, query=filters))
        except Refused as refused:
            return refused.answer
        except json.JSONDecodeError:
            return Refused(400, "The request body is not valid JSON.").answer

    def _count(self) -> None:
        if self.rate_limit is None:
            return
        now = time.monotonic()
        self._times = [at for at in self._times if now - at < self.window_s]
        if len(self._times) >= self.rate_limit:
            wait = max(1, math.ceil(self._times[0] + self.window_s - now))
            text = (
                f"API Rate Limit Exceeded - {self.rate_limit} per minute maximum allowed. "
                f"Retry after {wait} seconds."
            )
            raise Refused(429, text, **{"retry-after": str(wait)})
        self._times.append(now)

    def _body(self, request: Request) -> dict[str, Any]:
        if not request.headers.get("content-type", "").startswith("application/json"):
            raise Refused(400, "Content-Type header missing (use Content-Type: application/json)")
        body = request.json() if request.body else {}
        if not isinstance(body, dict):
            raise Refused(400, "The request body must be a JSON object.")
        return body

    def _number(self, request: Request, name: str) -> int:
        assert request.match is not None
        if not request.match[1].isdigit():
            raise Refused(400, f"Field :{name} is not a valid ID.")
        return int(request.match[1])

    def _project(self, number: int) -> Project:
        project = self.projects.get(number)
        if project is None:
            raise Refused(400, "Field :project_id is not a valid or accessible project.")
        if not project.is_accessible:
            raise Refused(403, "You are not allowed to access the project.")
        return project

    def _of(self, things: dict[int, dict[str, Any]], number: int, said: str) -> dict[str, Any]:
        """Return a thing of a project that the caller may access."""
        if number not in things:
            raise Refused(400, said)
        self._project(things[number]["project_id"])
        return things[number]

    def _suite(self, project: Project, wanted: Any) -> dict[str, Any]:
        """Return the suite that is meant: it must be named unless there is but one."""
        if wanted is None:
            if project.suite_mode == MULTIPLE:
                raise Refused(400, "Field :suite_id is a required field.")
            return next(one for one in self.suites.values() if one["project_id"] == project.id)
        suite = self.suites.get(int(wanted)) if str(wanted).isdigit() else None
        if suite is None or suite["project_id"] != project.id:
            raise Refused(400, SUITE)
        return suite

    def _page(self, request: Request, name: str, items: list[Any], known: str = "") -> Answer:
        """Return a page of a list; "Bulk endpoints now support pagination" (Introduction).

        Filters by custom fields are passed over, as TestRail does; others that are not served
        here are refused so that nobody takes them for served.
        """
        asked = {name for name in request.query if not name.startswith("custom_")}
        unknown = asked - {"limit", "offset", *known.split()}
        if unknown:
            raise Refused(400, f"Field :{min(unknown)} is not a valid filter.")
        numbers = {"limit": PAGE, "offset": 0}
        for key in numbers:
            sent = request.query.get(key, [str(numbers[key])])[-1]
            if not sent.isdigit():
                raise Refused(400, f"Field :{key} is not a valid integer.")
            numbers[key] = int(sent)
        limit, offset = min(numbers["limit"], PAGE) or PAGE, numbers["offset"]
        shown = items[offset : offset + limit]
        filters = "".join(
            f"&{key}={values[-1]}" for key, values in request.query.items() if key not in numbers
        )

        def link(at: int) -> str:
            return f"{request.path}{filters}&limit={limit}&offset={at}"

        return Answer.of(
            {
                "offset": offset,
                "limit": limit,
                "size": len(shown),
                "_links": {
                    "next": link(offset + limit) if offset + limit < len(items) else None,
                    "prev": link(max(0, offset - limit)) if offset else None,
                },
                name: shown,
            }
        )

    def _text(self, body: dict[str, Any], name: str, needed: bool = False) -> Any:
        """Return a text of limited length."""
        value = body.get(name)
        if needed and (not isinstance(value, str) or not value.strip()):
            raise Refused(400, f"Field :{name} is a required field.")
        if isinstance(value, str) and len(value) > NAME_LIMIT:
            raise Refused(400, f"Field :{name} is too long ({NAME_LIMIT} characters at most).")
        return value

    # --- users, projects, suites, sections ----------------------------------------------------

    @route("GET", API + r"get_current_user(?:/\d+)?")
    def get_current_user(self, request: Request) -> Answer:
        """Users: get_current_user."""
        shown = {"id": 1, "name": "CI", "email": self.user, "is_active": True, "is_admin": False}
        return Answer.of({**shown, "role_id": 3, "role": "Tester"})

    @route("GET", API + "get_user_by_email")
    def get_user_by_email(self, request: Request) -> Answer:
        """Users: get_user_by_email; only administrators may ask for others."""
        email = request.query.get("email", [""])[-1]
        if not email:
            raise Refused(400, "Field :email is a required field.")
        if email != self.user:
            raise Refused(403, "Access Denied. You are not a TestRail administrator.")
        return self.get_current_user(request)

    @route("GET", API + "get_projects")
    def get_projects(self, request: Request) -> Answer:
        """Projects: get_projects."""
        seen = [self._show(one) for one in self.projects.values() if one.is_accessible]
        return self._page(request, "projects", seen, "is_completed")

    @route("GET", API + "get_project/([^/]+)")
    def get_project(self, request: Request) -> Answer:
        """Projects: get_project."""
        return Answer.of(self._show(self._project(self._number(request, "project_id"))))

    def _show(self, project: Project) -> dict[str, Any]:
        return {
            "id": project.id,
            "name": project.name,
            "suite_mode": project.suite_mode,
            "is_completed": project.is_completed,
            "url": f"{self.url}/index.php?/projects/overview/{project.id}",
        }

    @route("GET", API + "get_suites/([^/]+)")
    def get_suites(self, request: Request) -> Answer:
        """Suites: get_suites; no pages."""
        project = self._project(self._number(request, "project_id"))
        seen = [one for one in self.suites.values() if one["project_id"] == project.id]
        return Answer.of([{**one, "is_completed": False} for one in seen])

    @route("GET", API + "get_sections/([^/]+)")
    def get_sections(self, request: Request) -> Answer:
        """Sections: get_sections."""
        project = self._project(self._number(request, "project_id"))
        suite = self._suite(project, request.query.get("suite_id", [None])[-1])
        seen = [
            {name: value for name, value in one.items() if name != "project_id"}
            for one in self.sections.values()
            if one["suite_id"] == suite["id"]
        ]
        return self._page(request, "sections", seen, "suite_id")

    @route("POST", API + "add_section/([^/]+)")
    def add_section(self, request: Request) -> Answer:
        """Sections: add_section."""
        body = self._body(request)
        project = self._project(self._number(request, "project_id"))
        parent = None
        if (wanted := body.get("parent_id")) is not None:
            parent = self._of(self.sections, wanted, "Field :parent_id is not a valid section.")
        suite = self._suite(project, body.get("suite_id"))
        number = next(self._ids)
        section = {
            "id": number,
            "name": self._text(body, "name", needed=True),
            "description": body.get("description"),
            "parent_id": parent["id"] if parent else None,
            "depth": parent["depth"] + 1 if parent else 0,
            "display_order": len(self.sections) + 1,
            "suite_id": suite["id"],
        }
        self.sections[number] = {**section, "project_id": project.id}
        return Answer.of(section)

    # --- cases --------------------------------------------------------------------------------

    @route("GET", API + "get_case_fields")
    def get_case_fields(self, request: Request) -> Answer:
        """Case Fields: get_case_fields."""
        return Answer.of(_show_fields(self.case_fields))

    @route("GET", API + "get_result_fields")
    def get_result_fields(self, request: Request) -> Answer:
        """Result Fields: get_result_fields."""
        return Answer.of(_show_fields(self.result_fields))

    @route("GET", API + "get_cases/([^/]+)")
    def get_cases(self, request: Request) -> Answer:
        """Cases: get_cases; filters `section_id`, `refs` (one) and `filter` (in titles)."""
        project = self._project(self._number(request, "project_id"))
        query = {name: values[-1] for name, values in request.query.items()}
        suite = self._suite(project, query.get("suite_id"))
        seen = [
            self._show_case(case)
            for case in self.cases.values()
            if case["suite_id"] == suite["id"]
            and query.get("section_id", str(case["section_id"])) == str(case["section_id"])
            and ("refs" not in query or query["refs"] in re.split(r",\s*", case["refs"] or ""))
            and query.get("filter", "").lower() in case["title"].lower()
        ]
        return self._page(request, "cases", seen, "suite_id section_id refs filter")

    @route("GET", API + "get_case/([^/]+)")
    def get_case(self, request: Request) -> Answer:
        """Cases: get_case."""
        return Answer.of(
            self._show_case(self._of(self.cases, self._number(request, "case_id"), CASE))
        )

    @route("POST", API + "add_case/([^/]+)")
    def add_case(self, request: Request) -> Answer:
        """Cases: add_case."""
        body = self._body(request)
        section = self._of(self.sections, self._number(request, "section_id"), SECTION)
        custom = self._custom(body, dict.fromkeys(self.case_fields))
        number = next(self._ids)
        self.cases[number] = {
            "id": number,
            "title": self._text(body, "title", needed=True),
            "section_id": section["id"],
            "suite_id": section["suite_id"],
            "project_id": section["project_id"],
            "template_id": body.get("template_id", 1),
            "type_id": body.get("type_id", 7),
            "priority_id": body.get("priority_id", 2),
            "refs": self._text(body, "refs"),
            "created_on": int(time.time()),
            **custom,
        }
        return Answer.of(self._show_case(self.cases[number]))

    @route("POST", API + "update_case/([^/]+)")
    def update_case(self, request: Request) -> Answer:
        """Cases: update_case; fields that are not sent stay."""
        body = self._body(request)
        case = self._of(self.cases, self._number(request, "case_id"), CASE)
        changed = self._custom(body, {name: case.get(name) for name in self.case_fields})
        for name in ("title", "refs"):
            if name in body:
                changed[name] = self._text(body, name, needed=name == "title")
        if "section_id" in body:
            changed["section_id"] = self._of(self.sections, body["section_id"], SECTION)["id"]
        case.update(changed)
        return Answer.of(self._show_case(case))

    def _custom(self, body: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
        """Return the custom fields of a case; those that are not there are passed over."""
        for name, (kind, needed) in self.case_fields.items():
            if name in body:
                now[name] = self._text(body, name) if kind == STRING else body[name]
            if needed and now[name] in (None, ""):
                raise Refused(400, f"Field :{name} is a required field.")
        return now

    def _show_case(self, case: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in case.items() if name != "project_id"}

    # --- runs and tests -----------------------------------------------------------------------

    @route("POST", API + "add_run/([^/]+)")
    def add_run(self, request: Request) -> Answer:
        """Runs: add_run; all cases of the suite unless `include_all` is false."""
        body = self._body(request)
        project = self._project(self._number(request, "project_id"))
        suite = self._suite(project, body.get("suite_id"))
        name = self._text(body, "name", needed=True)
        refs = self._text(body, "refs")
        cases = self._chosen(body, suite["id"], body.get("include_all", True))
        number = next(self._ids)
        self.runs[number] = {
            "id": number,
            "name": name,
            "description": body.get("description"),
            "refs": refs,
            "suite_id": suite["id"],
            "project_id": project.id,
            "include_all": body.get("include_all", True),
            "is_completed": False,
            "completed_on": None,
            "created_on": int(time.time()),
            "url": f"{self.url}/index.php?/runs/view/{number}",
        }
        self._select(number, cases)
        return Answer.of(self._show_run(self.runs[number]))

    @route("POST", API + "update_run/([^/]+)")
    def update_run(self, request: Request) -> Answer:
        """Runs: update_run; `case_ids` replaces the cases that were chosen."""
        body, run = self._body(request), self._open_run(request)
        changed: dict[str, Any] = {}
        for name in ("name", "refs"):
            if name in body:
                changed[name] = self._text(body, name, needed=name == "name")
        if "description" in body:
            changed["description"] = body["description"]
        if {"include_all", "case_ids"} & set(body):
            changed["include_all"] = body.get("include_all", run["include_all"])
            self._select(run["id"], self._chosen(body, run["suite_id"], changed["include_all"]))
        run.update(changed)
        return Answer.of(self._show_run(run))

    @route("POST", API + "close_run/([^/]+)")
    def close_run(self, request: Request) -> Answer:
        """Runs: close_run."""
        run = self._open_run(request)
        run.update(is_completed=True, completed_on=int(time.time()))
        return Answer.of(self._show_run(run))

    @route("GET", API + "get_run/([^/]+)")
    def get_run(self, request: Request) -> Answer:
        """Runs: get_run."""
        return Answer.of(self._show_run(self._run(request)))

    @route("GET", API + "get_runs/([^/]+)")
    def get_runs(self, request: Request) -> Answer:
        """Runs: get_runs; newest first, by `is_completed`, `refs_filter`, `suite_id`, creation."""
        project = self._project(self._number(request, "project_id"))
        query = {name: values[-1] for name, values in request.query.items()}
        seen = [
            self._show_run(run)
            for run in reversed(self.runs.values())
            if run["project_id"] == project.id
            and query.get("is_completed", str(int(run["is_completed"])))
            == str(int(run["is_completed"]))
            and query.get("refs_filter", run["refs"]) == run["refs"]
            and str(run["suite_id"]) in query.get("suite_id", str(run["suite_id"])).split(",")
            and run["created_on"] > int(query.get("created_after", 0))
        ]
        known = "is_completed refs_filter suite_id created_after"
        return self._page(request, "runs", seen, known)

    @route("GET", API + "get_tests/([^/]+)")
    def get_tests(self, request: Request) -> Answer:
        """Tests: get_tests; filter `status_id`."""
        run = self._run(request)
        wanted = request.query.get("status_id", [""])[-1]
        seen = [
            test
            for test in self._tests_of(run["id"])
            if not wanted or str(test["status_id"]) in wanted.split(",")
        ]
        return self._page(request, "tests", seen, "status_id")

    def _run(self, request: Request) -> dict[str, Any]:
        return self._of(self.runs, self._number(request, "run_id"), RUN)

    def _open_run(self, request: Request) -> dict[str, Any]:
        run = self._run(request)
        if run["is_completed"]:
            raise Refused(400, RUN)
        return run

    def _chosen(self, body: dict[str, Any], suite_id: int, every: bool) -> list[int]:
        there = [number for number, case in self.cases.items() if case["suite_id"] == suite_id]
        if every:
            return there
        wanted = body.get("case_ids", [])
        if not isinstance(wanted, list) or not all(isinstance(one, int) for one in wanted):
            raise Refused(400, "Field :case_ids is not a valid ID.")
        if set(wanted) - set(there):
            raise Refused(400, "Field :case_ids contains one or more invalid IDs.")
        return wanted

    def _tests_of(self, run_id: int) -> list[dict[str, Any]]:
        run = self.runs[run_id]
        if run["include_all"] and not run["is_completed"]:
            self._select(run_id, self._chosen({}, run["suite_id"], True))
        return [test for test in self.tests.values() if test["run_id"] == run_id]

    def _select(self, run_id: int, cases: list[int]) -> None:
        """Make the tests of a run those of these cases."""
        had = {
            test["case_id"]: number
            for number, test in self.tests.items()
            if test["run_id"] == run_id
        }
        for case_id in set(had) - set(cases):
            del self.tests[had[case_id]]
        for case_id in cases:
            if case_id not in had:
                number = next(self._ids)
                case = self.cases[case_id]
                self.tests[number] = {
                    "id": number,
                    "case_id": case_id,
                    "run_id": run_id,
                    "status_id": UNTESTED,
                    "title": case["title"],
                    "refs": case["refs"],
                }

    def _show_run(self, run: dict[str, Any]) -> dict[str, Any]:
        statuses = [test["status_id"] for test in self._tests_of(run["id"])]
        counts = {
            f"{name.lower()}_count": statuses.count(number) for number, name in STATUSES.items()
        }
        return {**run, **counts}

    # --- results ------------------------------------------------------------------------------

    @route("GET", API + "get_statuses")
    def get_statuses(self, request: Request) -> Answer:
        """Statuses: get_statuses; no pages."""
        shown = [
            {
                "id": number,
                "name": label.lower(),
                "label": label,
                "is_system": True,
                "is_untested": number == UNTESTED,
                "is_final": number in (1, 2, 5),
            }
            for number, label in STATUSES.items()
        ]
        return Answer.of(shown)

    @route("POST", API + "add_results_for_cases/([^/]+)")
    def add_results_for_cases(self, request: Request) -> Answer:
        """Results: add_results_for_cases; nothing is added when one result is wrong."""
        body, run = self._body(request), self._open_run(request)
        sent = body.get("results")
        if not isinstance(sent, list) or not sent:
            raise Refused(400, "Field :results cannot be empty (one result is required)")
        tests = {test["case_id"]: test for test in self._tests_of(run["id"])}
        for one in sent:
            if not isinstance(one, dict) or one.get("case_id") is None:
                raise Refused(400, "Field :results.case_id is a required field.")
        if not any(one["case_id"] in tests for one in sent):
            text = "Field :results cannot be empty but no valid tests or cases found"
            raise Refused(400, text)
        for one in sent:
            if one["case_id"] not in tests:
                text = f"case C{one['case_id']} unknown or not part of the test run"
                raise Refused(400, f"Field :results contains one or more invalid results ({text})")
            self._check_result(one)
        return Answer.of([self._new_result(tests[one["case_id"]], one) for one in sent])

    def _check_result(self, one: dict[str, Any]) -> None:
        status = one.get("status_id")
        if status is None and not {"comment", "assignedto_id"} & set(one):
            raise Refused(400, "Field :results.status_id is a required field.")
        # "3: Untested (not allowed when adding a new test result)".
        if status is not None and (status not in STATUSES or status == UNTESTED):
            raise Refused(400, "Field :results.status_id uses an invalid status.")
        for name, (_, needed) in self.result_fields.items():
            if needed and one.get(name) in (None, ""):
                raise Refused(400, f"Field :{name} is a required field.")
        span = one.get("elapsed")
        if span is not None and (
            not re.fullmatch(r"\s*(\d+\s*[wdhms]\s*)+", str(span)) or not re.search("[1-9]", span)
        ):
            raise Refused(400, "Field :results.elapsed is not in a valid time span format.")
        for name in ("version", "defects"):
            if len(str(one.get(name) or "")) > NAME_LIMIT:
                text = f"Field :results.{name} is too long ({NAME_LIMIT} characters at most)."
                raise Refused(400, text)

    def _new_result(self, test: dict[str, Any], one: dict[str, Any]) -> dict[str, Any]:
        number = next(self._ids)
        names = ("status_id", "comment", "version", "elapsed", "defects", "assignedto_id")
        result = {name: one.get(name) for name in names}
        result |= {"id": number, "test_id": test["id"], "created_on": int(time.time())}
        self.results[number] = {**result, "created_by": 1, "attachment_ids": []}
        test["status_id"] = one.get("status_id") or test["status_id"]
        return self.results[number]

    @route("GET", API + "get_results_for_run/([^/]+)")
    def get_results_for_run(self, request: Request) -> Answer:
        """Results: get_results_for_run; newest first; filters `status_id`, `defects_filter`."""
        tests = {test["id"] for test in self._tests_of(self._run(request)["id"])}
        query = {name: values[-1] for name, values in request.query.items()}
        seen = [
            one
            for one in reversed(self.results.values())
            if one["test_id"] in tests
            and str(one["status_id"]) in query.get("status_id", str(one["status_id"])).split(",")
            and query.get("defects_filter", "") in (one["defects"] or "")
        ]
        known = "status_id defects_filter"
        return self._page(request, "results", seen, known)

    # --- attachments --------------------------------------------------------------------------

    @route("POST", API + "add_attachment_to_run/([^/]+)")
    def add_attachment_to_run(self, request: Request) -> Answer:
        """Attachments: add_attachment_to_run."""
        return self._attach(request, run_id=self._run(request)["id"])

    @route("POST", API + "add_attachment_to_result/([^/]+)")
    def add_attachment_to_result(self, request: Request) -> Answer:
        """Attachments: add_attachment_to_result; results must be open to edits."""
        number = self._number(request, "result_id")
        if number not in self.results:
            raise Refused(400, "Field :result_id is not a valid test result.")
        if not self.can_edit_results:
            raise Refused(403, "Editing test results is disabled (Site Settings).")
        answer = self._attach(request, result_id=number)
        self.results[number]["attachment_ids"].append(json.loads(answer.body)["attachment_id"])
        return answer

    def _attach(self, request: Request, **to: int) -> Answer:
        try:
            parts = [part for part in request.parts() if part.name == "attachment"]
        except ValueError:
            parts = []
        if len(parts) != 1 or not parts[0].filename or len(parts[0].content) > ATTACHMENT_LIMIT:
            raise Refused(400, "No file attached or upload size was exceeded.")
        (part,) = parts
        number = next(self._ids)
        self.attachments[number] = {**to, "name": part.filename, "bytes": part.content}
        return Answer.of({"attachment_id": number})

    @route("GET", API + "get_attachments_for_run/([^/]+)")
    def get_attachments_for_run(self, request: Request) -> Answer:
        """Attachments: get_attachments_for_run."""
        run = self._run(request)
        seen = [
            {"id": number, "name": one["name"], "size": len(one["bytes"])}
            for number, one in self.attachments.items()
            if one.get("run_id") == run["id"]
        ]
        return self._page(request, "attachments", seen)


def _show_fields(fields: dict[str, tuple[int, bool]]) -> list[dict[str, Any]]:
    return [
        {
            "id": number,
            "name": system.removeprefix("custom_"),
            "system_name": system,
            "label": system.removeprefix("custom_").replace("_", " ").title(),
            "type_id": kind,
            "configs": [
                {
                    "context": {"is_global": True, "project_ids": None},
                    "options": {"is_required": needed, "default_value": ""},
                }
            ],
        }
        for number, (system, (kind, needed)) in enumerate(fields.items(), 1)
    ]
