# SPDX-License-Identifier: Apache-2.0
"""Jenkins' remote access API, as far as a tool needs it that looks for artifacts.

Written from the Jenkins User Documentation, "Remote Access API", "CSRF Protection", and the pages
that a controller has at `/api`.
"""

from __future__ import annotations

import base64
from typing import Any

from accelerate_core.testing.service import Answer, Request, route

from .common import Api, Refused, archive, first, zipped

USER, TOKEN, PASSWORD = "bench", "11a2b3c4d5e6f708192a3b4c5d6e7f8091", "correct horse"
_BUILD = r"/job/bench/job/main/(lastSuccessfulBuild|lastCompletedBuild|\d+)"


class Jenkins(Api):
    """Hold the branch `main` of a multibranch project; `may_read` is the right Job/Read."""

    def __init__(self) -> None:
        super().__init__()
        self.may_read = True
        self.builds: list[dict[str, Any]] = []
        self._files: dict[int, dict[str, bytes]] = {}

    def add_build(self, files: dict[str, bytes], result: str = "SUCCESS") -> int:
        """Have a build end, with these artifacts, and return its number."""
        number = len(self.builds) + 150
        self._files[number] = dict(files)
        self.builds.append({
            "_class": "org.jenkinsci.plugins.workflow.job.WorkflowRun", "number": number,
            "id": str(number), "result": result, "building": False, "description": None,
            "url": f"{self.url}/job/bench/job/main/{number}/", "displayName": f"#{number}",
            "artifacts": [
                {"displayPath": path, "fileName": path.rpartition("/")[2], "relativePath": path}
                for path in files
            ],
        })  # fmt: skip
        return number

    def refusal(self, status: int) -> Answer:
        """Word errors as pages: Jenkins answers them in HTML, whatever was asked for."""
        page = f"<html><head><title>Error {status}</title></head></html>".encode()
        return Answer(status=status, body=page, headers={"content-type": "text/html"})

    def allow(self, request: Request) -> Answer | None:
        """Check who asks ("Remote Access API", "CSRF Protection", Working with scripted clients).

        A user with an API token needs no crumb; one with a password does for POST.
        """
        scheme, _, coded = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return self.refusal(403)
        name, _, secret = base64.b64decode(coded).decode().partition(":")
        if name != USER or secret not in (TOKEN, PASSWORD):
            return self.refusal(401)
        crumbed = request.headers.get("jenkins-crumb") == "crumb-1"
        if request.method == "POST" and secret == PASSWORD and not crumbed:
            data = {"status": "403", "message": "No valid crumb was included in the request"}
            return Answer.of(data, 403)
        # Whoever may not read a job is told that there is none.
        return None if self.may_read or "/job/" not in request.path else self.refusal(404)

    @route("GET", r"/crumbIssuer/api/json")
    def get_crumb(self, request: Request) -> Answer:
        """Answer "CSRF Protection", Working with scripted clients."""
        return Answer.of({"crumb": "crumb-1", "crumbRequestField": "Jenkins-Crumb"})

    @route("GET", rf"{_BUILD}/api/json")
    def get_build(self, request: Request) -> Answer:
        """Answer "Remote Access API", a build as JSON data."""
        return Answer.of(self._build(request))

    @route("GET", rf"{_BUILD}/artifact/\*zip\*/archive\.zip")
    def get_archive(self, request: Request) -> Answer:
        """Answer "Remote Access API", all artifacts in an archive, in a folder `archive`."""
        files = self._files[self._build(request)["number"]]
        return archive(zipped({f"archive/{path}": data for path, data in files.items()}))

    @route("GET", rf"{_BUILD}/artifact/(.+)")
    def get_artifact(self, request: Request) -> Answer:
        """Answer "Remote Access API", an artifact by its relative path."""
        files = self._files[self._build(request)["number"]]
        if request.match and request.match[2] in files:
            return Answer(body=files[request.match[2]])
        return self.refusal(404)

    @route("POST", rf"{_BUILD}/submitDescription")
    def describe(self, request: Request) -> Answer:
        """Answer "Remote Access API", the description of a build: 302 back to it."""
        build = self._build(request)
        build["description"] = first(request, "description") or request.form().get("description")
        return Answer(status=302, headers={"location": build["url"]})

    def _build(self, request: Request) -> dict[str, Any]:
        name = request.match[1] if request.match else ""
        for build in reversed(self.builds):
            good = name == "lastSuccessfulBuild" and build["result"] in ("SUCCESS", "UNSTABLE")
            if good or name in ("lastCompletedBuild", build["id"]):
                return build
        raise Refused(self.refusal(404))
