# SPDX-License-Identifier: Apache-2.0
"""TeamCity's REST API, as far as a tool needs it that looks for artifacts.

Written from the TeamCity REST API Reference: "Get Started", "Manage Finished Builds",
"BuildLocator".
"""

from __future__ import annotations

from typing import Any

from accelerate_core.testing.service import Answer, Request, route

from .common import Api, Refused, archive, first, zipped

TOKEN, BUILD_TYPE = "eyJ0eXAiOiAiVENWMiJ9.aBcDeFg.NmY1", "Hello_Bench"
_BUILD = r"/app/rest/builds/([^/]+)"


class TeamCity(Api):
    """Hold one build configuration; `may_view` is the permission View build configuration."""

    def __init__(self) -> None:
        super().__init__()
        self.may_view = True
        self.builds: list[dict[str, Any]] = []
        self._files: dict[int, dict[str, bytes]] = {}

    def add_build(
        self, files: dict[str, bytes], branch: str = "main", status: str = "SUCCESS"
    ) -> int:
        """Have a build end, with these artifacts, and return its id; later ones are newer."""
        key = len(self.builds) + 9120
        self._files[key] = dict(files)
        self.builds.append({
            "id": key, "buildTypeId": BUILD_TYPE, "number": str(len(self.builds) + 17),
            "status": status, "state": "finished", "branchName": branch,
            "defaultBranch": branch == "main", "href": f"/app/rest/builds/id:{key}",
            "webUrl": f"https://teamcity.example.com/buildConfiguration/{BUILD_TYPE}/{key}",
        })  # fmt: skip
        return key

    def refusal(self, status: int) -> Answer:
        """Word errors as text."""
        texts = {
            401: "Authentication required",
            403: "You do not have enough permissions to access project with id: Hello",
            404: "Responding with error, status code: 404 (Not Found).",
        }
        text = texts.get(status, f"Error {status}").encode()
        return Answer(status=status, body=text, headers={"content-type": "text/plain"})

    def allow(self, request: Request) -> Answer | None:
        """Check the token ("Get Started", REST Authentication) and the permission."""
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return self.refusal(401)
        return None if self.may_view else self.refusal(403)

    @route("GET", r"/app/rest/builds/?")
    def list_builds(self, request: Request) -> Answer:
        """Answer "Get Build Details", List Builds: newest first; JSON only if asked for.

        "BuildLocator": without `branch` only builds of the default branch, 100 at most.
        """
        found = self._found(first(request, "locator"))
        if "json" not in request.headers.get("accept", ""):
            text = f'<?xml version="1.0" encoding="UTF-8"?><builds count="{len(found)}"/>'
            return Answer(body=text.encode(), headers={"content-type": "application/xml"})
        return Answer.of({"count": len(found), "href": "/app/rest/builds", "build": found})

    @route("GET", rf"{_BUILD}/artifacts/children/?")
    def list_artifacts(self, request: Request) -> Answer:
        """Answer "Manage Finished Builds", Get Build Artifacts: the files at the root."""
        build = self._build(request)
        base = f"{build['href']}/artifacts"
        files = [
            {"name": name, "size": len(data), "content": {"href": f"{base}/content/{name}"}}
            for name, data in self._files[build["id"]].items()
        ]
        return Answer.of({"count": len(files), "file": files})

    @route("GET", rf"{_BUILD}/artifacts/content/(.+)")
    def get_artifact(self, request: Request) -> Answer:
        """Answer "Manage Finished Builds", Get Build Artifacts: a file by its path."""
        files = self._files[self._build(request)["id"]]
        if request.match and request.match[2] in files:
            return Answer(body=files[request.match[2]])
        return self.refusal(404)

    @route("GET", rf"{_BUILD}/artifacts/archived/?")
    def get_archive(self, request: Request) -> Answer:
        """Answer "Manage Finished Builds", Get Build Artifacts: all of them in an archive."""
        return archive(zipped(self._files[self._build(request)["id"]]))

    def _build(self, request: Request) -> dict[str, Any]:
        found = self._found(request.match[1] if request.match else "")
        if not found:
            raise Refused(self.refusal(404))
        return found[0]

    def _found(self, locator: str) -> list[dict[str, Any]]:
        if locator.isdigit():
            locator = f"id:{locator}"
        wanted = dict(part.split(":", 1) for part in locator.split(",") if ":" in part)
        branch = wanted.get("branch", "default:true" if "id" not in wanted else "default:any")
        found = [
            build
            for build in reversed(self.builds)
            if wanted.get("id") in (None, str(build["id"]))
            and wanted.get("buildType", "").strip("()").removeprefix("id:") in ("", BUILD_TYPE)
            and wanted.get("status") in (None, build["status"])
            and wanted.get("state") in (None, build["state"])
            and (branch == "default:any" or _is_of(build, branch))
        ]
        return found[: int(wanted.get("count", "100"))]


def _is_of(build: dict[str, Any], branch: str) -> bool:
    if branch == "default:true":
        return bool(build["defaultBranch"])
    return bool(branch.strip("()").removeprefix("name:") == build["branchName"])
