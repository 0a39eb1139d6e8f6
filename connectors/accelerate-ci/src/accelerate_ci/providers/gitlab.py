# SPDX-License-Identifier: Apache-2.0
"""GitLab CI/CD ("Predefined CI/CD variables", "Job artifacts API")."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from accelerate_core.markers import hookimpl

from .. import junit
from ..api import Api, keep_from_zip
from ..filling import fill
from ..hookspecs.provider import Provider
from ..hosts.gitlab import url_of
from ..hosts.tokens import token_of
from ..values import Job, Output, Plan, Shown, number_of

_READ = (
    "The job's token may read artifacts of its own project; let this project use it "
    "(Settings, CI/CD, Job token permissions)."
)


class GitLab(Provider):
    """A job of GitLab CI/CD."""

    title = "GitLab CI/CD"
    path = ".gitlab-ci.yml"

    def detect(self, environ: Mapping[str, str]) -> Job | None:
        """Read the predefined variables."""
        if environ.get("GITLAB_CI") != "true":
            return None
        request = number_of(environ.get("CI_MERGE_REQUEST_IID"))
        source = environ.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID")
        is_tag = bool(environ.get("CI_COMMIT_TAG"))
        return Job(
            provider="gitlab",
            # Of merged results the commit is one that GitLab made; the source's is then told.
            commit=environ.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA")
            or environ.get("CI_COMMIT_SHA")
            or None,
            branch=environ.get("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME")
            or (None if is_tag else environ.get("CI_COMMIT_REF_NAME"))
            or None,
            target=environ.get("CI_MERGE_REQUEST_TARGET_BRANCH_NAME") or None,
            pull_request=request,
            job=environ.get("CI_JOB_NAME") or None,
            job_url=environ.get("CI_JOB_URL") or None,
            build=environ.get("CI_PIPELINE_IID") or environ.get("CI_PIPELINE_ID") or None,
            repository=environ.get("CI_MERGE_REQUEST_PROJECT_ID")
            or environ.get("CI_PROJECT_ID")
            or None,
            host="gitlab",
            is_fork=bool(request) and source != environ.get("CI_MERGE_REQUEST_PROJECT_ID"),
        )

    def report(self, shown: Shown, environ: Mapping[str, str]) -> list[Output]:
        """Write the test report: GitLab shows it in the merge request and has no summary."""
        return [junit.report(shown)]

    def baseline(
        self, job: Job, environ: Mapping[str, str], branch: str, name: str, output: Path
    ) -> bool:
        """Fetch what the job of the same name kept in the branch's last good pipeline."""
        token = token_of(
            environ, ("CI_JOB_TOKEN",), "GitLab", "GitLab sets it in every job; do not unset it."
        )
        api = Api("GitLab", url_of(environ), {"job-token": token.reveal()})
        project = quote(environ.get("CI_PROJECT_ID") or job.repository or "", safe="")
        path = (
            f"/projects/{project}/jobs/artifacts/{quote(branch, safe='')}/download"
            f"?job={quote(job.job or '', safe='')}"
        )
        with contextlib.closing(api):
            return keep_from_zip(api, path, name, output, needs=_READ)

    def pipeline(self, plan: Plan) -> str:
        """Return the job's file."""
        return fill("gitlab.yml", plan)


class GitLabPlugin:
    """Make the CI system."""

    name = "gitlab"

    @hookimpl
    def ci_provider_create(self) -> Provider:
        """Return GitLab CI/CD."""
        return GitLab()
