# SPDX-License-Identifier: Apache-2.0
"""Pull requests and commits at GitHub ("REST API endpoints for issue comments", "... statuses")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from accelerate_core.errors import ConnectorError
from accelerate_core.secrets import Secret
from accelerate_core.texts import cut

from ..api import Api
from ..values import Job, Shown
from . import marker
from .tokens import token_of

_DESCRIPTION = 140
COMMENTS = "Give the job `permissions: pull-requests: write`."
STATUSES = "Give the job `permissions: statuses: write`."
TOKEN = "Set `env: GITHUB_TOKEN: ${{ github.token }}` for the step."
NAMES = ("GITHUB_TOKEN", "GH_TOKEN")


def api_of(environ: Mapping[str, str], token: Secret) -> Api:
    """Return GitHub's API, or that of a GitHub Enterprise Server."""
    headers = {
        "accept": "application/vnd.github+json",
        "authorization": f"Bearer {token.reveal()}",
        "x-github-api-version": "2022-11-28",
    }
    return Api("GitHub", _url(environ), headers)


def _url(environ: Mapping[str, str]) -> str:
    return (environ.get("GITHUB_API_URL") or "https://api.github.com").rstrip("/")


class GitHubHost:
    """Comment and set statuses with the job's token."""

    most = 65_536

    def __init__(self, job: Job, environ: Mapping[str, str]) -> None:
        """Take the job; ConnectorError without a token."""
        self._api = api_of(environ, token_of(environ, NAMES, "GitHub", TOKEN))
        # "Forming calls with GraphQL": of a GitHub Enterprise Server it is beside its REST API.
        self._graphql = f"{_url(environ).removesuffix('/v3')}/graphql"
        self._job = job
        self._repository = f"/repos/{job.repository}"
        self._own_id: int | None = None

    def comment(self, name: str, text: str) -> str | None:
        """Create the comment, or edit our own that has the marker."""
        comments = f"{self._repository}/issues/{self._job.pull_request}/comments"
        mark = f"<!-- {marker(name)} -->"
        body = {"body": f"{mark}\n{text}"}
        for one in self._api.pages(comments, needs=COMMENTS, per_page=100):
            if (one.get("body") or "").startswith(mark) and self._is_ours(one):
                url = f"{self._repository}/issues/comments/{one['id']}"
                made = self._api.data("PATCH", url, needs=COMMENTS, json=body)
                return str(made["html_url"])
        made = self._api.data("POST", comments, needs=COMMENTS, json=body)
        return str(made["html_url"])

    def status(self, shown: Shown, link: str | None) -> None:
        """Create a status; of each context the latest counts."""
        body = {
            "state": "failure" if shown.is_failed else "success",
            "context": f"accelerate/{shown.name}",
            "description": cut(shown.title, _DESCRIPTION),
            **({"target_url": link} if link else {}),
        }
        self._api.call(
            "POST", f"{self._repository}/statuses/{self._job.commit}", needs=STATUSES, json=body
        )

    def check(self) -> Sequence[str]:
        """Try what is refused as invalid (422) by whom it is allowed: nothing is made."""
        tries = [(f"{self._repository}/statuses/{self._job.commit}", {"state": ""}, STATUSES)]
        if self._job.pull_request:
            comments = f"{self._repository}/issues/{self._job.pull_request}/comments"
            tries.append((comments, {"body": ""}, COMMENTS))
        found = []
        for path, body, needs in tries:
            try:
                self._api.call("POST", path, needs=needs, json=body, expected=(422,))
            except ConnectorError as error:
                found.append(str(error))
        return found

    def close(self) -> None:
        """Close all connections."""
        self._api.close()

    def _is_ours(self, comment: Mapping[str, Any]) -> bool:
        """Whether we wrote it: people copy comments, and GitHub lets us edit theirs.

        Who we are is asked by GraphQL: REST's `/user` refuses the token of a job.
        """
        if self._own_id is None:
            query = {"query": "query { viewer { databaseId } }"}
            said = self._api.data("POST", self._graphql, needs=COMMENTS, json=query)
            try:
                self._own_id = said["data"]["viewer"]["databaseId"]
            except (KeyError, TypeError):
                # GraphQL answers 200 to what it refuses, for once to too many requests.
                raise ConnectorError(
                    "it does not say who this is", where="GitHub", retryable=True
                ) from None
        return bool((comment.get("user") or {}).get("id") == self._own_id)
