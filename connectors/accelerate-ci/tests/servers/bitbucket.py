# SPDX-License-Identifier: Apache-2.0
"""Bitbucket Cloud's REST API, version 2.0, as far as a tool in a pipeline speaks to it.

Written from "The Bitbucket Cloud REST API" (groups Pullrequests, Commit statuses, Reports,
Downloads) and "Scopes for the Bitbucket Cloud REST API".
"""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import urlencode

from accelerate_core.testing.service import Answer, Request, route

from .common import Api, Refused, now, number

TOKEN, EMAIL = "ATCTT3xFfGN0aBcDeFgHiJkLmNoPqRsTuVwXyZ", "me@example.com"
WORKSPACE, SLUG = "my-workspace", "my-repo"
_REPO = rf"/2\.0/repositories/{WORKSPACE}/{SLUG}"
_COMMIT = rf"{_REPO}/commit/([0-9a-f]{{7,40}})"
#: Group Reports: of a report, of a request; characters that its errors name.
MOST_ANNOTATIONS, MOST_AT_ONCE, LONGEST_SUMMARY, MOST_DATA = 1000, 100, 450, 10
_IMPLIED = {"pullrequest:write": "pullrequest", "repository:write": "repository"}


class Bitbucket(Api):
    """Hold one private repository; `scopes` are those of the access token."""

    def __init__(self) -> None:
        super().__init__()
        self.scopes = {"pullrequest", "repository", "repository:write"}
        self.commits = {"e10dae226959c2194f2b07b077c07762d93821cf"}
        self.pulls = {1: "feature/fast"}
        self.comments: list[dict[str, Any]] = []
        self.statuses: dict[tuple[str, str], dict[str, Any]] = {}
        self.reports: dict[tuple[str, str], dict[str, Any]] = {}
        self.annotations: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
        self.downloads: dict[str, bytes] = {}
        self._ids = 500
        self._limits: list[Answer] = []

    # --- state --------------------------------------------------------------------------------

    def lack(self, *scopes: str) -> None:
        """Take scopes from the token."""
        self.scopes -= set(scopes)

    def limit_next(self) -> None:
        """Refuse the next request by a rate limit ("API request limits")."""
        self._limits.append(self.refusal(429))

    def add_comment(self, raw: str, pull: int = 1, user: str = "Jane") -> dict[str, Any]:
        """Write a comment as somebody else."""
        self._ids += 1
        where = f"{self.url}/2.0/repositories/{WORKSPACE}/{SLUG}/pullrequests/{pull}"
        page = f"https://bitbucket.org/{WORKSPACE}/{SLUG}/pull-requests/{pull}"
        comment = {
            "type": "pullrequest_comment", "id": self._ids, "deleted": False,
            "content": {"type": "rendered", "raw": raw, "markup": "markdown", "html": ""},
            "user": {"type": "user", "display_name": user}, "created_on": now(),
            "updated_on": now(), "pullrequest": {"type": "pullrequest", "id": pull},
            "links": {
                "self": {"href": f"{where}/comments/{self._ids}"},
                "html": {"href": f"{page}/_/diff#comment-{self._ids}"},
            },
        }  # fmt: skip
        self.comments.append(comment)
        return comment

    # --- what holds for every request ---------------------------------------------------------

    def refusal(self, status: int) -> Answer:
        """Word errors as in "REST API", Standardized error responses."""
        texts = {
            400: "Bad request",
            401: "Token is invalid, expired, or not supported for this endpoint.",
            403: "Forbidden",
            404: f"Repository {WORKSPACE}/{SLUG} not found",
            429: "Rate limit for this resource has been exceeded",
        }
        return _error(status, texts.get(status, "Something went wrong"))

    def allow(self, request: Request) -> Answer | None:
        """Check who asks.

        "Authentication methods": access tokens by `Bearer`, API tokens by `Basic` with the e-mail.
        "Code Insights": what comes by the proxy of a pipeline needs none for reports.
        """
        if self._limits:
            return self._limits.pop(0)
        if request.headers.get("host") == "api.bitbucket.org" and "/reports" in request.path:
            return None
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        basic = base64.b64encode(f"{EMAIL}:{TOKEN}".encode()).decode()
        if (scheme.lower(), token) in (("bearer", TOKEN), ("basic", basic)):
            return None
        return self.refusal(401) if scheme else self.refusal(404)

    def needs(self, scope: str) -> None:
        """Refuse a token without a scope, naming it."""
        implied = {_IMPLIED[each] for each in self.scopes if each in _IMPLIED}
        if scope not in self.scopes | implied:
            text = "Your credentials lack one or more required privilege scopes."
            detail = {"required": [scope], "granted": sorted(self.scopes)}
            raise Refused(_error(403, text, detail=detail))

    # --- comments -----------------------------------------------------------------------------

    @route("GET", _REPO)
    def get_repository(self, request: Request) -> Answer:
        """Answer group Repositories, Get a repository."""
        self.needs("repository")
        data = {"type": "repository", "full_name": f"{WORKSPACE}/{SLUG}", "is_private": True}
        return Answer.of(data | {"mainbranch": {"type": "branch", "name": "main"}})

    @route("GET", rf"{_REPO}/pullrequests/(\d+)/comments")
    def list_comments(self, request: Request) -> Answer:
        """Answer group Pullrequests, List comments on a pull request: oldest first."""
        self.needs("pullrequest")
        pull = self._pull(request)
        return self._page(request, [c for c in self.comments if c["pullrequest"]["id"] == pull])

    @route("POST", rf"{_REPO}/pullrequests/(\d+)/comments")
    def create_comment(self, request: Request) -> Answer:
        """Answer group Pullrequests, Create a comment: the scope `pullrequest` is enough."""
        self.needs("pullrequest")
        pull = self._pull(request)
        comment = self.add_comment(self._raw(request), pull, "my-token")
        return Answer.of(comment, 201, location=comment["links"]["self"]["href"])

    @route("PUT", rf"{_REPO}/pullrequests/(\d+)/comments/(\d+)")
    def update_comment(self, request: Request) -> Answer:
        """Answer group Pullrequests, Update a comment on a pull request."""
        self.needs("pullrequest")
        pull = self._pull(request)
        for comment in self.comments:
            if request.match and comment["id"] == int(request.match[2]):
                if comment["pullrequest"]["id"] != pull:
                    break
                if comment["user"]["display_name"] != "my-token":
                    return self.refusal(403)
                comment["content"]["raw"] = self._raw(request)
                comment["updated_on"] = now()
                return Answer.of(comment)
        return _error(404, "Comment not found")

    # --- build statuses -----------------------------------------------------------------------

    @route("POST", rf"{_COMMIT}/statuses/build/?")
    def create_status(self, request: Request) -> Answer:
        """Answer group Commit statuses, Create a build status: one of its key is overwritten."""
        self.needs("repository")
        sha, data = self._commit(request), self.body(request)
        missing = [name for name in ("key", "state", "url") if not data.get(name)]
        if missing:
            fields = {name: ["required key not provided"] for name in missing}
            return _error(400, "Bad request", fields=fields)
        if data["state"] not in ("SUCCESSFUL", "FAILED", "INPROGRESS", "STOPPED"):
            return _error(400, "Bad request", fields={"state": ["not a valid value"]})
        old = self.statuses.get((sha, data["key"]), {"created_on": now()})
        names = ("key", "state", "url", "name", "description", "refname")
        status = {"type": "build", "created_on": old["created_on"], "updated_on": now()} | {
            name: data.get(name) for name in names
        }
        self.statuses[sha, data["key"]] = status
        return Answer.of(status, 201)

    @route("GET", rf"{_COMMIT}/statuses")
    def list_statuses(self, request: Request) -> Answer:
        """Answer group Commit statuses, List commit statuses for a commit."""
        self.needs("repository")
        sha = self._commit(request)
        return self._page(request, [s for (of, _), s in self.statuses.items() if of == sha])

    # --- reports ------------------------------------------------------------------------------

    @route("PUT", rf"{_COMMIT}/reports/([^/]+)")
    def put_report(self, request: Request) -> Answer:
        """Answer group Reports, Create or update a report."""
        self.needs("repository")
        key, data = self._report(request), self.body(request)
        if not data.get("title"):
            return _bad("The title field is required.")
        if data.get("report_type") not in (None, "SECURITY", "COVERAGE", "TEST", "BUG"):
            return _bad("The report_type field is not valid.")
        if data.get("result") not in (None, "PASSED", "FAILED", "PENDING", "SKIPPED"):
            return _bad("The result field is not valid.")
        if len(data.get("data") or []) > MOST_DATA:
            return _bad(f"The data field cannot have more than {MOST_DATA} elements.")
        old = self.reports.get(key, {"created_on": now()})
        report = data | {"type": "report", "external_id": key[1], "updated_on": now()}
        self.reports[key] = report | {"created_on": old["created_on"]}
        return Answer.of(self.reports[key])

    @route("GET", rf"{_COMMIT}/reports/([^/]+)")
    def get_report(self, request: Request) -> Answer:
        """Answer group Reports, Get a report."""
        self.needs("repository")
        report = self.reports.get(self._report(request))
        return Answer.of(report) if report else _error(404, "Report not found")

    @route("POST", rf"{_COMMIT}/reports/([^/]+)/annotations")
    def add_annotations(self, request: Request) -> Answer:
        """Answer group Reports, Bulk create or update annotations: those of an id replace it."""
        self.needs("repository")
        key, data = self._report(request), request.json()
        if key not in self.reports:
            return _error(404, "Report not found")
        if not isinstance(data, list) or not data or len(data) > MOST_AT_ONCE:
            return _bad(f"Between 1 and {MOST_AT_ONCE} annotations are allowed per request.")
        for each in data:
            for name in ("external_id", "annotation_type", "summary"):
                if not each.get(name):
                    return _bad(f"The {name} field is required.")
            if len(each["summary"]) > LONGEST_SUMMARY:
                return _bad(
                    f"The summary field cannot contain more than {LONGEST_SUMMARY} characters."
                )
            if each["annotation_type"] not in ("VULNERABILITY", "CODE_SMELL", "BUG"):
                return _bad("The annotation_type field is not valid.")
            if each.get("severity") not in (None, "CRITICAL", "HIGH", "MEDIUM", "LOW"):
                return _bad("The severity field is not valid.")
        kept = self.annotations.get(key, {}) | {each["external_id"]: each for each in data}
        if len(kept) > MOST_ANNOTATIONS:
            return _bad(f"A report cannot have more than {MOST_ANNOTATIONS} annotations.")
        self.annotations[key] = kept
        return Answer.of(data)

    # --- downloads ----------------------------------------------------------------------------

    @route("GET", rf"{_REPO}/downloads")
    def list_downloads(self, request: Request) -> Answer:
        """Answer group Downloads, List download artifacts."""
        self.needs("repository")
        where = f"{self.url}/2.0/repositories/{WORKSPACE}/{SLUG}/downloads"
        found = [
            {"name": name, "size": len(content), "links": {"self": {"href": f"{where}/{name}"}}}
            for name, content in self.downloads.items()
        ]
        return self._page(request, found)

    @route("POST", rf"{_REPO}/downloads")
    def upload(self, request: Request) -> Answer:
        """Answer group Downloads, Upload a download artifact: a name that is there is replaced."""
        self.needs("repository:write")
        try:
            parts = [part for part in request.parts() if part.name == "files"]
        except ValueError:
            parts = []
        if not parts:
            return _error(400, "Bad request", fields={"files": ["This field is required."]})
        self.downloads |= {part.filename or "": part.content for part in parts}
        return Answer(status=201)

    @route("GET", rf"{_REPO}/downloads/([^/]+)")
    def download(self, request: Request) -> Answer:
        """Answer group Downloads, Get a download artifact link: 302."""
        self.needs("repository")
        name = request.match[1] if request.match else ""
        if name not in self.downloads:
            return _error(404, "File not found")
        return Answer(status=302, headers={"location": self.storage.put(self.downloads[name])})

    # --- parts --------------------------------------------------------------------------------

    def _pull(self, request: Request) -> int:
        if request.match and int(request.match[1]) in self.pulls:
            return int(request.match[1])
        raise Refused(_error(404, "Pull request not found"))

    def _raw(self, request: Request) -> str:
        raw = (self.body(request).get("content") or {}).get("raw")
        if not isinstance(raw, str) or not raw:
            fields = {"content": ["required key not provided"]}
            raise Refused(_error(400, "Bad request", fields=fields))
        return raw

    def _commit(self, request: Request) -> str:
        start = request.match[1] if request.match else ""
        for sha in self.commits:
            if sha.startswith(start):
                return sha
        raise Refused(_error(404, f"Commit {start} not found"))

    def _report(self, request: Request) -> tuple[str, str]:
        return self._commit(request), request.match[2] if request.match else ""

    def _page(self, request: Request, items: list[dict[str, Any]]) -> Answer:
        """Cut out a page: "REST API", Pagination, 10 each and at most 100."""
        pagelen, page = number(request, "pagelen", 10, 100), number(request, "page", 1)
        shown = items[(page - 1) * pagelen : page * pagelen]
        data = {"size": len(items), "page": page, "pagelen": pagelen, "values": shown}
        for name, other in (("next", page + 1), ("previous", page - 1)):
            if other >= 1 and (other - 1) * pagelen < len(items):
                query = dict(request.query) | {"page": [str(other)], "pagelen": [str(pagelen)]}
                data[name] = f"{self.url}{request.path}?{urlencode(query, doseq=True)}"
        return Answer.of(data)


def _error(status: int, message: str, **more: Any) -> Answer:
    return Answer.of({"type": "error", "error": {"message": message, **more}}, status)


def _bad(message: str) -> Answer:
    """Return an error as Code Insights words it."""
    key = "report-service.general.bad-request"
    return Answer.of({"key": key, "message": message, "arguments": {}}, 400)
