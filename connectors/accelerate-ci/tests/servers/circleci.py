# SPDX-License-Identifier: Apache-2.0
"""CircleCI's API v2, as far as a tool needs it that looks for artifacts.

Written from "CircleCI API v2" and "CircleCI API developer's guide".
"""

from __future__ import annotations

from typing import Any

from accelerate_core.testing.service import Answer, Request, route

from .common import Api, Refused, first, now

TOKEN = "CCIPAT_aBcDeFgHiJkLmNoPqRsT_0123456789abcdef"
SLUG = "gh/octocat/hello-world"
_PROJECT = rf"/api/v2/project/{SLUG}"
#: Items of a page.
PAGE = 20


class CircleCI(Api):
    """Hold one project: pipelines with a workflow of one job each."""

    def __init__(self) -> None:
        super().__init__()
        self.pipelines: list[dict[str, Any]] = []
        self.jobs: dict[str, dict[str, Any]] = {}
        self.artifacts: dict[int, dict[str, bytes]] = {}

    def add_job(
        self, files: dict[str, bytes], branch: str = "main", status: str = "success"
    ) -> int:
        """Have a pipeline end with a job `bench` and return its number; later ones are newer."""
        number = len(self.pipelines) + 4711
        key = f"5034460f-c7c4-4c43-9457-{number:012d}"
        self.pipelines.append({
            "id": key, "number": number, "state": "created", "project_slug": SLUG,
            "created_at": now(), "errors": [], "vcs": {"branch": branch, "revision": "f" * 40},
        })  # fmt: skip
        self.jobs[key] = {
            "id": key, "name": "bench", "job_number": number, "status": status, "type": "build",
            "project_slug": SLUG,
        }  # fmt: skip
        self.artifacts[number] = dict(files)
        return number

    def refusal(self, status: int) -> Answer:
        """Word errors as the API does: a message."""
        texts = {401: "You must log in first.", 404: "Not found.", 429: "Rate limit exceeded."}
        return Answer.of({"message": texts.get(status, "Internal server error.")}, status)

    def allow(self, request: Request) -> Answer | None:
        """Check the token ("API developer's guide", Authentication and authorization)."""
        return None if request.headers.get("circle-token") == TOKEN else self.refusal(401)

    @route("GET", rf"{_PROJECT}/pipeline")
    def list_pipelines(self, request: Request) -> Answer:
        """Answer Pipeline, Get all pipelines: newest first."""
        branch = first(request, "branch")
        found = [p for p in reversed(self.pipelines) if branch in ("", p["vcs"]["branch"])]
        return self._page(request, found)

    @route("GET", r"/api/v2/pipeline/([^/]+)/workflow")
    def list_workflows(self, request: Request) -> Answer:
        """Answer Pipeline, Get a pipeline's workflows; the workflow has the pipeline's id here."""
        job = self._job(request)
        workflow = {"id": job["id"], "name": "bench", "pipeline_id": job["id"]}
        workflow |= {"status": job["status"], "project_slug": SLUG, "created_at": now()}
        return self._page(request, [workflow])

    @route("GET", r"/api/v2/workflow/([^/]+)/job")
    def list_jobs(self, request: Request) -> Answer:
        """Answer Workflow, Get a workflow's jobs."""
        return self._page(request, [self._job(request)])

    @route("GET", rf"{_PROJECT}/(\d+)/artifacts")
    def list_artifacts(self, request: Request) -> Answer:
        """Answer Job, Get a job's artifacts."""
        number = int(request.match[1]) if request.match else 0
        if number not in self.artifacts:
            return self.refusal(404)
        where = f"{self.url}/output/job/{number}/artifacts/0"
        found = [
            {"path": path, "node_index": 0, "url": f"{where}/{path}"}
            for path in self.artifacts[number]
        ]
        return self._page(request, found)

    @route("GET", r"/output/job/(\d+)/artifacts/0/(.+)")
    def download(self, request: Request) -> Answer:
        """Answer "Store build artifacts", Downloading: the token is wanted here, too."""
        files = self.artifacts.get(int(request.match[1]), {}) if request.match else {}
        if request.match and request.match[2] in files:
            return Answer(body=files[request.match[2]])
        return self.refusal(404)

    def _job(self, request: Request) -> dict[str, Any]:
        if request.match and request.match[1] in self.jobs:
            return self.jobs[request.match[1]]
        raise Refused(self.refusal(404))

    def _page(self, request: Request, items: list[dict[str, Any]]) -> Answer:
        start = int(first(request, "page-token", "0") or 0)
        more = str(start + PAGE) if start + PAGE < len(items) else None
        return Answer.of({"items": items[start : start + PAGE], "next_page_token": more})
