# SPDX-License-Identifier: Apache-2.0
"""GitLab's REST API, version 4, as far as a tool in a job speaks to it.

Written from the GitLab documentation, "REST API", and its pages on notes, commits, job artifacts,
pipelines and the CI/CD job token.
"""

from __future__ import annotations

import io
import zipfile
from typing import Any
from urllib.parse import quote

from accelerate_core.testing.service import Answer, Request, route

from .common import Api, Refused, archive, first, now, number, pages, zipped

TOKEN, JOB_TOKEN = "glpat-aB3dEfGh1JkLmNoPqRsT", "glcbt-64_aB3dEfGh1JkLmNoPqRsT"
PROJECT, PATH = 5, "diaspora/diaspora-client"
_V4 = rf"/api/v4/projects/(?:{PROJECT}|{quote(PATH, safe='')})"
GUEST, REPORTER, DEVELOPER, MAINTAINER = 10, 20, 30, 40
#: "Notes API", "Commits API": characters.
LONGEST_NOTE, LONGEST_DESCRIPTION, LONGEST_URL = 1_000_000, 255, 255
_STATES = ("pending", "running", "success", "failed", "canceled", "skipped")


class GitLab(Api):
    """Hold one private project.

    `scopes` are those of the access token and `role` is what its user may do in the project;
    `to_store` lets downloads be redirected, as GitLab.com does.
    """

    def __init__(self, *, role: int = DEVELOPER, to_store: bool = False) -> None:
        super().__init__()
        self.scopes = {"api"}
        self.role = role
        self.to_store = to_store
        self.job_running = True
        self.merge_requests = {11: "feature-1"}
        self.commits = {"18f3e63d05582537db6d183d9d557be09e1f90c8"}
        self.notes: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        self.pipelines: list[dict[str, Any]] = []
        self.jobs: list[dict[str, Any]] = []
        self._archives: dict[int, bytes] = {}
        self._ids = 300
        self._limits: list[Answer] = []

    # --- state --------------------------------------------------------------------------------

    def lack(self, scope: str = "api") -> None:
        """Leave the access token with `read_api` only."""
        self.scopes = {"read_api"} if scope == "api" else set()

    def limit_next(self, wait_s: float = 1.0) -> None:
        """Refuse the next request by a rate limit ("Rate limits", Response headers)."""
        headers = {
            "ratelimit-limit": "60", "ratelimit-observed": "67", "ratelimit-remaining": "0",
            "ratelimit-name": "throttle_authenticated_api", "retry-after": str(wait_s),
            "content-type": "text/plain",
        }  # fmt: skip
        self._limits.append(Answer(status=429, body=b"Retry later\n", headers=headers))

    def add_note(self, body: str, merge_request: int = 11, user: str = "pipin") -> dict[str, Any]:
        """Write a note as somebody else."""
        note = {
            "id": self._id(), "body": body, "attachment": None, "system": False,
            "author": {"id": 24 if user == "project_5_bot" else 1, "username": user, "name": "Pip"},
            "created_at": now(), "updated_at": now(), "noteable_id": 377,
            "noteable_type": "MergeRequest", "project_id": PROJECT, "noteable_iid": merge_request,
            "resolvable": False, "confidential": False, "internal": False,
        }  # fmt: skip
        self.notes.append(note)
        return note

    def add_pipeline(self, ref: str = "main", status: str = "success") -> int:
        """Have a pipeline end and return its id; later ones are newer."""
        key = self._id()
        self.pipelines.append({
            "id": key, "iid": len(self.pipelines) + 12, "project_id": PROJECT, "status": status,
            "source": "push", "ref": ref, "sha": "a91957a858320c0e17f3a0eca7cfacbff50ea29a",
            "web_url": f"https://gitlab.example.com/{PATH}/-/pipelines/{key}",
            "created_at": now(), "updated_at": now(),
        })  # fmt: skip
        return key

    def add_job(
        self, pipeline: int, name: str, files: dict[str, bytes] | None = None, **more: Any
    ) -> int:
        """Have a job of a pipeline end, with these artifacts, and return its id."""
        key = self._id()
        of = next(each for each in self.pipelines if each["id"] == pipeline)
        job = {
            "id": key, "name": name, "status": "success", "stage": "test", "ref": of["ref"],
            "tag": False, "pipeline": {"id": pipeline, "ref": of["ref"], "status": of["status"]},
            "artifacts": [], "artifacts_expire_at": None, "created_at": now(),
            "web_url": f"https://gitlab.example.com/{PATH}/-/jobs/{key}",
        } | more  # fmt: skip
        if files is not None:
            content = self._archives[key] = zipped(files)
            job["artifacts_file"] = {"filename": "artifacts.zip", "size": len(content)}
        self.jobs.append(job)
        return key

    # --- what holds for every request ---------------------------------------------------------

    def refusal(self, status: int) -> Answer:
        """Word errors as in "Troubleshooting the REST API"."""
        texts = {
            400: "400 Bad request", 401: "401 Unauthorized", 403: "403 Forbidden",
            404: "404 Not found", 409: "409 Conflict",
        }  # fmt: skip
        if status == 429:
            return Answer(status=429, body=b"Retry later\n", headers={"content-type": "text/plain"})
        return Answer.of({"message": texts.get(status, f"{status} Internal Server Error")}, status)

    def allow(self, request: Request) -> Answer | None:
        """Check who asks.

        "REST API authentication": `PRIVATE-TOKEN`, or `Authorization: Bearer`, or a job token;
        whoever brings none does not see a private project.
        """
        if self._limits:
            return self._limits.pop(0)
        who = self._who(request)
        if who == "":
            return Answer.of({"message": "404 Project Not Found"}, 404)
        if who == "wrong" or (who == "job" and not self.job_running):
            return self.refusal(401)
        return None

    def needs(self, request: Request, role: int = GUEST, *, write: bool = True) -> None:
        """Refuse a token without the right; job tokens are for what names them.

        "REST API authentication", "Personal access token scopes", "CI/CD job token".
        """
        if self._who(request) == "job":
            raise Refused(self.refusal(401))
        if "api" not in self.scopes and (write or "read_api" not in self.scopes):
            text = "The request requires higher privileges than provided by the access token."
            data = {"error": "insufficient_scope", "error_description": text}
            raise Refused(Answer.of(data | {"scope": "api" if write else "api read_api"}, 403))
        if self.role < role:
            raise Refused(self.refusal(403))

    def may_read(self, request: Request) -> None:
        """Let job tokens pass, and access tokens that read."""
        if self._who(request) != "job":
            self.needs(request, write=False)

    # --- the project and its merge requests ---------------------------------------------------

    @route("GET", _V4)
    def get_project(self, request: Request) -> Answer:
        """Answer "Projects API", Retrieve a project."""
        self.needs(request, write=False)
        return Answer.of({
            "id": PROJECT, "path_with_namespace": PATH, "default_branch": "main",
            "visibility": "private", "web_url": f"https://gitlab.example.com/{PATH}",
            "permissions": {"project_access": {"access_level": self.role}, "group_access": None},
        })  # fmt: skip

    @route("GET", r"/api/v4/personal_access_tokens/self")
    def get_token(self, request: Request) -> Answer:
        """Answer "Personal access tokens API", Get details on a personal access token."""
        if self._who(request) == "job":
            return self.refusal(401)
        return Answer.of({
            "id": 4, "name": "accelerate", "revoked": False, "active": True, "user_id": 24,
            "scopes": sorted(self.scopes), "created_at": now(), "expires_at": "2030-01-01",
        })  # fmt: skip

    @route("GET", rf"{_V4}/merge_requests")
    def list_merge_requests(self, request: Request) -> Answer:
        """Answer "Merge requests API", List project merge requests; job tokens may ask."""
        self.may_read(request)
        branch = first(request, "source_branch")
        return self._page(
            request,
            [
                {"iid": iid, "source_branch": source, "target_branch": "main", "state": "opened"}
                for iid, source in sorted(self.merge_requests.items(), reverse=True)
                if branch in ("", source) and first(request, "state", "all") in ("all", "opened")
            ],
        )

    @route("GET", rf"{_V4}/merge_requests/(\d+)/notes")
    def list_notes(self, request: Request) -> Answer:
        """Answer "Notes API", List all merge request notes: newest first; job tokens may ask."""
        self.may_read(request)
        iid = self._merge_request(request)
        order = first(request, "order_by", "created_at")
        found = sorted(
            (note for note in self.notes if note["noteable_iid"] == iid),
            key=lambda note: (note[order], note["id"]),
            reverse=first(request, "sort", "desc") == "desc",
        )
        return self._page(request, found)

    @route("POST", rf"{_V4}/merge_requests/(\d+)/notes")
    def create_note(self, request: Request) -> Answer:
        """Answer "Notes API", Create new merge request note."""
        self.needs(request)
        iid = self._merge_request(request)
        return Answer.of(self.add_note(self._note_body(request), iid, "project_5_bot"), 201)

    @route("PUT", rf"{_V4}/merge_requests/(\d+)/notes/(\d+)")
    def update_note(self, request: Request) -> Answer:
        """Answer "Notes API", Modify existing merge request note."""
        self.needs(request)
        note = self._note(request)
        if note["author"]["username"] != "project_5_bot" and self.role < MAINTAINER:
            return self.refusal(403)
        note |= {"body": self._note_body(request), "updated_at": now()}
        return Answer.of(note)

    # --- commit statuses ----------------------------------------------------------------------

    @route("POST", rf"{_V4}/statuses/([0-9a-f]+)")
    def set_status(self, request: Request) -> Answer:
        """Answer "Commits API", Set commit pipeline status.

        The status of a name is brought up to date; a change to the state that it has is refused
        (issue 556757 of GitLab).
        """
        self.needs(request, DEVELOPER)
        sha, data = self._commit(request), self._fields(request)
        if "state" not in data:
            return Answer.of({"error": "state is missing"}, 400)
        if data["state"] not in _STATES:
            return Answer.of({"error": "state does not have a valid value"}, 400)
        for name, longest in (("description", LONGEST_DESCRIPTION), ("target_url", LONGEST_URL)):
            if len(data.get(name) or "") > longest:
                text = f"is too long (maximum is {longest} characters)"
                return Answer.of({"message": {name: [text]}}, 400)
        name = data.get("name") or data.get("context") or "default"
        ref = data.get("ref", "main")
        key = (sha, name, ref)
        old = [s for s in self.statuses if (s["sha"], s["name"], s["ref"]) == key]
        if old and old[-1]["status"] == data["state"]:
            text = f"Cannot transition status via :{data['state']} from :{old[-1]['status']}"
            return Answer.of({"message": text}, 400)
        status = old[-1] if old else {"id": self._id(), "created_at": now()}
        status |= {
            "sha": sha, "ref": ref, "name": name, "status": data["state"],
            "target_url": data.get("target_url"), "description": data.get("description"),
            "coverage": data.get("coverage"), "allow_failure": False, "finished_at": None,
            "started_at": None, "author": {"username": "project_5_bot", "id": 24},
        }  # fmt: skip
        if not old:
            self.statuses.append(status)
        return Answer.of(status, 201)

    @route("GET", rf"{_V4}/repository/commits/([0-9a-f]+)/statuses")
    def list_statuses(self, request: Request) -> Answer:
        """Answer "Commits API", List commit statuses."""
        self.needs(request, write=False)
        sha, name = self._commit(request), first(request, "name")
        found = [s for s in self.statuses if s["sha"] == sha and name in ("", s["name"])]
        return self._page(request, found)

    # --- pipelines and artifacts --------------------------------------------------------------

    @route("GET", rf"{_V4}/pipelines")
    def list_pipelines(self, request: Request) -> Answer:
        """Answer "Pipelines API", List project pipelines: newest first."""
        self.needs(request, write=False)
        found = [
            each
            for each in reversed(self.pipelines)
            if all(first(request, name) in ("", each[name]) for name in ("ref", "status", "sha"))
        ]
        return self._page(request, found)

    @route("GET", rf"{_V4}/pipelines/(\d+)/jobs")
    def list_jobs(self, request: Request) -> Answer:
        """Answer "Jobs API", List pipeline jobs; `scope[]` names states."""
        self.needs(request, write=False)
        pipeline = int(request.match[1]) if request.match else 0
        if pipeline not in {each["id"] for each in self.pipelines}:
            return self.refusal(404)
        states = request.query.get("scope[]", []) + request.query.get("scope", [])
        jobs = [job for job in reversed(self.jobs) if job["pipeline"]["id"] == pipeline]
        return self._page(request, [job for job in jobs if not states or job["status"] in states])

    @route("GET", rf"{_V4}/jobs/(\d+)/artifacts")
    def download_by_job(self, request: Request) -> Answer:
        """Answer "Job artifacts API", Get job artifacts; job tokens may ask."""
        self.may_read(request)
        return self._send(int(request.match[1]) if request.match else 0)

    @route("GET", rf"{_V4}/jobs/artifacts/(.+)/download")
    def download_by_ref(self, request: Request) -> Answer:
        """Answer "Job artifacts API", Download the artifacts archive; job tokens may ask."""
        self.may_read(request)
        return self._send(self._job_of_ref(request))

    @route("GET", rf"{_V4}/jobs/artifacts/(.+?)/raw/(.+)")
    def download_file(self, request: Request) -> Answer:
        """Answer "Job artifacts API", Download a single artifact file from a branch."""
        self.may_read(request)
        content = self._archives.get(self._job_of_ref(request), zipped({}))
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            if request.match and request.match[2] in file.namelist():
                return Answer(body=file.read(request.match[2]))
        return self.refusal(404)

    # --- parts --------------------------------------------------------------------------------

    def _id(self) -> int:
        self._ids += 1
        return self._ids

    def _who(self, request: Request) -> str:
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        token = (
            request.headers.get("private-token")
            or first(request, "private_token")
            or (bearer if scheme.lower() == "bearer" else "")
        )
        job = request.headers.get("job-token") or first(request, "job_token")
        if not token and not job:
            return ""
        if token:
            return "user" if token == TOKEN else "wrong"
        return "job" if job == JOB_TOKEN else "wrong"

    def _fields(self, request: Request) -> dict[str, Any]:
        """Return the parameters: of the query, of a form, or of JSON data."""
        data = {name: values[-1] for name, values in request.query.items()}
        kind = request.headers.get("content-type", "")
        if "json" in kind:
            return data | self.body(request)
        return data | request.form() if "form-urlencoded" in kind else data

    def _merge_request(self, request: Request) -> int:
        if request.match and int(request.match[1]) in self.merge_requests:
            return int(request.match[1])
        raise Refused(self.refusal(404))

    def _note(self, request: Request) -> dict[str, Any]:
        iid = self._merge_request(request)
        for note in self.notes:
            if request.match and (note["noteable_iid"], note["id"]) == (iid, int(request.match[2])):
                return note
        raise Refused(self.refusal(404))

    def _note_body(self, request: Request) -> str:
        data = self._fields(request)
        if "body" not in data:
            raise Refused(Answer.of({"error": "body is missing"}, 400))
        body = str(data["body"])
        if not body.strip() or len(body) > LONGEST_NOTE:
            wrong = "can't be blank" if not body.strip() else "is too long"
            text = f'400 Bad request - Note {{:note=>["{wrong}"]}}'
            raise Refused(Answer.of({"message": text}, 400))
        return body

    def _commit(self, request: Request) -> str:
        sha = request.match[1] if request.match else ""
        if sha not in self.commits:
            raise Refused(Answer.of({"message": "404 Commit Not Found"}, 404))
        return sha

    def _job_of_ref(self, request: Request) -> int:
        """Find the job in the latest successful pipeline of a branch or tag."""
        ref = request.match[1] if request.match else ""
        if not first(request, "job"):
            raise Refused(Answer.of({"error": "job is missing"}, 400))
        good = [p["id"] for p in self.pipelines if (p["ref"], p["status"]) == (ref, "success")]
        for job in reversed(self.jobs):
            if good and (job["pipeline"]["id"], job["name"]) == (good[-1], first(request, "job")):
                return int(job["id"])
        raise Refused(self.refusal(404))

    def _send(self, job: int) -> Answer:
        if job not in self._archives:
            return self.refusal(404)
        if self.to_store:
            place = self.storage.put(self._archives[job])
            return Answer(status=302, headers={"location": place})
        return archive(self._archives[job])

    def _page(self, request: Request, items: list[dict[str, Any]]) -> Answer:
        """Cut out a page: "REST API", Offset-based pagination, 20 each and at most 100."""
        per_page, page = number(request, "per_page", 20, 100), number(request, "page", 1)
        last = max(1, -(-len(items) // per_page))
        rels = ["prev", "next", "first", "last"]
        link = pages(f"{self.url}{request.path}", request, len(items), per_page, page, rels)
        headers = {
            "link": link, "x-page": str(page), "x-per-page": str(per_page),
            "x-next-page": str(page + 1) if page < last else "",
            "x-prev-page": str(page - 1) if page > 1 else "",
            "x-total": str(len(items)), "x-total-pages": str(last),
        }  # fmt: skip
        return Answer.of(items[(page - 1) * per_page : page * per_page], 200, **headers)
