# SPDX-License-Identifier: Apache-2.0
"""Azure DevOps Services' REST API, version 7.1, as far as a tool in a pipeline speaks to it.

Written from the Azure DevOps Services REST API Reference (Git: Pull Request Threads, Pull Request
Statuses, Statuses; Build: Builds, Artifacts) and its published specifications with examples.
"""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

from accelerate_core.testing.service import Answer, Request, route

from .common import Api, Refused, archive, first, now, number, zipped

TOKEN = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.e30.c2ln"
ORGANIZATION, PROJECT = "fabrikam", "Fabrikam Fiber"
PROJECT_ID = "a7573007-bbb3-4341-b726-0c4148a07853"
REPOSITORY, REPOSITORY_ID = "hello-world", "3411ebc1-d5aa-464f-9615-0b527bc66719"
_PROJECT = rf"/{ORGANIZATION}/(?:{quote(PROJECT)}|{PROJECT_ID})"
_GIT = (
    rf"/{ORGANIZATION}(?:/{quote(PROJECT)}|/{PROJECT_ID})?/_apis/git/repositories/"
    rf"(?:{REPOSITORY}|{REPOSITORY_ID})"
)
_PULL = rf"{_GIT}/(?i:pullRequests)/(\d+)"
_STATES = ("notSet", "pending", "succeeded", "failed", "error", "notApplicable")
_THREADS = ("unknown", "active", "fixed", "wontFix", "closed", "byDesign", "pending")
_COMMENTS = ("unknown", "text", "codeChange", "system")


class Azure(Api):
    """Hold one project with one repository.

    `permissions` are those of the build service's identity in the repository, by the names that
    the errors have: `PullRequestContribute`, `GenericContribute`; `ViewBuilds` of the project.
    """

    def __init__(self) -> None:
        super().__init__()
        self.permissions = {"GenericRead", "GenericContribute", "PullRequestContribute"}
        self.permissions |= {"ViewBuilds"}
        self.pulls = {22}
        self.commits = {"67cae2b029dff7eb3dc062b49403aaedca5bad8d"}
        self.threads: dict[int, list[dict[str, Any]]] = {22: []}
        self.pull_statuses: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        self.builds: list[dict[str, Any]] = []
        self.artifacts: dict[int, list[dict[str, Any]]] = {}
        self._archives: dict[tuple[int, str], bytes] = {}
        self._ids = 140
        self._limits: list[Answer] = []

    # --- state --------------------------------------------------------------------------------

    def lack(self, *permissions: str) -> None:
        """Take permissions from the identity."""
        self.permissions -= set(permissions)

    def limit_next(self, wait_s: float = 1.0) -> None:
        """Refuse the next request ("Rate and usage limits", API client experience)."""
        text = "TF400733: The request has been canceled: Request was blocked."
        headers = {"retry-after": str(wait_s), "x-ratelimit-remaining": "0"}
        self._limits.append(_error(429, "RequestBlockedException", text, **headers))

    def add_thread(self, content: str, pull: int = 22, kind: str = "text") -> dict[str, Any]:
        """Start a thread as somebody else; `system` ones are what the service itself says."""
        self._ids += 1
        thread: dict[str, Any] = {
            "id": self._ids, "pullRequestThreadContext": None, "threadContext": None,
            "publishedDate": now(), "lastUpdatedDate": now(), "properties": {},
            "comments": [], "isDeleted": False,
        }  # fmt: skip
        if kind != "system":
            thread["status"] = "active"
        self._comment(thread, {"content": content}, kind)
        self.threads[pull].append(thread)
        return thread

    def add_build(
        self, branch: str = "refs/heads/main", result: str = "succeeded", definition: int = 12
    ) -> int:
        """Have a build end and return its id; later ones are newer."""
        self._ids += 1
        self.builds.append({
            "id": self._ids, "buildNumber": f"20260322.{len(self.builds) + 1}",
            "status": "completed", "result": result, "sourceBranch": branch,
            "sourceVersion": "f47bbc106853afe3c1b07a81754bce5f4b8dbf62", "finishTime": now(),
            "definition": {"id": definition, "name": "bench"},
        })  # fmt: skip
        self.artifacts[self._ids] = []
        return self._ids

    def add_artifact(self, build: int, name: str, files: dict[str, bytes]) -> None:
        """Keep an artifact of a build; its files lie in a folder of its name."""
        content = zipped({f"{name}/{path}": data for path, data in files.items()})
        self._archives[build, name] = content
        base = f"{self.url}/{ORGANIZATION}/{PROJECT_ID}/_apis/build/builds/{build}/artifacts"
        self.artifacts[build].append({
            "id": len(self._archives), "name": name,
            "source": "12f1170f-54f2-53f3-20dd-22fc7dff55f9",
            "resource": {
                "type": "PipelineArtifact", "data": "0A1B2C", "url": f"{base}?artifactName={name}",
                "properties": {"artifactsize": str(len(content))},
                "downloadUrl": f"{base}?artifactName={quote(name)}&api-version=7.1&%24format=zip",
            },
        })  # fmt: skip

    # --- what holds for every request ---------------------------------------------------------

    def refusal(self, status: int) -> Answer:
        """Word errors as the service does."""
        user = "TF400813: The user '' is not authorized to access this resource."
        known = {
            401: ("UnauthorizedRequestException", user),
            404: ("VssResourceNotFoundException", "The resource cannot be found."),
        }
        kind, text = known.get(status, ("VssServiceException", f"Request failed: {status}"))
        return _error(status, kind, text)

    def allow(self, request: Request) -> Answer | None:
        """Check the token and the version.

        "Get started with the REST API": `Basic` with an empty name and a personal access token, or
        `Bearer` with `System.AccessToken`. A token that is none gets the page to sign in with 203,
        for PATCH 401 (issue 52 of microsoft/azure-devops-auth-samples).
        """
        if self._limits:
            return self._limits.pop(0)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            token = base64.b64decode(token).decode().partition(":")[2]
        if token != TOKEN:
            if request.method == "PATCH":
                return self.refusal(401)
            page = b"<!DOCTYPE html><html><title>Azure DevOps Services | Sign In</title></html>"
            return Answer(status=203, body=page, headers={"content-type": "text/html"})
        if request.method != "GET" and not first(request, "api-version"):
            text = f'No api-version was supplied for the "{request.method}" request.'
            return _error(400, "VssVersionNotSpecifiedException", text)
        return None

    def needs(self, permission: str) -> None:
        """Refuse an identity without a permission, naming it."""
        if permission in self.permissions:
            return
        if permission == "ViewBuilds":
            text = "Access denied. Build Service needs View builds permissions to perform it."
            raise Refused(_error(403, "AccessDeniedException", text))
        text = (
            f"TF401027: You need the Git '{permission}' permission to perform this action. "
            "Details: identity 'Build\\2fa95b7a-c774-4595-a6f2-63f482634e9f', scope 'repository'."
        )
        raise Refused(_error(403, "GitNeedsPermissionException", text))

    # --- threads ------------------------------------------------------------------------------

    @route("GET", _GIT)
    def get_repository(self, request: Request) -> Answer:
        """Answer Git, Repositories, Get Repository."""
        self.needs("GenericRead")
        data = {"id": REPOSITORY_ID, "name": REPOSITORY, "defaultBranch": "refs/heads/main"}
        return Answer.of(data | {"project": {"id": PROJECT_ID, "name": PROJECT}})

    @route("GET", rf"{_PULL}/threads")
    def list_threads(self, request: Request) -> Answer:
        """Answer Git, Pull Request Threads, List: all of them, system ones too, no pages."""
        self.needs("GenericRead")
        return _list(self.threads[self._pull(request)])

    @route("POST", rf"{_PULL}/threads")
    def create_thread(self, request: Request) -> Answer:
        """Answer Git, Pull Request Threads, Create: 200."""
        self.needs("PullRequestContribute")
        pull, data = self._pull(request), self.body(request)
        if not data.get("comments"):
            text = "Value cannot be null. Parameter name: comments"
            return _error(400, "ArgumentNullException", text)
        thread = self.add_thread(self._content(data["comments"][0]), pull)
        thread["comments"][0]["author"]["displayName"] = "Build Service"
        for comment in data["comments"][1:]:
            self._comment(thread, comment)
        thread |= {
            "status": _named(data.get("status", "active"), _THREADS),
            "properties": _properties(data.get("properties")),
            "threadContext": data.get("threadContext"),
        }
        return Answer.of(thread)

    @route("PATCH", rf"{_PULL}/threads/(\d+)")
    def update_thread(self, request: Request) -> Answer:
        """Answer Git, Pull Request Threads, Update: its status."""
        self.needs("PullRequestContribute")
        thread, data = self._thread_of(request), self.body(request)
        if "status" in data:
            thread["status"] = _named(data["status"], _THREADS)
        thread["lastUpdatedDate"] = now()
        return Answer.of(thread)

    @route("POST", rf"{_PULL}/threads/(\d+)/comments")
    def create_comment(self, request: Request) -> Answer:
        """Answer Git, Pull Request Thread Comments, Create: up to 500 in a thread."""
        self.needs("PullRequestContribute")
        thread, data = self._thread_of(request), self.body(request)
        if len(thread["comments"]) >= 500:
            return _error(400, "CommentLimitException", "A thread has at most 500 comments.")
        return Answer.of(self._comment(thread, data))

    @route("PATCH", rf"{_PULL}/threads/(\d+)/comments/(\d+)")
    def update_comment(self, request: Request) -> Answer:
        """Answer Git, Pull Request Thread Comments, Update: by its author only."""
        self.needs("PullRequestContribute")
        thread, data = self._thread_of(request), self.body(request)
        for comment in thread["comments"]:
            if request.match and comment["id"] == int(request.match[3]):
                if comment["author"]["displayName"] != "Build Service":
                    text = "TF401027: You cannot edit a comment of somebody else."
                    return _error(403, "CommentUpdateForbiddenException", text)
                comment |= {"content": self._content(data), "lastUpdatedDate": now()}
                comment["lastContentUpdatedDate"] = now()
                return Answer.of(comment)
        return _error(404, "CommentNotFoundException", "The comment does not exist.")

    # --- statuses -----------------------------------------------------------------------------

    @route("POST", rf"{_PULL}/statuses")
    def create_pull_status(self, request: Request) -> Answer:
        """Answer Git, Pull Request Statuses, Create: 200; the latest of a context holds."""
        self.needs("PullRequestContribute")
        pull = self._pull(request)
        status = self._status(request) | {"id": len(self.pull_statuses) + 1}
        self.pull_statuses.append(status | {"pullRequestId": pull})
        return Answer.of(status)

    @route("GET", rf"{_PULL}/statuses")
    def list_pull_statuses(self, request: Request) -> Answer:
        """Answer Git, Pull Request Statuses, List."""
        self.needs("GenericRead")
        pull = self._pull(request)
        return _list([each for each in self.pull_statuses if each["pullRequestId"] == pull])

    @route("POST", rf"{_GIT}/commits/([0-9a-f]{{40}})/statuses")
    def create_status(self, request: Request) -> Answer:
        """Answer Git, Statuses, Create: 201."""
        self.needs("GenericContribute")
        sha = request.match[1] if request.match else ""
        if sha not in self.commits:
            text = f"TF401175: The version descriptor <Commit: {sha} > could not be resolved."
            return _error(404, "GitUnresolvableToCommitException", text)
        status = self._status(request)
        self.statuses.append(status | {"commitId": sha})
        return Answer.of(status, 201)

    # --- builds -------------------------------------------------------------------------------

    @route("GET", rf"{_PROJECT}/_apis/build/builds")
    def list_builds(self, request: Request) -> Answer:
        """Answer Build, Builds, List: newest first; more by `continuationToken`."""
        self.needs("ViewBuilds")
        definitions = first(request, "definitions").split(",")
        found = [
            each
            for each in reversed(self.builds)
            if first(request, "branchName") in ("", each["sourceBranch"])
            and first(request, "resultFilter") in ("", each["result"])
            and first(request, "statusFilter") in ("", "all", each["status"])
            and (definitions == [""] or str(each["definition"]["id"]) in definitions)
        ]
        top, start = number(request, "$top", 1000), int(first(request, "continuationToken", "0"))
        more = {} if start + top >= len(found) else {"x-ms-continuationtoken": str(start + top)}
        return _list(found[start : start + top], **more)

    @route("GET", rf"{_PROJECT}/_apis/build/builds/(\d+)/artifacts")
    def list_artifacts(self, request: Request) -> Answer:
        """Answer Build, Artifacts, List and Get Artifact: JSON, or an archive if asked."""
        self.needs("ViewBuilds")
        build = int(request.match[1]) if request.match else 0
        if build not in self.artifacts:
            text = f"The requested build {build} could not be found."
            return _error(404, "BuildNotFoundException", text)
        name = first(request, "artifactName")
        if not name:
            return _list(self.artifacts[build])
        for each in self.artifacts[build]:
            if each["name"] == name:
                wants = request.headers.get("accept", "").startswith("application/zip")
                if wants or first(request, "$format") == "zip":
                    return archive(self._archives[build, name])
                return Answer.of(each)
        text = f"Artifact {name} was not found for build {build}."
        return _error(404, "ArtifactNotFoundException", text)

    # --- parts --------------------------------------------------------------------------------

    def _pull(self, request: Request) -> int:
        if request.match and int(request.match[1]) in self.pulls:
            return int(request.match[1])
        text = "TF401180: The requested pull request was not found."
        raise Refused(_error(404, "GitPullRequestNotFoundException", text))

    def _thread_of(self, request: Request) -> dict[str, Any]:
        for thread in self.threads[self._pull(request)]:
            if request.match and thread["id"] == int(request.match[2]):
                return thread
        raise Refused(_error(404, "CommentThreadNotFoundException", "The thread does not exist."))

    def _content(self, comment: dict[str, Any]) -> str:
        content = comment.get("content")
        if not isinstance(content, str) or not content:
            text = "Value cannot be null. Parameter name: content"
            raise Refused(_error(400, "ArgumentNullException", text))
        return content

    def _comment(
        self, thread: dict[str, Any], data: dict[str, Any], kind: str | None = None
    ) -> dict[str, Any]:
        made = {
            "id": len(thread["comments"]) + 1, "parentCommentId": data.get("parentCommentId", 0),
            "author": {"displayName": "Build Service" if kind is None else "Normal Paulk"},
            "content": self._content(data), "publishedDate": now(), "lastUpdatedDate": now(),
            "commentType": kind or _named(data.get("commentType", "text"), _COMMENTS),
            "usersLiked": [],
        }  # fmt: skip
        thread["comments"].append(made)
        return made

    def _status(self, request: Request) -> dict[str, Any]:
        data = self.body(request)
        context = data.get("context") or {}
        if not context.get("name"):
            text = "Value cannot be null. Parameter name: context.name"
            raise Refused(_error(400, "ArgumentNullException", text))
        return {
            "state": _named(data.get("state", "notSet"), _STATES), "context": context,
            "description": data.get("description"), "targetUrl": data.get("targetUrl"),
            "creationDate": now(), "updatedDate": now(),
            "properties": _properties(data.get("properties")),
        }  # fmt: skip


def _list(items: list[dict[str, Any]], **headers: str) -> Answer:
    return Answer.of({"count": len(items), "value": items}, 200, **headers)


def _named(value: str | int, names: tuple[str, ...]) -> str:
    """Return a value of an enumeration by its name; it may come as a number."""
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    if value in names:
        return str(value)
    text = f"The value '{value}' is not valid."
    raise Refused(_error(400, "InvalidArgumentValueException", text))


def _properties(data: dict[str, Any] | None) -> dict[str, Any]:
    """Return a collection of properties as it comes back: with the type of each value."""
    types = {str: "System.String", int: "System.Int32", bool: "System.Boolean"}
    return {
        name: value
        if isinstance(value, dict)
        else {"$type": types.get(type(value), "System.Double"), "$value": value}
        for name, value in (data or {}).items()
    }


def _error(status: int, kind: str, message: str, **headers: str) -> Answer:
    data = {
        "$id": "1", "innerException": None, "message": message, "typeKey": kind,
        "typeName": f"Microsoft.TeamFoundation.{kind}, Microsoft.TeamFoundation", "errorCode": 0,
        "eventId": 3000,
    }  # fmt: skip
    return Answer.of(data, status, **headers)
