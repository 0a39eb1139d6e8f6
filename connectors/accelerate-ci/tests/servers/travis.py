# SPDX-License-Identifier: Apache-2.0
"""Travis CI's API v3: builds; Travis keeps no artifacts.

Written from "Travis CI API Docs": Builds, Pagination, Errors.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from accelerate_core.testing.service import Answer, Request, route

from .common import Api, first, number

TOKEN, SLUG, REPOSITORY = "aBcDeFgHiJkLmNoPqRsTuV", "octocat/hello-world", 891


class Travis(Api):
    """Hold one private repository."""

    def __init__(self) -> None:
        super().__init__()
        self.builds: list[dict[str, Any]] = []

    def add_build(self, branch: str = "main", state: str = "passed") -> int:
        """Have a build end and return its id; later ones are newer."""
        key = len(self.builds) + 24581
        self.builds.append({
            "@type": "build", "@href": f"/build/{key}", "@representation": "standard", "id": key,
            "number": str(len(self.builds) + 1), "state": state, "event_type": "push",
            "pull_request_number": None, "branch": {"@type": "branch", "name": branch},
            "commit": {"@type": "commit", "sha": "f" * 40},
        })  # fmt: skip
        return key

    def refusal(self, status: int) -> Answer:
        """Word errors as "Errors" does."""
        known = {
            403: ("login_required", "login required"),
            404: ("not_found", "repository not found (or insufficient access)"),
            429: ("rate_limit_reached", "rate limit reached"),
        }
        kind, text = known.get(status, ("server_error", "internal server error"))
        data = {"@type": "error", "error_type": kind, "error_message": text}
        return Answer.of(data | {"resource_type": "repository"}, status)

    def allow(self, request: Request) -> Answer | None:
        """Check the version and the token, `Authorization: token ...`; 403 for a wrong one."""
        if request.headers.get("travis-api-version") != "3":
            return Answer(status=404, body=b"not found")
        if "authorization" not in request.headers:
            return self.refusal(404)
        if request.headers["authorization"] != f"token {TOKEN}":
            return Answer(status=403, body=b"access denied")
        return None

    @route("GET", rf"/repo/(?:{REPOSITORY}|{quote(SLUG, safe='')})/builds")
    def list_builds(self, request: Request) -> Answer:
        """Answer Builds, Find: newest first unless `sort_by` says otherwise."""
        found = [
            build
            for build in self.builds
            if first(request, "branch.name") in ("", build["branch"]["name"])
            and first(request, "build.state") in ("", build["state"])
        ]
        if first(request, "sort_by", "id:desc") != "id":
            found.reverse()
        limit, start = number(request, "limit", 25, 100), int(first(request, "offset", "0"))
        last = start + limit >= len(found)
        following = f"/repo/{REPOSITORY}/builds?limit={limit}&offset={start + limit}"
        pagination = {
            "limit": limit, "offset": start, "count": len(found), "is_first": start == 0,
            "is_last": last, "next": None if last else {"@href": following},
        }  # fmt: skip
        data = {"@type": "builds", "@pagination": pagination}
        return Answer.of(data | {"builds": found[start : start + limit]})
