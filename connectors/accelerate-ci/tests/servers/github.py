# SPDX-License-Identifier: Apache-2.0
"""GitHub's REST API, version 2022-11-28, as far as a tool in a workflow speaks to it.

Written from the GitHub documentation, "REST API", and its OpenAPI description.
"""

from __future__ import annotations

import time
from typing import Any

import attrs

from accelerate_core.testing.service import Answer, Request, route

from .common import Api, Refused, first, now, number, pages, zipped

TOKEN = "ghs_16C7e42F292c6912E7710c838347Ae178B4a"
OWNER, NAME, NUMBER = "octocat", "hello-world", 1296269
_REPO = rf"(?i:/repos/{OWNER}/{NAME})"
#: The user that comments of workflows are by.
BOT_ID = 41898282
_DOCS = "https://docs.github.com/rest"
#: "REST API endpoints for check runs", Create: annotations a request; characters of a summary.
MOST_ANNOTATIONS, LONGEST_SUMMARY = 50, 65_535
#: Characters of a comment, of a status description (the errors name both), statuses a context.
LONGEST_COMMENT, LONGEST_DESCRIPTION, MOST_STATUSES = 65_536, 140, 1000
_CONCLUSIONS = (
    "action_required",
    "cancelled",
    "failure",
    "neutral",
    "success",
    "skipped",
    "stale",
    "timed_out",
)


class GitHub(Api):
    """Hold one private repository; the token is what a workflow's `permissions:` make of it.

    `permissions` maps names of permissions ("issues", "pull_requests", "statuses", "checks",
    "actions") to "read" or "write"; what is missing is not granted.
    """

    def __init__(self, **permissions: str) -> None:
        super().__init__()
        self.permissions = permissions or {
            "metadata": "read", "actions": "read", "checks": "write", "issues": "write",
            "pull_requests": "write", "statuses": "write",
        }  # fmt: skip
        self.pulls = {1347: "6dcb09b5b57875f334f61aebed695e2e4193db5e"}
        self.commits = {*self.pulls.values()}
        self.comments: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        self.check_runs: list[dict[str, Any]] = []
        self.annotations: dict[int, list[dict[str, Any]]] = {}
        self.runs: list[dict[str, Any]] = []
        self.artifacts: list[dict[str, Any]] = []
        self._archives: dict[int, bytes] = {}
        self.is_graphql_limited = False
        self._ids = 1000
        self._limits: list[Answer] = []

    # --- state --------------------------------------------------------------------------------

    def lack(self, *permissions: str) -> None:
        """Take permissions from the token."""
        for name in permissions:
            self.permissions.pop(name, None)

    def read_only(self) -> None:
        """Make the token that of a pull request from a fork: it may read, no more."""
        self.permissions = dict.fromkeys(self.permissions, "read")

    def limit_next(self, wait_s: float = 1.0, *, secondary: bool = False) -> None:
        """Refuse the next request by a rate limit ("Rate limits for the REST API")."""
        if secondary:
            text = "You have exceeded a secondary rate limit. Please wait before you try again."
            headers = {"retry-after": str(wait_s)}
        else:
            text = "API rate limit exceeded for installation."
            reset = str(int(time.time() + wait_s) + 1)
            headers = {
                "x-ratelimit-limit": "1000", "x-ratelimit-remaining": "0",
                "x-ratelimit-used": "1000", "x-ratelimit-reset": reset,
                "x-ratelimit-resource": "core",
            }  # fmt: skip
        self._limits.append(_error(403, text, **headers))

    def add_comment(self, body: str, pull: int = 1347, login: str = "octocat") -> dict[str, Any]:
        """Write a comment as somebody else."""
        comment = {
            "id": self._id(), "body": body, "user": {"login": login, "id": 1, "type": "User"},
            "issue_url": f"{self.url}/repos/{OWNER}/{NAME}/issues/{pull}",
            "created_at": now(), "updated_at": now(),
        }  # fmt: skip
        where = f"https://github.com/{OWNER}/{NAME}/pull/{pull}"
        comment["html_url"] = f"{where}#issuecomment-{comment['id']}"
        comment["url"] = f"{self.url}/repos/{OWNER}/{NAME}/issues/comments/{comment['id']}"
        self.comments.append(comment)
        return comment

    def add_run(self, branch: str = "main", conclusion: str = "success", **more: Any) -> int:
        """Have a workflow run end and return its id; later ones are newer."""
        run = {
            "id": self._id(), "name": "Benchmarks", "head_branch": branch,
            "head_sha": "acb5820ced9479c074f688cc328bf03f341a511d", "event": "push",
            "path": ".github/workflows/bench.yml", "run_number": len(self.runs) + 562,
            "run_attempt": 1, "status": "completed", "conclusion": conclusion,
            "workflow_id": 159038, "created_at": now(), "updated_at": now(),
        } | more  # fmt: skip
        run["html_url"] = f"https://github.com/{OWNER}/{NAME}/actions/runs/{run['id']}"
        run["artifacts_url"] = f"{self.url}/repos/{OWNER}/{NAME}/actions/runs/{run['id']}/artifacts"
        self.runs.append(run)
        return int(run["id"])

    def add_artifact(
        self, run: int, name: str, files: dict[str, bytes], *, expired: bool = False
    ) -> int:
        """Keep an artifact of a run and return its id."""
        key, content = self._id(), zipped(files)
        found = next(each for each in self.runs if each["id"] == run)
        url = f"{self.url}/repos/{OWNER}/{NAME}/actions/artifacts/{key}"
        self._archives[key] = content
        self.artifacts.append({
            "id": key, "name": name, "size_in_bytes": len(content), "url": url,
            "archive_download_url": f"{url}/zip", "expired": expired, "created_at": now(),
            "updated_at": now(), "expires_at": now(),
            "workflow_run": {
                "id": run, "repository_id": NUMBER, "head_repository_id": NUMBER,
                "head_branch": found["head_branch"], "head_sha": found["head_sha"],
            },
        })  # fmt: skip
        return key

    # --- what holds for every request ---------------------------------------------------------

    def refusal(self, status: int) -> Answer:
        """Word errors as in "Troubleshooting the REST API"."""
        texts = {
            400: "Problems parsing JSON",
            401: "Bad credentials",
            403: "Resource not accessible by integration",
            404: "Not Found",
            409: "Conflict",
            429: "You have exceeded a secondary rate limit. Please wait before you try again.",
            503: "Service unavailable",
        }
        return _error(status, texts.get(status, "Server Error"))

    def allow(self, request: Request) -> Answer | None:
        """Check the headers of a request.

        "Authenticating to the REST API", "Troubleshooting the REST API": a wrong token is refused
        with 401; a private repository is not there for whoever brings none.
        """
        if not request.headers.get("user-agent"):
            return _error(403, "Request forbidden by administrative rules.")
        version = request.headers.get("x-github-api-version", "2022-11-28")
        if version not in ("2022-11-28", "2026-03-10"):
            return _error(400, f"The API version {version} is not supported.")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not scheme:
            return self.refusal(404)
        if scheme.lower() not in ("bearer", "token") or token != TOKEN:
            return self.refusal(401)
        return self._limits.pop(0) if self._limits else None

    def handle(self, request: Request) -> Answer:
        """Answer; links to further pages name the repository by its number."""
        named = f"/repos/{OWNER}/{NAME}"
        path = request.path
        if path == f"/repositories/{NUMBER}" or path.startswith(f"/repositories/{NUMBER}/"):
            request = attrs.evolve(request, path=path.replace(f"/repositories/{NUMBER}", named, 1))
        return super().handle(request)

    def needs(self, *any_of: str) -> None:
        """Refuse a token without one of these permissions ("issues=write").

        "Troubleshooting the REST API", Resource not accessible.
        """
        for each in any_of:
            name, _, level = each.partition("=")
            if self.permissions.get(name) in ("write", level):
                return
        accepted = {"x-accepted-github-permissions": "; ".join(any_of)}
        raise Refused(_error(403, "Resource not accessible by integration", **accepted))

    # --- who asks -----------------------------------------------------------------------------

    @route("GET", r"/user")
    def get_user(self, request: Request) -> Answer:
        """Answer "REST API endpoints for users", Get the authenticated user: installations may not.

        "Troubleshooting the REST API", Resource not accessible.
        """
        return self.refusal(403)

    @route("POST", r"/graphql")
    def ask(self, request: Request) -> Answer:
        """Answer "GraphQL API", Queries, `viewer`: whoever asks, installations, too.

        That those get the bot's `databaseId` says pull request 1953 of fullsend-ai/fullsend.
        """
        query = "".join(str(self.body(request).get("query")).split()).removeprefix("query")
        if query != "{viewer{databaseId}}":
            return Answer.of({"errors": [{"message": "this server knows the viewer only"}]})
        if self.is_graphql_limited:
            limited = {"type": "RATE_LIMITED", "message": "API rate limit exceeded."}
            return Answer.of({"data": None, "errors": [limited]})
        return Answer.of({"data": {"viewer": {"databaseId": BOT_ID}}})

    # --- comments -----------------------------------------------------------------------------

    @route("GET", rf"{_REPO}")
    def get_repository(self, request: Request) -> Answer:
        """Answer "REST API endpoints for repositories", Get a repository."""
        self.needs("metadata=read")
        return Answer.of({
            "id": NUMBER, "name": NAME, "full_name": f"{OWNER}/{NAME}", "private": True,
            "default_branch": "main", "html_url": f"https://github.com/{OWNER}/{NAME}",
        })  # fmt: skip

    @route("GET", rf"{_REPO}/issues/(\d+)/comments")
    def list_comments(self, request: Request) -> Answer:
        """Answer "REST API endpoints for issue comments", List issue comments: oldest first."""
        self.needs("issues=read", "pull_requests=read")
        end = f"/issues/{self._pull(request)}"
        return self._page(request, [c for c in self.comments if c["issue_url"].endswith(end)])

    @route("POST", rf"{_REPO}/issues/(\d+)/comments")
    def create_comment(self, request: Request) -> Answer:
        """Answer "REST API endpoints for issue comments", Create an issue comment."""
        self.needs("issues=write", "pull_requests=write")
        pull = self._pull(request)
        comment = self.add_comment(self._comment_body(request), pull, "github-actions[bot]")
        comment["user"] |= {"type": "Bot", "id": BOT_ID}
        return Answer.of(comment, 201, location=comment["url"])

    @route("GET", rf"{_REPO}/issues/comments/(\d+)")
    def get_comment(self, request: Request) -> Answer:
        """Answer "REST API endpoints for issue comments", Get an issue comment."""
        self.needs("issues=read", "pull_requests=read")
        return Answer.of(self._one(self.comments, request))

    @route("PATCH", rf"{_REPO}/issues/comments/(\d+)")
    def update_comment(self, request: Request) -> Answer:
        """Answer "REST API endpoints for issue comments", Update an issue comment."""
        self.needs("issues=write", "pull_requests=write")
        comment = self._one(self.comments, request)
        comment |= {"body": self._comment_body(request), "updated_at": now()}
        return Answer.of(comment)

    # --- statuses and checks ------------------------------------------------------------------

    @route("POST", rf"{_REPO}/statuses/([0-9a-f]+)")
    def create_status(self, request: Request) -> Answer:
        """Answer "REST API endpoints for commit statuses", Create a commit status."""
        self.needs("statuses=write")
        sha, data = self._commit(request), self.body(request)
        if data.get("state") not in ("error", "failure", "pending", "success"):
            raise _invalid("Status", "state", "custom", "State is not included in the list")
        if len(data.get("description") or "") > LONGEST_DESCRIPTION:
            text = f"description is too long (maximum is {LONGEST_DESCRIPTION} characters)"
            raise _invalid("Status", "description", "custom", text)
        context = data.get("context") or "default"
        before = [s for s in self.statuses if (s["sha"], s["context"]) == (sha, context)]
        if len(before) >= MOST_STATUSES:
            text = "This SHA and context has reached the maximum number of statuses."
            raise _invalid("Status", "sha", "custom", text)
        status = {
            "id": self._id(), "sha": sha, "state": data["state"], "context": context,
            "description": data.get("description"), "target_url": data.get("target_url"),
            "created_at": now(), "updated_at": now(),
            "url": f"{self.url}/repos/{OWNER}/{NAME}/statuses/{sha}",
        }  # fmt: skip
        self.statuses.append(status)
        return Answer.of(_without_sha(status), 201, location=status["url"])

    @route("GET", rf"{_REPO}/commits/([0-9a-f]+)/statuses")
    def list_statuses(self, request: Request) -> Answer:
        """Answer "REST API endpoints for commit statuses", List: newest first."""
        self.needs("statuses=read")
        sha = self._commit(request)
        found = [_without_sha(s) for s in reversed(self.statuses) if s["sha"] == sha]
        return self._page(request, found)

    @route("POST", rf"{_REPO}/check-runs")
    def create_check_run(self, request: Request) -> Answer:
        """Answer "REST API endpoints for check runs", Create a check run."""
        self.needs("checks=write")
        data = self.body(request)
        for name in ("name", "head_sha"):
            if not data.get(name):
                raise _invalid("CheckRun", name, "missing_field")
        if data["head_sha"] not in self.commits:
            raise _invalid("CheckRun", "head_sha", "custom", "No commit found for SHA")
        run = {
            "id": self._id(), "name": data["name"], "head_sha": data["head_sha"],
            "external_id": data.get("external_id", ""), "status": "queued", "conclusion": None,
            "details_url": data.get("details_url"), "app": {"slug": "github-actions"},
            "output": {"title": None, "summary": None, "text": None},
        }  # fmt: skip
        run["url"] = f"{self.url}/repos/{OWNER}/{NAME}/check-runs/{run['id']}"
        run["html_url"] = f"https://github.com/{OWNER}/{NAME}/runs/{run['id']}"
        self._check(run, data)
        self.check_runs.append(run)
        return Answer.of(run, 201, location=run["url"])

    @route("PATCH", rf"{_REPO}/check-runs/(\d+)")
    def update_check_run(self, request: Request) -> Answer:
        """Answer "REST API endpoints for check runs", Update: annotations are added."""
        self.needs("checks=write")
        run = self._one(self.check_runs, request)
        self._check(run, self.body(request))
        return Answer.of(run)

    @route("GET", rf"{_REPO}/commits/([0-9a-f]+)/check-runs")
    def list_check_runs(self, request: Request) -> Answer:
        """Answer "REST API endpoints for check runs", List check runs for a Git reference."""
        self.needs("checks=read")
        sha, name = self._commit(request), first(request, "check_name")
        found = [c for c in reversed(self.check_runs) if c["head_sha"] == sha]
        return self._page(request, [c for c in found if name in ("", c["name"])], "check_runs")

    # --- runs and artifacts -------------------------------------------------------------------

    @route("GET", rf"{_REPO}/actions/(?:workflows/([^/]+)/)?runs")
    def list_runs(self, request: Request) -> Answer:
        """Answer "REST API endpoints for workflow runs", List: `status` is a conclusion, too."""
        self.needs("actions=read")
        workflow = request.match[1] if request.match else None
        found = [
            run
            for run in reversed(self.runs)
            if workflow in (None, str(run["workflow_id"]), run["path"].rpartition("/")[2])
            and first(request, "branch") in ("", run["head_branch"])
            and first(request, "event") in ("", run["event"])
            and first(request, "head_sha") in ("", run["head_sha"])
            and first(request, "status") in ("", run["status"], run["conclusion"])
        ]
        if workflow is not None and not any(
            workflow in (str(run["workflow_id"]), run["path"].rpartition("/")[2])
            for run in self.runs
        ):
            return self.refusal(404)
        return self._page(request, found, "workflow_runs")

    @route("GET", rf"{_REPO}/actions/(?:runs/(\d+)/)?artifacts")
    def list_artifacts(self, request: Request) -> Answer:
        """Answer "REST API endpoints for GitHub Actions artifacts", List: newest first."""
        self.needs("actions=read")
        run = request.match[1] if request.match else None
        if run is not None and int(run) not in {each["id"] for each in self.runs}:
            return self.refusal(404)
        name = first(request, "name")
        found = [
            each
            for each in reversed(self.artifacts)
            if run in (None, str(each["workflow_run"]["id"])) and name in ("", each["name"])
        ]
        return self._page(request, found, "artifacts")

    @route("GET", rf"{_REPO}/actions/artifacts/(\d+)/zip")
    def download_artifact(self, request: Request) -> Answer:
        """Answer "REST API endpoints for GitHub Actions artifacts", Download: 302, or 410."""
        self.needs("actions=read")
        artifact = self._one(self.artifacts, request)
        if artifact["expired"]:
            return _error(410, "Artifact has expired")
        return Answer(
            status=302, headers={"location": self.storage.put(self._archives[artifact["id"]])}
        )

    # --- parts --------------------------------------------------------------------------------

    def _id(self) -> int:
        self._ids += 1
        return self._ids

    def _pull(self, request: Request) -> int:
        if request.match and int(request.match[1]) in self.pulls:
            return int(request.match[1])
        raise Refused(self.refusal(404))

    def _commit(self, request: Request) -> str:
        sha = request.match[1] if request.match else ""
        if sha not in self.commits:
            raise Refused(_error(422, f"No commit found for SHA: {sha}"))
        return sha

    def _one(self, items: list[dict[str, Any]], request: Request) -> dict[str, Any]:
        for item in items:
            if request.match and item["id"] == int(request.match[1]):
                return item
        raise Refused(self.refusal(404))

    def _comment_body(self, request: Request) -> str:
        body = self.body(request).get("body")
        if not isinstance(body, str) or not body:
            raise _invalid("IssueComment", "body", "missing_field")
        if len(body) > LONGEST_COMMENT:
            text = f"Body is too long (maximum is {LONGEST_COMMENT} characters)"
            raise _invalid("IssueComment", "data", "unprocessable", text)
        return body

    def _check(self, run: dict[str, Any], data: dict[str, Any]) -> None:
        output = data.get("output") or {}
        if output and not (output.get("title") and output.get("summary")):
            raise _invalid("CheckRun", "output", "missing_field")
        if len(output.get("summary") or "") > LONGEST_SUMMARY:
            raise _invalid("CheckRun", "summary", "invalid", "Only 65535 characters are allowed")
        annotations = output.get("annotations") or []
        if len(annotations) > MOST_ANNOTATIONS:
            text = f"No more than {MOST_ANNOTATIONS} annotations are allowed"
            raise _invalid("CheckRun", "annotations", "invalid", text)
        for each in annotations:
            if missing := {"path", "start_line", "end_line", "annotation_level", "message"} - {
                *each
            }:
                raise _invalid("CheckRun", sorted(missing)[0], "missing_field")
            if each["annotation_level"] not in ("notice", "warning", "failure"):
                raise _invalid("CheckRun", "annotation_level", "invalid")
        conclusion = data.get("conclusion")
        if conclusion is not None and conclusion not in _CONCLUSIONS:
            raise _invalid("CheckRun", "conclusion", "invalid")
        if data.get("status") == "completed" and conclusion is None:
            raise _invalid("CheckRun", "conclusion", "missing_field")
        # "Providing conclusion will automatically set the status parameter to completed."
        run["status"] = "completed" if conclusion else data.get("status", run["status"])
        run["conclusion"] = conclusion or run["conclusion"]
        kept = self.annotations.setdefault(run["id"], [])
        kept += annotations
        texts = {name: output[name] for name in ("title", "summary", "text") if name in output}
        run["output"] = run["output"] | texts | {"annotations_count": len(kept)}

    def _page(self, request: Request, items: list[dict[str, Any]], name: str = "") -> Answer:
        """Cut out a page: "Using pagination in the REST API", 30 each and at most 100."""
        per_page = number(request, "per_page", 30, 100)
        page = number(request, "page", 1)
        shown = items[(page - 1) * per_page : page * per_page]
        rest = request.path[len(f"/repos/{OWNER}/{NAME}") :]
        url = f"{self.url}/repositories/{NUMBER}{rest}"
        rels = ["prev", "next"]
        rels += ["last"] if page * per_page < len(items) else []
        rels += ["first"] if page > 1 else []
        link = pages(url, request, len(items), per_page, page, rels)
        headers = {"link": link} if link else {}
        data = {"total_count": len(items), name: shown} if name else shown
        return Answer.of(data, 200, **headers)


def _error(status: int, message: str, **headers: str) -> Answer:
    data = {"message": message, "documentation_url": _DOCS, "status": str(status)}
    return Answer.of(data, status, **headers)


def _invalid(resource: str, field: str, code: str, message: str = "") -> Refused:
    """Return "Troubleshooting the REST API", Validation Failed."""
    error = {"resource": resource, "field": field, "code": code}
    if message:
        error["message"] = message
    data = {"message": "Validation Failed", "errors": [error], "documentation_url": _DOCS}
    return Refused(Answer.of(data | {"status": "422"}, 422))


def _without_sha(status: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in status.items() if name != "sha"}
