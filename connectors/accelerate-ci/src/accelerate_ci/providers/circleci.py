# SPDX-License-Identifier: Apache-2.0
"""CircleCI ("Project values and variables", "Collect test data", API v2)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from accelerate_core.markers import hookimpl

from .. import junit
from ..api import Api, keep
from ..filling import fill
from ..hookspecs.provider import Provider
from ..hosts.tokens import token_of
from ..values import Job, Output, Plan, Shown, number_of

_TOKEN = "Make a personal API token and keep it as the project's variable CIRCLE_TOKEN."
_READ = "CIRCLE_TOKEN must be of a user who can see this project."
#: Pipelines of a branch that are looked through.
_PIPELINES = 20


class CircleCi(Provider):
    """A job of CircleCI."""

    title = "CircleCI"
    path = ".circleci/config.yml"

    def detect(self, environ: Mapping[str, str]) -> Job | None:
        """Read the built-in variables."""
        if environ.get("CIRCLECI") != "true":
            return None
        owner, name = environ.get("CIRCLE_PROJECT_USERNAME"), environ.get("CIRCLE_PROJECT_REPONAME")
        url = environ.get("CIRCLE_PULL_REQUEST", "")
        number = url.rpartition("/")[2] or environ.get("CIRCLE_PR_NUMBER")
        is_hosted = bool(owner and name and environ.get("GITHUB_TOKEN") and "github" in url)
        return Job(
            provider="circleci",
            commit=environ.get("CIRCLE_SHA1") or None,
            branch=environ.get("CIRCLE_BRANCH") or None,
            pull_request=number_of(number),
            job=environ.get("CIRCLE_JOB") or None,
            job_url=environ.get("CIRCLE_BUILD_URL") or None,
            build=environ.get("CIRCLE_BUILD_NUM") or None,
            repository=f"{owner}/{name}" if is_hosted else None,
            host="github" if is_hosted else None,
            is_fork=bool(environ.get("CIRCLE_PR_USERNAME")),
        )

    def report(self, shown: Shown, environ: Mapping[str, str]) -> list[Output]:
        """Write the test report, which the step `store_test_results` reads."""
        return [junit.report(shown)]

    def baseline(
        self, job: Job, environ: Mapping[str, str], branch: str, name: str, output: Path
    ) -> bool:
        """Fetch what the job of the same name kept in the branch's last good workflow."""
        token = token_of(environ, ("CIRCLE_TOKEN",), "CircleCI", _TOKEN)
        url = environ.get("CIRCLE_API_URL") or "https://circleci.com/api/v2"
        slug = _slug(environ)
        with contextlib.closing(Api("CircleCI", url, {"circle-token": token.reveal()})) as api:
            for number in _good_jobs(api, slug, branch, job.job or ""):
                for one in _items(api, f"/project/{slug}/{number}/artifacts"):
                    if Path(one["path"]).name == name:
                        # "Store build artifacts": files of a private project want the token.
                        return keep(api, one["url"], output, needs=_READ, is_trusted=True)
        return False

    def pipeline(self, plan: Plan) -> str:
        """Return the configuration."""
        return fill("circleci.yml", plan)


class CircleCiPlugin:
    """Make the CI system."""

    name = "circleci"

    @hookimpl
    def ci_provider_create(self) -> Provider:
        """Return CircleCI."""
        return CircleCi()


def _slug(environ: Mapping[str, str]) -> str:
    """Return the project as the API calls it: the job's address has it."""
    url = environ.get("CIRCLE_BUILD_URL", "")
    if match := re.search(r"/((?:gh|github|bb|bitbucket|circleci)/[^/]+/[^/]+)/", url):
        return match[1]
    host = "bb" if "bitbucket" in environ.get("CIRCLE_REPOSITORY_URL", "") else "gh"
    owner, name = environ.get("CIRCLE_PROJECT_USERNAME"), environ.get("CIRCLE_PROJECT_REPONAME")
    return f"{host}/{owner}/{name}"


def _good_jobs(api: Api, slug: str, branch: str, name: str) -> Iterator[int]:
    pipelines = _items(api, f"/project/{slug}/pipeline", branch=branch)
    for _, pipeline in zip(range(_PIPELINES), pipelines, strict=False):
        for workflow in _items(api, f"/pipeline/{pipeline['id']}/workflow"):
            if workflow["status"] == "success":
                for one in _items(api, f"/workflow/{workflow['id']}/job"):
                    if one["name"] == name and one.get("job_number") is not None:
                        yield one["job_number"]


def _items(api: Api, path: str, **params: Any) -> Iterator[Any]:
    """Yield the items of all pages, the newest first."""
    while True:
        page = api.data("GET", path, needs=_READ, params=params)
        yield from page["items"]
        if not page.get("next_page_token"):
            return
        params["page-token"] = page["next_page_token"]
