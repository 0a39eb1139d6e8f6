# SPDX-License-Identifier: Apache-2.0
"""Merge requests and commits at GitLab ("Notes API", "Commits API": commit status)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from accelerate_core.errors import ConnectorError
from accelerate_core.texts import cut

from ..api import Api
from ..values import Job, Shown
from . import marker
from .tokens import token_of

_DESCRIPTION = _URL = 255
TOKEN = (
    "Make a project access token with the scope `api` and the role Developer, and keep it as the "
    "masked CI/CD variable GITLAB_TOKEN: the job's own token may not comment."
)
NEEDS = "GITLAB_TOKEN needs the scope `api` and at least the role Developer in this project."


def url_of(environ: Mapping[str, str]) -> str:
    """Return the address of the API, as the job is told it."""
    return environ.get("CI_API_V4_URL") or "https://gitlab.com/api/v4"


class GitLabHost:
    """Comment and set statuses with a project access token."""

    most = 1_000_000

    def __init__(self, job: Job, environ: Mapping[str, str]) -> None:
        """Take the job; ConnectorError without a token."""
        token = token_of(environ, ("GITLAB_TOKEN",), "GitLab", TOKEN)
        self._api = Api("GitLab", url_of(environ), {"private-token": token.reveal()})
        self._job = job
        self._project = f"/projects/{quote(job.repository or '', safe='')}"
        # A fork's pipeline, and its statuses, are in the fork; the merge request is not.
        own = environ.get("CI_PROJECT_ID") or job.repository or ""
        self._own = f"/projects/{quote(own, safe='')}"
        self._pipeline = environ.get("CI_PIPELINE_ID")
        self._ref = environ.get("CI_COMMIT_REF_NAME")
        self._own_id: int | None = None

    def comment(self, name: str, text: str) -> str | None:
        """Create the note, or edit our own that has the marker."""
        request = f"{self._project}/merge_requests/{self._job.pull_request}"
        mark = f"<!-- {marker(name)} -->"
        body = {"body": f"{mark}\n{text}"}
        for one in self._api.pages(f"{request}/notes", needs=NEEDS, per_page=100):
            if (one.get("body") or "").startswith(mark) and self._is_ours(one):
                self._api.call("PUT", f"{request}/notes/{one['id']}", needs=NEEDS, json=body)
                return self._link(one["id"])
        made = self._api.data("POST", f"{request}/notes", needs=NEEDS, json=body)
        return self._link(made["id"])

    def status(self, shown: Shown, link: str | None) -> None:
        """Set the status; GitLab refuses (400) to set the state that it has, which is no error."""
        body = {
            "state": "failed" if shown.is_failed else "success",
            "name": f"accelerate/{shown.name}",
            "description": cut(shown.title, _DESCRIPTION),
            "target_url": link if link and len(link) <= _URL else None,
            "pipeline_id": self._pipeline,
            "ref": self._ref,
        }
        answer = self._api.call(
            "POST",
            f"{self._own}/statuses/{self._job.commit}",
            needs=NEEDS,
            expected=(400,),
            json={key: value for key, value in body.items() if value is not None},
        )
        is_so = "Cannot transition" in answer.text and f"from :{body['state']}" in answer.text
        if answer.status_code == 400 and not is_so:
            raise self._api.refusal(answer, NEEDS)

    def check(self) -> Sequence[str]:
        """Ask for the token's scopes and its role."""
        try:
            token = self._api.data("GET", "/personal_access_tokens/self", needs=TOKEN)
            if "api" not in token.get("scopes", ()):
                held = ", ".join(token.get("scopes", ())) or "none"
                return [f"GITLAB_TOKEN lacks the scope `api` (it has: {held}). {TOKEN}"]
            project = self._api.data("GET", self._project, needs=NEEDS)
        except ConnectorError as error:
            return [str(error)]
        access = (project.get("permissions") or {}).values()
        level = max((one.get("access_level", 0) for one in access if one), default=0)
        return [] if level >= 30 else [f"The role of GITLAB_TOKEN is too low. {NEEDS}"]

    def close(self) -> None:
        """Close all connections."""
        self._api.close()

    def _is_ours(self, note: Mapping[str, Any]) -> bool:
        """Whether we wrote it: people copy notes, and a Maintainer may edit theirs."""
        if self._own_id is None:
            token = self._api.data("GET", "/personal_access_tokens/self", needs=TOKEN)
            self._own_id = token["user_id"]
        return bool((note.get("author") or {}).get("id") == self._own_id)

    def _link(self, note: int) -> str | None:
        if not self._job.job_url:
            return None
        project = self._job.job_url.partition("/-/")[0]
        return f"{project}/-/merge_requests/{self._job.pull_request}#note_{note}"
