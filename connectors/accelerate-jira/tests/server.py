# SPDX-License-Identifier: Apache-2.0
"""Serve the part of the REST API of JIRA that is about issues, as its documentation says.

`JiraServer()` is JIRA Cloud (versions 2 and 3); `JiraServer(cloud=False)` is JIRA Data Center
(version 2, bearer tokens, the search that Cloud has no more). What goes wrong at a user's site is
planted by its attributes. Source of each route: the page of this name in the reference "The Jira
Cloud platform REST API" version 3, unless it says otherwise.
"""

from __future__ import annotations

import base64
import copy
import json
import time
from typing import Any
from urllib.parse import unquote

import attrs

from accelerate_core.testing.service import Answer, Request, Service, route

from . import adf, jql

API = r"/rest/api/(?P<api>2|3|latest)"
ISSUE = API + r"/issue/(?P<issue>[^/]+)"
INVISIBLE = "Issue does not exist or you do not have permission to see it."
GONE = (
    "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API. A full "
    "migration guideline is available at https://developer.atlassian.com/changelog/#CHANGE-2046"
)
NO_DOCUMENT = "Operation value must be an Atlassian Document (see the Atlassian Document Format)"
TOO_LONG = "The entered text is too long. It exceeds the allowed limit of 32,767 characters."
NO_FIELD = "Field '{}' cannot be set. It is not on the appropriate screen, or unknown."
TEXT_LIMIT = 32_767
SUMMARY_LIMIT = 255
PROPERTY_LIMIT = 32_768  #: characters of the JSON text of a value
#: Key: name and number, as "Get my permissions" shows them.
PERMISSIONS = {
    "BROWSE_PROJECTS": "Browse Projects",
    "CREATE_ISSUES": "Create Issues",
    "EDIT_ISSUES": "Edit Issues",
    "ADD_COMMENTS": "Add Comments",
    "EDIT_OWN_COMMENTS": "Edit Own Comments",
    "CREATE_ATTACHMENTS": "Create Attachments",
    "TRANSITION_ISSUES": "Transition Issues",
    "RESOLVE_ISSUES": "Resolve Issues",
    "LINK_ISSUES": "Link Issues",
    "ASSIGN_ISSUES": "Assign Issues",
}
#: Status: its id and the key of its category.
STATUSES = {
    "To Do": ("10000", "new"),
    "In Progress": ("3", "indeterminate"),
    "Done": ("10001", "done"),
}
CATEGORIES = {"new": "To Do", "indeterminate": "In Progress", "done": "Done"}
ISSUE_TYPES = {"Task": "10001", "Bug": "10004", "Story": "10002"}
USER = {"accountId": "5b10a2844c20165700ede21g", "displayName": "Mia Krystof", "active": True}
#: A field of a transition's screen: "Field metadata" in "Issues: Get transitions".
RESOLUTION: dict[str, Any] = {
    "required": True,
    "schema": {"type": "resolution", "system": "resolution"},
    "name": "Resolution",
    "key": "resolution",
    "hasDefaultValue": False,
    "operations": ["set"],
    "allowedValues": [{"id": "10000", "name": "Fixed"}, {"id": "10001", "name": "Won't Do"}],
}
SCREEN = {"summary": "Summary", "description": "Description", "labels": "Labels"}


@attrs.define(kw_only=True)
class Issue:
    """Hold what there is of an issue."""

    id: str
    key: str
    project: str
    issue_type: str
    fields: dict[str, Any]  #: as they were sent
    labels: list[str]
    status: str = "To Do"
    properties: dict[str, Any] = attrs.field(factory=dict)
    comments: list[dict[str, Any]] = attrs.field(factory=list)
    attachments: list[dict[str, Any]] = attrs.field(factory=list)
    links: list[dict[str, Any]] = attrs.field(factory=list)
    created: float = attrs.field(factory=time.time)

    @property
    def summary(self) -> str:
        return str(self.fields["summary"])

    @property
    def description(self) -> str:
        """The description as plain text."""
        return adf.text(self.fields.get("description") or "")

    @property
    def texts(self) -> list[str]:
        """The comments as plain text."""
        return [adf.text(comment["body"]) for comment in self.comments]


class Refused(Exception):
    """A request is answered with an error."""

    def __init__(self, status: int, *messages: str, **errors: str) -> None:
        self.answer = Answer.of({"errorMessages": list(messages), "errors": errors}, status)


class JiraServer(Service):
    """Serve issues from memory."""

    def __init__(self, *, cloud: bool = True) -> None:
        super().__init__()
        self.cloud = cloud
        self.email, self.token = "ci@example.com", "api-token-4711"
        #: Permissions that the user does not have.
        self.denied: set[str] = set()
        self.projects = {"PERF": "Performance"}
        #: Fields beside the summary that an issue needs: id and name.
        self.required: dict[str, str] = {}
        self.defaults: set[str] = set()  #: ids of those that JIRA fills in itself
        #: Id, name and the status it leads to.
        self.transitions = [
            ("11", "To Do", "To Do"),
            ("21", "In Progress", "In Progress"),
            ("31", "Done", "Done"),
        ]
        #: Screens of transitions: a transition's id, its fields as `transitions.fields` shows them.
        self.screens: dict[str, dict[str, dict[str, Any]]] = {}
        self.attachment_limit = 10_485_760  #: bytes
        self.attachments_enabled = True
        #: Properties that an app has declared for search, as `key.path`; others cannot be searched.
        self.indexed_properties: set[str] = set()
        self.issues: dict[str, Issue] = {}  #: by key
        #: What was wrong with documents that were refused: JIRA does not say it.
        self.wrong: list[str] = []
        self._index: dict[str, Issue] | None = None
        self._ids = iter(range(10000, 10**9))

    # --- for tests ----------------------------------------------------------------------------

    def lag(self) -> None:
        """Let searches show what is there now until `catch_up`: new issues are found later."""
        self._index = copy.deepcopy(self.issues)

    def catch_up(self) -> None:
        """Let searches show everything."""
        self._index = None

    def labelled(self, label: str) -> list[Issue]:
        """Return the issues with a label."""
        return [issue for issue in [*self.issues.values()] if label in issue.labels]

    # --- rights and errors --------------------------------------------------------------------

    def refusal(self, status: int) -> Answer:
        """Word errors: "Status codes" in "About", and "Rate limiting" (Cloud platform guides)."""
        if status == 401:
            text = "Client must be authenticated to access this resource."
            body = {"message": text, "status-code": 401}
            return Answer.of(body, 401, **{"x-seraph-loginreason": "AUTHENTICATED_FAILED"})
        if status == 429:
            limits = {
                "x-ratelimit-limit": "350",
                "x-ratelimit-remaining": "0",
                "x-ratelimit-nearlimit": "true",
                "x-ratelimit-reset": time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()),
                "ratelimit-reason": "jira-burst-based",
            }
            return Answer.of(
                {"errorMessages": ["Rate limit exceeded."], "errors": {}}, 429, **limits
            )
        return Refused(status, f"HTTP {status}").answer

    def allow(self, request: Request) -> Answer | None:
        """Check the caller: "Basic auth for REST APIs"; "Using personal access tokens" (Server)."""
        sent = request.headers.get("authorization")
        if sent is None:
            return None if request.path.endswith("/serverInfo") else self.refusal(401)
        basic = base64.b64encode(f"{self.email}:{self.token}".encode()).decode()
        accepted = [f"Basic {basic}"] if self.cloud else [f"Basic {basic}", f"Bearer {self.token}"]
        return None if sent in accepted else self.refusal(401)

    def handle(self, request: Request) -> Answer:
        """Answer a request; an error that a route raises is an answer."""
        if request.path.startswith("/rest/api/3/") and not self.cloud:
            return self.missing(request)
        try:
            return super().handle(request)
        except Refused as refused:
            return refused.answer
        except json.JSONDecodeError:
            return Refused(
                400, "There was an error parsing JSON. Check that your request body is valid."
            ).answer

    def _may(self, permission: str) -> bool:
        return permission not in self.denied

    def _project(self, key: str) -> str:
        """Return the key of a project that the caller sees."""
        for number, name in enumerate(self.projects):
            if key in (name, str(10100 + number)) and self._may("BROWSE_PROJECTS"):
                return name
        raise Refused(404, f"No project could be found with key '{key}'.")

    def _issue(self, request: Request) -> Issue:
        """Return an issue that the caller sees."""
        assert request.match is not None
        wanted = request.match["issue"]
        if self._may("BROWSE_PROJECTS"):
            for issue in self.issues.values():
                if wanted.upper() == issue.key or wanted == issue.id:
                    return issue
        raise Refused(404, INVISIBLE)

    # --- about the site and the caller --------------------------------------------------------

    @route("GET", API + "/serverInfo")
    def server_info(self, request: Request) -> Answer:
        """Server info: Get Jira instance info."""
        kind, version = ("Cloud", "1001.0.0-SNAPSHOT") if self.cloud else ("Server", "9.12.0")
        numbers = [int(part) for part in version.removesuffix("-SNAPSHOT").split(".")]
        return Answer.of(
            {
                "baseUrl": self.url,
                "version": version,
                "versionNumbers": numbers,
                "deploymentType": kind,
                "serverTitle": "JIRA",
            }
        )

    @route("GET", API + "/myself")
    def myself(self, request: Request) -> Answer:
        """Myself: Get current user."""
        return Answer.of({**self._user(), "emailAddress": self.email})

    @route("GET", API + "/mypermissions")
    def my_permissions(self, request: Request) -> Answer:
        """Permissions: Get my permissions; 400 when none or an unknown one is asked for."""
        wanted = [key for key in ",".join(request.query.get("permissions", [])).split(",") if key]
        if not wanted and self.cloud:
            raise Refused(400, "The 'permissions' query parameter is required.")
        if unknown := [key for key in wanted if key not in PERMISSIONS]:
            raise Refused(400, f"Unrecognized permission: {', '.join(unknown)}")
        for key in request.query.get("projectKey", []) + request.query.get("projectId", []):
            self._project(key)
        shown = {
            key: {
                "id": str(10 + number),
                "key": key,
                "name": name,
                "type": "PROJECT",
                "description": name,
                "havePermission": self._may(key),
            }
            for number, (key, name) in enumerate(PERMISSIONS.items())
            if not wanted or key in wanted
        }
        return Answer.of({"permissions": shown})

    # --- projects and what issues need --------------------------------------------------------

    @route("GET", API + "/project")
    def list_projects(self, request: Request) -> Answer:
        """Projects: Get all projects."""
        seen = self.projects if self._may("BROWSE_PROJECTS") else {}
        return Answer.of([self._show_project(key, request) for key in seen])

    @route("GET", API + "/project/(?P<project>[^/]+)")
    def get_project(self, request: Request) -> Answer:
        """Projects: Get project."""
        assert request.match is not None
        key = self._project(request.match["project"])
        shown = self._show_project(key, request)
        return Answer.of({**shown, "issueTypes": [self._type(name) for name in ISSUE_TYPES]})

    @route("GET", API + "/issue/createmeta/(?P<project>[^/]+)/issuetypes")
    def create_types(self, request: Request) -> Answer:
        """Issues: Get create metadata issue types for a project."""
        self._creating(request)
        return self._page(request, "issueTypes", [self._type(name) for name in ISSUE_TYPES])

    @route("GET", API + r"/issue/createmeta/(?P<project>[^/]+)/issuetypes/(?P<type>\d+)")
    def create_fields(self, request: Request) -> Answer:
        """Issues: Get create field metadata for a project and issue type id."""
        assert request.match is not None
        self._creating(request)
        if request.match["type"] not in ISSUE_TYPES.values():
            raise Refused(404, "The issue type selected is invalid.")
        fields = {"project": "Project", "issuetype": "Issue Type", **SCREEN, **self.required}
        needed = {"project", "issuetype", "summary", *self.required}
        shown = [
            {
                "fieldId": key,
                "key": key,
                "name": name,
                "required": key in needed,
                "hasDefaultValue": key in self.defaults,
                "operations": ["add", "set", "remove"] if key == "labels" else ["set"],
                "schema": {"type": "array" if key == "labels" else "string"},
            }
            for key, name in fields.items()
        ]
        return self._page(request, "fields", shown)

    @route("GET", API + "/field")
    def get_fields(self, request: Request) -> Answer:
        """Issue fields: Get fields."""
        fields = {**SCREEN, **self.required}
        shown = [
            {
                "id": key,
                "key": key,
                "name": name,
                "custom": key.startswith("customfield_"),
                "clauseNames": [key],
            }
            for key, name in fields.items()
        ]
        return Answer.of(shown)

    def _creating(self, request: Request) -> None:
        assert request.match is not None
        key = request.match["project"]
        self._project(key)
        if not self._may("CREATE_ISSUES"):
            raise Refused(404, f"No project could be found with key '{key}'.")

    def _page(self, request: Request, name: str, items: list[Any]) -> Answer:
        start = int(request.query.get("startAt", ["0"])[0])
        size = min(int(request.query.get("maxResults", ["50"])[0]), 200)
        shown = items[start : start + size]
        page = {"startAt": start, "maxResults": size, "total": len(items)}
        if self.cloud:
            return Answer.of({**page, name: shown})
        # "Create meta issue types" (REST API reference of Data Center).
        return Answer.of({**page, "isLast": start + size >= len(items), "values": shown})

    # --- issues -------------------------------------------------------------------------------

    @route("POST", API + "/issue")
    def create_issue(self, request: Request) -> Answer:
        """Issues: Create issue."""
        body = request.json()
        fields = dict(body.get("fields") or {})
        project = fields.pop("project", None) or {}
        issue_type = fields.pop("issuetype", None) or {}
        try:
            key = self._project(str(project.get("key") or project.get("id")))
        except Refused:
            raise Refused(400, project="Specify a valid project ID or key") from None
        if not self._may("CREATE_ISSUES"):
            raise Refused(400, "You do not have permission to create issues in this project.")
        names = {**{name: name for name in ISSUE_TYPES}, **{v: k for k, v in ISSUE_TYPES.items()}}
        kind = names.get(str(issue_type.get("name") or issue_type.get("id")))
        errors = {} if kind else {"issuetype": "The issue type selected is invalid."}
        errors |= self._field_errors(fields, request, new=True)
        if kind is None or errors:
            raise Refused(400, **errors)
        properties = {one["key"]: one["value"] for one in body.get("properties") or []}
        for name, value in properties.items():
            self._check_property(name, json.dumps(value))
        number = 1 + sum(issue.project == key for issue in self.issues.values())
        issue = Issue(
            id=str(next(self._ids)),
            key=f"{key}-{number}",
            project=key,
            issue_type=kind,
            labels=list(dict.fromkeys(fields.pop("labels", None) or [])),
            fields=fields,
            properties=properties,
        )
        self.issues[issue.key] = issue
        return Answer.of(
            {"id": issue.id, "key": issue.key, "self": self._self(issue, request)}, 201
        )

    @route("GET", ISSUE)
    def get_issue(self, request: Request) -> Answer:
        """Issues: Get issue."""
        return Answer.of(self._show(self._issue(request), request, self._fields(request, "*all")))

    @route("PUT", ISSUE)
    def edit_issue(self, request: Request) -> Answer:
        """Issues: Edit issue."""
        issue, body = self._issue(request), request.json()
        fields, update = dict(body.get("fields") or {}), dict(body.get("update") or {})
        if not self._may("EDIT_ISSUES"):
            raise Refused(400, **{name: NO_FIELD.format(name) for name in {**fields, **update}})
        labels = list(issue.labels)
        for change in update.pop("labels", []):
            ((verb, value),) = change.items()
            if verb == "set":
                labels = list(value)
            elif verb == "add":
                labels = [*labels, value] if value not in labels else labels
            else:
                labels = [label for label in labels if label != value]
            fields["labels"] = labels
        comments = [change["add"]["body"] for change in update.pop("comment", [])]
        for name, changes in update.items():
            fields[name] = changes[-1]["set"]
        if errors := self._field_errors(fields, request, new=False):
            raise Refused(400, **errors)
        bodies = [self._check_body(body, request) for body in comments]
        issue.labels = list(fields.pop("labels", labels))
        issue.fields |= fields
        issue.comments += [self._new_comment(issue, body) for body in bodies]
        if request.query.get("returnIssue") == ["true"]:
            return Answer.of(self._show(issue, request, ["*all"]))
        return Answer(status=204)

    def _field_errors(self, fields: dict[str, Any], request: Request, new: bool) -> dict[str, str]:
        """Return what is wrong with fields, by field."""
        known = {**SCREEN, **self.required}
        errors = {name: NO_FIELD.format(name) for name in fields if name not in known}
        if new:
            for key, name in self.required.items():
                if fields.get(key) in (None, "", []) and key not in self.defaults:
                    errors[key] = f"{name} is required."
        summary = fields.get("summary", "" if new else "x")
        if not isinstance(summary, str) or not summary.strip():
            errors["summary"] = "You must specify a summary of the issue."
        elif "\n" in summary or "\r" in summary:
            errors["summary"] = "The summary is invalid because it contains newline characters."
        elif len(summary) > SUMMARY_LIMIT:
            errors["summary"] = "Summary can't exceed 255 characters."
        for label in fields.get("labels") or []:
            if not isinstance(label, str) or " " in label:
                errors["labels"] = f"The label '{label}' contains spaces which is invalid."
            elif not 0 < len(label) <= 255:
                errors["labels"] = f"The label '{label}' exceeds the maximum length of 255."
        if (text := fields.get("description")) is not None:
            if _api(request) == "3":
                if not adf.is_document(text):
                    errors["description"] = NO_DOCUMENT
                else:
                    self._check_document(text)
            elif not isinstance(text, str):
                errors["description"] = "Operation value must be a string"
            if "description" not in errors and len(adf.text(text)) > TEXT_LIMIT:
                errors["description"] = TOO_LONG
        return errors

    def _check_document(self, document: dict[str, Any]) -> None:
        if found := adf.wrong(document):
            self.wrong += found
            raise Refused(400, "INVALID_INPUT")

    # --- comments -----------------------------------------------------------------------------

    @route("POST", ISSUE + "/comment")
    def add_comment(self, request: Request) -> Answer:
        """Issue comments: Add comment."""
        issue = self._issue(request)
        if not self._may("ADD_COMMENTS"):
            raise Refused(400, "You do not have the permission to comment on this issue.")
        comment = self._new_comment(issue, self._check_body(request.json().get("body"), request))
        issue.comments.append(comment)
        return Answer.of(self._show_comment(comment, request), 201)

    @route("GET", ISSUE + "/comment")
    def get_comments(self, request: Request) -> Answer:
        """Issue comments: Get comments, in the order in which they were created, or the other."""
        found = [self._show_comment(one, request) for one in self._issue(request).comments]
        order = request.query.get("orderBy", ["created"])[0]
        if order.lstrip("+-") != "created":
            raise Refused(400, f"The orderBy parameter '{order}' is invalid.")
        found = found[::-1] if order.startswith("-") else found
        start = int(request.query.get("startAt", ["0"])[0])
        size = min(int(request.query.get("maxResults", ["5000"])[0]), 5000)
        page = {"startAt": start, "maxResults": size, "total": len(found)}
        return Answer.of({**page, "comments": found[start : start + size]})

    @route("PUT", ISSUE + r"/comment/(?P<comment>\d+)")
    def update_comment(self, request: Request) -> Answer:
        """Issue comments: Update comment."""
        assert request.match is not None
        issue = self._issue(request)
        for comment in issue.comments:
            if comment["id"] == request.match["comment"]:
                if not self._may("EDIT_OWN_COMMENTS"):
                    raise Refused(400, "You do not have the permission to edit this comment.")
                comment["body"] = self._check_body(request.json().get("body"), request)
                return Answer.of(self._show_comment(comment, request))
        raise Refused(404, f"Can not find a comment for the id: {request.match['comment']}.")

    def _check_body(self, body: Any, request: Request) -> Any:
        if _api(request) == "3":
            if not adf.is_document(body):
                raise Refused(400, comment="Comment body is not valid!")
            self._check_document(body)
        if not isinstance(body, str | dict) or not adf.text(body).strip():
            raise Refused(400, comment="Comment body can not be empty!")
        if len(adf.text(body)) > TEXT_LIMIT:
            raise Refused(400, comment=TOO_LONG)
        return body

    def _new_comment(self, issue: Issue, body: Any) -> dict[str, Any]:
        return {"id": str(next(self._ids)), "body": body, "created": _stamp(time.time())}

    # --- properties ---------------------------------------------------------------------------

    @route("GET", ISSUE + "/properties")
    def get_properties(self, request: Request) -> Answer:
        """Issue properties: Get issue property keys."""
        issue = self._issue(request)
        own = f"{self._self(issue, request)}/properties"
        keys = [{"self": f"{own}/{key}", "key": key} for key in issue.properties]
        return Answer.of({"keys": keys})

    @route("GET", ISSUE + "/properties/(?P<property>[^/]+)")
    def get_property(self, request: Request) -> Answer:
        """Issue properties: Get issue property."""
        issue, key = self._property(request)
        if key not in issue.properties:
            raise Refused(404, f"The property with key '{key}' does not exist.")
        return Answer.of({"key": key, "value": issue.properties[key]})

    @route("PUT", ISSUE + "/properties/(?P<property>[^/]+)")
    def set_property(self, request: Request) -> Answer:
        """Issue properties: Set issue property; 201 when it is new."""
        issue, key = self._property(request)
        if not self._may("EDIT_ISSUES"):
            raise Refused(403, "You do not have permission to edit this issue.")
        self._check_property(key, request.body.decode())
        known = key in issue.properties
        issue.properties[key] = request.json()
        return Answer.of({}, 200 if known else 201)

    @route("DELETE", ISSUE + "/properties/(?P<property>[^/]+)")
    def delete_property(self, request: Request) -> Answer:
        """Issue properties: Delete issue property."""
        issue, key = self._property(request)
        if key not in issue.properties:
            raise Refused(404, f"The property with key '{key}' does not exist.")
        if not self._may("EDIT_ISSUES"):
            raise Refused(403, "You do not have permission to edit this issue.")
        del issue.properties[key]
        return Answer(status=204)

    def _property(self, request: Request) -> tuple[Issue, str]:
        assert request.match is not None
        return self._issue(request), unquote(request.match["property"])

    def _check_property(self, key: str, value: str) -> None:
        if not 0 < len(key) <= 255:
            raise Refused(400, "The property key must have 1 to 255 characters.")
        if not value.strip():
            raise Refused(400, "The property value must be a valid, non-empty JSON value.")
        if len(value) > PROPERTY_LIMIT:
            raise Refused(400, "The property value is too long: at most 32768 characters.")

    # --- attachments --------------------------------------------------------------------------

    @route("POST", ISSUE + "/attachments")
    def add_attachment(self, request: Request) -> Answer:
        """Issue attachments: Add attachment."""
        if request.headers.get("x-atlassian-token") not in ("no-check", "nocheck"):
            return Answer(status=403, body=b"XSRF check failed")
        issue = self._issue(request)
        if not self.attachments_enabled:
            raise Refused(404, "Attachments are disabled.")
        if not self._may("CREATE_ATTACHMENTS"):
            raise Refused(403, "You do not have permission to create attachments for this issue.")
        try:
            files = [part for part in request.parts() if part.name == "file" and part.filename]
        except ValueError:
            return Answer(status=415)
        if not files:
            raise Refused(400, "The multipart parameter must be named file.")
        if len(files) > 60 or any(len(part.content) > self.attachment_limit for part in files):
            raise Refused(413, "The attachment exceeds the maximum size allowed.")
        added = []
        for part in files:
            number = str(next(self._ids))
            added.append(
                {
                    "id": number,
                    "self": f"{self.url}/rest/api/{_api(request)}/attachment/{number}",
                    "filename": part.filename,
                    "mimeType": part.kind,
                    "size": len(part.content),
                    "created": _stamp(time.time()),
                    "author": self._user(),
                    "content": f"{self.url}/rest/api/{_api(request)}/attachment/content/{number}",
                }
            )
            issue.attachments.append({**added[-1], "bytes": part.content})
        return Answer.of(added)

    @route("GET", API + "/attachment/meta")
    def attachment_meta(self, request: Request) -> Answer:
        """Issue attachments: Get Jira attachment settings."""
        return Answer.of(
            {"enabled": self.attachments_enabled, "uploadLimit": self.attachment_limit}
        )

    @route("GET", API + r"/attachment/content/(?P<id>\d+)")
    def attachment_content(self, request: Request) -> Answer:
        """Issue attachments: Get attachment content."""
        assert request.match is not None
        for issue in self.issues.values():
            for one in issue.attachments:
                if one["id"] == request.match["id"] and self._may("BROWSE_PROJECTS"):
                    return Answer(body=one["bytes"], headers={"content-type": one["mimeType"]})
        raise Refused(404, "The attachment does not exist.")

    # --- transitions --------------------------------------------------------------------------

    @route("GET", ISSUE + "/transitions")
    def get_transitions(self, request: Request) -> Answer:
        """Issues: Get transitions; none without the right, and fields where they are asked for."""
        self._issue(request)
        has_fields = request.query.get("expand") == ["transitions.fields"]
        shown = [
            {
                "id": number,
                "name": name,
                "to": self._status(status),
                "hasScreen": number in self.screens,
                "isAvailable": True,
                "isConditional": False,
                "isGlobal": True,
                "isInitial": False,
                **({"fields": self.screens.get(number, {})} if has_fields else {}),
            }
            for number, name, status in self.transitions
            if self._may("TRANSITION_ISSUES")
        ]
        return Answer.of({"expand": "transitions", "transitions": shown})

    @route("POST", ISSUE + "/transitions")
    def transition(self, request: Request) -> Answer:
        """Issues: Transition issue."""
        issue, body = self._issue(request), request.json()
        wanted = str((body.get("transition") or {}).get("id", ""))
        if not wanted.isdigit():
            raise Refused(400, "'transition' identifier must be an integer")
        targets = {number: status for number, _, status in self.transitions}
        if wanted not in targets or not self._may("TRANSITION_ISSUES"):
            raise Refused(400, f"Transition id '{wanted}' is not valid for this issue.")
        if errors := self._screen_errors(self.screens.get(wanted, {}), body.get("fields") or {}):
            raise Refused(400, **errors)
        changes = (body.get("update") or {}).get("comment", [])
        bodies = [self._check_body(change["add"]["body"], request) for change in changes]
        issue.fields |= body.get("fields") or {}
        issue.status = targets[wanted]
        issue.comments += [self._new_comment(issue, body) for body in bodies]
        return Answer(status=204)

    def _screen_errors(
        self, screen: dict[str, dict[str, Any]], given: dict[str, Any]
    ) -> dict[str, str]:
        """Return what is wrong with the fields of a transition, by field."""
        errors = {key: NO_FIELD.format(key) for key in given if key not in screen}
        for key, field in screen.items():
            if key not in given:
                if field["required"] and not field["hasDefaultValue"]:
                    errors[key] = f"{field['name']} is required."
                continue
            known = [str(one["name"]) for one in field.get("allowedValues", ())]
            if not isinstance(given[key], dict):
                errors[key] = f"Could not find valid 'id' or 'name' in {key} object."
            elif known and given[key].get("name") not in known:
                errors[key] = f"{field['name']} name '{given[key].get('name')}' is not valid."
        return errors

    # --- links --------------------------------------------------------------------------------

    @route("GET", ISSUE + "/remotelink")
    def get_links(self, request: Request) -> Answer:
        """Issue remote links: Get remote issue links; one when a globalId is asked for."""
        links = self._issue(request).links
        if wanted := request.query.get("globalId"):
            for link in links:
                if link["globalId"] == wanted[0]:
                    return Answer.of(link)
            raise Refused(404, f"No remote link with globalId '{wanted[0]}' exists.")
        return Answer.of(links)

    @route("POST", ISSUE + "/remotelink")
    def put_link(self, request: Request) -> Answer:
        """Issue remote links: Create or update remote issue link; the same globalId updates."""
        issue, body = self._issue(request), request.json()
        if not self._may("LINK_ISSUES"):
            raise Refused(403, "You do not have permission to link issues.")
        target = body.get("object") or {}
        errors = {
            name: f"'{name}' is required." for name in ("title", "url") if not target.get(name)
        }
        if len(body.get("globalId") or "") > 255:
            errors["globalId"] = "'globalId' must have at most 255 characters."
        if errors:
            raise Refused(400, **errors)
        link = {name: body.get(name) for name in ("globalId", "application", "relationship")}
        link["object"] = target
        for old in issue.links:
            if link["globalId"] and old["globalId"] == link["globalId"]:
                old.update(link)
                return Answer.of({"id": old["id"], "self": old["self"]})
        number = next(self._ids)
        link |= {"id": number, "self": f"{self._self(issue, request)}/remotelink/{number}"}
        issue.links.append(link)
        return Answer.of({"id": number, "self": link["self"]}, 201)

    # --- search -------------------------------------------------------------------------------

    @route("GET", API + "/search/jql")
    def search_get(self, request: Request) -> Answer:
        """Issue search: Search for issues using JQL enhanced search (GET)."""
        return self._search(request, self._query(request))

    @route("POST", API + "/search/jql")
    def search_post(self, request: Request) -> Answer:
        """Issue search: Search for issues using JQL enhanced search (POST)."""
        return self._search(request, request.json())

    def _search(self, request: Request, query: dict[str, Any]) -> Answer:
        """Return a page of issues: only ids unless fields are asked for."""
        if not self.cloud:
            return self.missing(request)
        parsed = self._parse(str(query.get("jql") or ""))
        if parsed.test is None:
            raise Refused(
                400,
                "Unbounded JQL queries are not allowed here. Please add a search restriction to "
                "your query.",
            )
        found = self._find(parsed, [str(one) for one in query.get("reconcileIssues") or []])
        try:
            token = str(query.get("nextPageToken") or "")
            start = int(base64.urlsafe_b64decode(token)) if token else 0
        except ValueError:
            raise Refused(400, "The nextPageToken is invalid.") from None
        size = max(1, min(int(query.get("maxResults") or 50), 5000))
        shown = [
            self._show(issue, request, query.get("fields") or ["id"], query.get("properties"))
            for issue in found[start : start + size]
        ]
        if start + size >= len(found):
            return Answer.of({"issues": shown, "isLast": True})
        following = base64.urlsafe_b64encode(str(start + size).encode()).decode()
        return Answer.of({"issues": shown, "nextPageToken": following, "isLast": False})

    @route("GET", API + "/search")
    def old_search_get(self, request: Request) -> Answer:
        """Search (REST API reference of Data Center); gone from Cloud: changelog, CHANGE-2046."""
        return self._old_search(request, self._query(request))

    @route("POST", API + "/search")
    def old_search_post(self, request: Request) -> Answer:
        """Search using search request (Data Center); gone from Cloud: changelog, CHANGE-2046."""
        return self._old_search(request, request.json())

    def _old_search(self, request: Request, query: dict[str, Any]) -> Answer:
        if self.cloud:
            raise Refused(410, GONE)
        found = self._find(self._parse(str(query.get("jql") or "")), [])
        start, size = int(query.get("startAt") or 0), int(query.get("maxResults") or 50)
        fields = query.get("fields") or ["*all"]
        shown = [self._show(issue, request, fields) for issue in found[start : start + size]]
        page = {"startAt": start, "maxResults": size, "total": len(found)}
        return Answer.of({**page, "issues": shown})

    def _query(self, request: Request) -> dict[str, Any]:
        query: dict[str, Any] = {name: values[-1] for name, values in request.query.items()}
        for name in ("fields", "properties", "reconcileIssues"):
            if name in request.query:
                query[name] = self._fields(request, "", name)
        return query

    def _parse(self, text: str) -> jql.Query:
        seen = set(self.projects) if self._may("BROWSE_PROJECTS") else set()
        known = {
            "project": {key.lower() for key in seen},
            "status": {status.lower() for status in STATUSES},
            "statuscategory": {name.lower() for name in [*CATEGORIES, *CATEGORIES.values()]},
            "issuetype": {name.lower() for name in ISSUE_TYPES},
        }
        try:
            return jql.Query(text, known, self._values)
        except jql.JqlError as error:
            raise Refused(400, str(error)) from None

    def _find(self, query: jql.Query, reconcile: list[str]) -> list[Issue]:
        index = self.issues if self._index is None else self._index
        seen = {issue.id: issue for issue in index.values()}
        seen |= {issue.id: issue for issue in self.issues.values() if issue.id in reconcile[:50]}
        test = query.test or (lambda issue: True)
        found = [issue for issue in seen.values() if self._may("BROWSE_PROJECTS") and test(issue)]
        return sorted(found, key=lambda issue: int(issue.id), reverse=query.newest_first)

    def _values(self, issue: Issue | None, field: str) -> list[str] | None:
        """Return the values of a field for search; None: there is no such field."""
        if match := jql.PROPERTY.fullmatch(field):
            key, path = match[1] or match[2] or match[3], match[4]
            if f"{key}.{path}" not in self.indexed_properties:
                return None
            value: Any = issue.properties.get(key) if issue else None
            for part in path.split("."):
                value = value.get(part) if isinstance(value, dict) else None
            values = value if isinstance(value, list) else [value]
            return [str(one) for one in values if one is not None]
        if issue is None:
            names = "project key issuekey id issue labels status statuscategory issuetype type"
            return [] if field in f"{names} summary description comment text".split() else None
        category = STATUSES[issue.status][1]
        texts = [issue.summary, issue.description, *issue.texts]
        return {
            "project": [issue.project],
            **{name: [issue.key, issue.id] for name in ("key", "issuekey", "id", "issue")},
            "labels": issue.labels,
            "status": [issue.status],
            "statuscategory": [category, CATEGORIES[category]],
            **{name: [issue.issue_type] for name in ("issuetype", "type")},
            "summary": [issue.summary],
            "description": [issue.description],
            "comment": issue.texts,
            "text": [" ".join(texts)],
        }[field]

    # --- how things are shown -----------------------------------------------------------------

    def _fields(self, request: Request, default: str, name: str = "fields") -> list[str]:
        return ",".join(request.query.get(name, [default])).split(",")

    def _self(self, issue: Issue, request: Request) -> str:
        return f"{self.url}/rest/api/{_api(request)}/issue/{issue.id}"

    def _user(self) -> dict[str, Any]:
        if self.cloud:
            return {**USER, "accountType": "atlassian"}
        return {**USER, "name": "mia", "key": "mia"}

    def _type(self, name: str) -> dict[str, Any]:
        return {"id": ISSUE_TYPES[name], "name": name, "subtask": False}

    def _show_project(self, key: str, request: Request) -> dict[str, Any]:
        number = str(10100 + list(self.projects).index(key))
        own = f"{self.url}/rest/api/{_api(request)}/project/{number}"
        return {"self": own, "id": number, "key": key, "name": self.projects[key]}

    def _status(self, name: str) -> dict[str, Any]:
        number, category = STATUSES[name]
        shown = {"key": category, "name": CATEGORIES[category]}
        return {"id": number, "name": name, "statusCategory": shown}

    def _rich(self, value: Any, request: Request) -> Any:
        """Return a text as the version of the API has it: a document in 3, plain in 2."""
        if _api(request) == "3":
            return adf.of(value) if isinstance(value, str) else value
        return adf.text(value) if isinstance(value, dict) else value

    def _show_comment(self, comment: dict[str, Any], request: Request) -> dict[str, Any]:
        return {**comment, "body": self._rich(comment["body"], request), "author": self._user()}

    def _show(
        self, issue: Issue, request: Request, wanted: list[str], properties: Any = None
    ) -> dict[str, Any]:
        if wanted == ["id"]:
            shown: dict[str, Any] = {"id": issue.id}
        else:
            comments = [self._show_comment(one, request) for one in issue.comments]
            size = len(comments)
            files = [{k: v for k, v in one.items() if k != "bytes"} for one in issue.attachments]
            every = {
                **issue.fields,
                "description": self._rich(issue.fields.get("description"), request),
                "labels": issue.labels,
                "status": self._status(issue.status),
                "project": self._show_project(issue.project, request),
                "issuetype": self._type(issue.issue_type),
                "created": _stamp(issue.created),
                "comment": {
                    "comments": comments, "startAt": 0, "maxResults": size, "total": size,
                },
                "attachment": files,
            }  # fmt: skip
            # `*navigable` leaves out comments and attachments.
            if "*all" not in wanted:
                drop = {"comment", "attachment"} - set(wanted)
                keep = set(every) - drop if "*navigable" in wanted else set(wanted)
                every = {name: value for name, value in every.items() if name in keep}
            shown = {
                "id": issue.id,
                "key": issue.key,
                "self": self._self(issue, request),
                "fields": every,
            }
        if properties:
            chosen = {key: issue.properties[key] for key in properties if key in issue.properties}
            shown["properties"] = chosen
        return shown


def _api(request: Request) -> str:
    """Return the version of the API that is spoken; the latest is 2."""
    assert request.match is not None
    return "3" if request.match["api"] == "3" else "2"


def _stamp(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000+0000", time.gmtime(at))
