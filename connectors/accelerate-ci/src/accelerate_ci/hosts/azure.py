# SPDX-License-Identifier: Apache-2.0
"""Pull requests and commits at Azure Repos ("Pull Request Threads", "Statuses" of its REST API)."""

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

#: Version of the REST API; every request must name one.
VERSION = {"api-version": "7.1"}
_DESCRIPTION = 1000
TOKEN = "Give the step `env: SYSTEM_ACCESSTOKEN: $(System.AccessToken)`."
_RIGHT = (
    'Allow the build service of the project "{right}" for this repository '
    "(Project settings, Repositories, Security)."
)
COMMENTS = _RIGHT.format(right="Contribute to pull requests")
READ = _RIGHT.format(right="Read")
STATUSES = _RIGHT.format(right="Contribute")


def api_of(environ: Mapping[str, str]) -> Api:
    """Return the API of this project; ConnectorError without a token."""
    token = token_of(environ, ("SYSTEM_ACCESSTOKEN",), "Azure DevOps", TOKEN)
    collection = environ.get("SYSTEM_COLLECTIONURI", "").rstrip("/")
    project = quote(environ.get("SYSTEM_TEAMPROJECT", ""), safe="")
    headers = {"authorization": f"Bearer {token.reveal()}"}
    return Api("Azure DevOps", f"{collection}/{project}/_apis", headers)


class AzureHost:
    """Comment and set statuses with the job's token."""

    most = 150_000

    def __init__(self, job: Job, environ: Mapping[str, str]) -> None:
        """Take the job; ConnectorError without a token."""
        self._api = api_of(environ)
        self._job = job
        self._repository = f"/git/repositories/{quote(job.repository or '', safe='')}"
        self._request = f"{self._repository}/pullRequests/{job.pull_request}"

    def comment(self, name: str, text: str) -> str | None:
        """Open a thread, or edit the first comment of our own that has the marker.

        A copy that somebody else made may not be edited (403), by which it is known.
        """
        mark = f"<!-- {marker(name)} -->"
        content = f"{mark}\n{text}"
        threads = self._data("GET", f"{self._request}/threads", COMMENTS)
        for thread in threads.get("value", ()):
            for one in (thread.get("comments") or ())[:1]:
                if not one.get("isDeleted") and (one.get("content") or "").startswith(mark):
                    url = f"{self._request}/threads/{thread['id']}/comments/{one['id']}"
                    made = self._api.call(
                        "PATCH",
                        url,
                        needs=COMMENTS,
                        params=VERSION,
                        json={"content": content},
                        expected=(403,),
                    )
                    if made.is_success:
                        return self._link(thread["id"])
        comment = {"parentCommentId": 0, "content": content, "commentType": "text"}
        # "closed": nobody must resolve it before the pull request is completed.
        made = self._data(
            "POST",
            f"{self._request}/threads",
            COMMENTS,
            {"comments": [comment], "status": "closed"},
        )
        return self._link(made["id"])

    def status(self, shown: Shown, link: str | None) -> None:
        """Set a status of the pull request, else of the commit; of each context the latest counts.

        Policies of branches look at those of pull requests only.
        """
        body = {
            "state": "failed" if shown.is_failed else "succeeded",
            "description": cut(shown.title, _DESCRIPTION),
            "context": {"name": shown.name, "genre": "accelerate"},
            **({"targetUrl": link} if link else {}),
        }
        path, needs = self._told()
        self._data("POST", f"{path}/statuses", needs, body)

    def check(self) -> Sequence[str]:
        """Try what is refused as invalid (400) by whom it is allowed: nothing is made."""
        path, needs = self._told()
        try:
            self._api.call("GET", self._repository, needs=READ, params=VERSION)
            self._api.call(
                "POST", f"{path}/statuses", needs=needs, params=VERSION, json={}, expected=(400,)
            )
        except ConnectorError as error:
            return [str(error)]
        return []

    def close(self) -> None:
        """Close all connections."""
        self._api.close()

    def _data(self, method: str, path: str, needs: str, body: Any = None) -> Any:
        return self._api.data(method, path, needs=needs, params=VERSION, json=body)

    def _told(self) -> tuple[str, str]:
        """Return what statuses are of, and the right it takes to set them."""
        if self._job.pull_request:
            return self._request, COMMENTS
        return f"{self._repository}/commits/{self._job.commit}", STATUSES

    def _link(self, thread: int) -> str | None:
        if not self._job.job_url:
            return None
        project = self._job.job_url.partition("/_build/")[0]
        repository = quote(self._job.repository or "", safe="")
        request = self._job.pull_request
        return f"{project}/_git/{repository}/pullrequest/{request}?discussionId={thread}"
