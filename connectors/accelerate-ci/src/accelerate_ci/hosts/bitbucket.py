# SPDX-License-Identifier: Apache-2.0
"""Pull requests and commits at Bitbucket Cloud ("The Bitbucket Cloud REST API")."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from accelerate_core.errors import ConnectorError
from accelerate_core.texts import cut, one_line

from ..api import Api
from ..values import Job, Shown
from . import marker
from .tokens import token_of

_KEY, _DESCRIPTION = 40, 255
#: Of a report: characters of its title and its details, annotations of a request, their summary.
_TITLE, _DETAILS, _ANNOTATIONS, _SUMMARY = 450, 2000, 100, 450
TOKEN = (
    "Make a repository access token with the scopes `pullrequest` and `repository:write`, and "
    "keep it as the secured repository variable BITBUCKET_ACCESS_TOKEN."
)
_SCOPE = "BITBUCKET_ACCESS_TOKEN needs the scope `{scope}`."
COMMENTS = _SCOPE.format(scope="pullrequest")
COMMITS = _SCOPE.format(scope="repository")
FILES = _SCOPE.format(scope="repository:write")
NAMES = ("BITBUCKET_ACCESS_TOKEN",)


def api_of(environ: Mapping[str, str]) -> Api:
    """Return the API; ConnectorError without a token."""
    token = token_of(environ, NAMES, "Bitbucket", TOKEN)
    url = environ.get("BITBUCKET_API_URL") or "https://api.bitbucket.org/2.0"
    return Api("Bitbucket", url, {"authorization": f"Bearer {token.reveal()}"})


def pages(api: Api, path: str, needs: str, **params: Any) -> Iterator[Any]:
    """Yield the values of all pages."""
    url: str | None = path
    while url:
        page = api.data("GET", url, needs=needs, params=params or None)
        yield from page.get("values", ())
        url, params = page.get("next"), {}


class BitbucketHost:
    """Comment and set build statuses with a repository access token."""

    most = 32_768

    def __init__(self, job: Job, environ: Mapping[str, str]) -> None:
        """Take the job; ConnectorError without a token."""
        self._api = api_of(environ)
        self._job = job
        self._repository = f"/repositories/{job.repository}"

    def comment(self, name: str, text: str) -> str | None:
        """Create the comment, or edit our own that has the marker.

        A copy that somebody else made may not be edited (403), by which it is known. HTML
        comments would be shown; the definition of a link that nobody uses is not.
        """
        comments = f"{self._repository}/pullrequests/{self._job.pull_request}/comments"
        mark = f"[{marker(name)}]: #"
        body = {"content": {"raw": f"{text}\n\n{mark}\n"}}
        for one in pages(self._api, comments, COMMENTS, pagelen=100):
            raw = (one.get("content") or {}).get("raw") or ""
            if not one.get("deleted") and raw.rstrip().endswith(mark):
                url = f"{comments}/{one['id']}"
                made = self._api.call("PUT", url, needs=COMMENTS, json=body, expected=(403,))
                if made.is_success:
                    return _link(self._api.read(made))
        return _link(self._api.data("POST", comments, needs=COMMENTS, json=body))

    def status(self, shown: Shown, link: str | None) -> None:
        """Set a build status; one with the same key is replaced."""
        label = f"accelerate/{shown.name}"
        digest = hashlib.sha256(label.encode()).hexdigest()[:12]
        body = {
            "key": label if len(label) <= _KEY else f"accelerate-{digest}",
            "name": cut(label, _DESCRIPTION),
            "state": "FAILED" if shown.is_failed else "SUCCESSFUL",
            "description": cut(shown.title, _DESCRIPTION),
            "url": link or f"https://bitbucket.org/{self._job.repository}",
        }
        commit = f"{self._repository}/commit/{self._job.commit}"
        self._api.call("POST", f"{commit}/statuses/build", needs=COMMITS, json=body)
        self._insights(commit, digest, shown, link)

    def check(self) -> Sequence[str]:
        """Read what is to be written: Bitbucket wants the same scopes for both."""
        found = []
        paths = {self._repository: COMMITS}
        if self._job.pull_request:
            paths[f"{self._repository}/pullrequests/{self._job.pull_request}/comments"] = COMMENTS
        for path, needs in paths.items():
            try:
                self._api.call("GET", path, needs=needs)
            except ConnectorError as error:
                found.append(str(error))
        return found

    def close(self) -> None:
        """Close all connections."""
        self._api.close()

    def _insights(self, commit: str, digest: str, shown: Shown, link: str | None) -> None:
        """Write the report of the commit, with an annotation for each finding; replace older."""
        path = f"{commit}/reports/accelerate-{digest}"
        measured = shown.summary.measurements
        report = {
            "title": cut(f"accelerate {shown.name}", _TITLE),
            "details": cut(shown.title, _DETAILS),
            "report_type": "TEST",
            "reporter": "accelerate",
            "result": "FAILED" if shown.is_failed else "PASSED",
            "data": [
                {"title": "Measured", "type": "NUMBER", "value": len(measured)},
                {"title": "Failed", "type": "NUMBER", "value": len(shown.findings)},
            ],
            **({"link": link} if link else {}),
        }
        self._api.call("PUT", path, needs=COMMITS, json=report)
        annotations = [
            {
                "external_id": f"{digest}-{number}",
                "annotation_type": "BUG",
                "summary": cut(one_line(f"{one.title}: {one.text}".removesuffix(": ")), _SUMMARY),
                "severity": {"error": "HIGH", "warning": "MEDIUM"}.get(one.level, "LOW"),
            }
            for number, one in enumerate(shown.findings[:_ANNOTATIONS])
        ]
        if annotations:
            self._api.call("POST", f"{path}/annotations", needs=COMMITS, json=annotations)


def _link(comment: Any) -> str | None:
    href = (comment.get("links") or {}).get("html", {}).get("href")
    return str(href) if href else None
