# SPDX-License-Identifier: Apache-2.0
"""Jenkins ("Using environment variables", Branch API plugin, "Remote access API")."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from accelerate_core.markers import hookimpl

from .. import junit
from ..api import Api, keep
from ..filling import fill
from ..hookspecs.provider import Provider
from ..values import Job, Output, Plan, Shown, number_of
from . import github_name

_READ = "Set JENKINS_USER and JENKINS_TOKEN to a user with the right Job/Read, and an API token."


class Jenkins(Provider):
    """A build of Jenkins."""

    title = "Jenkins"
    path = "Jenkinsfile"

    def detect(self, environ: Mapping[str, str]) -> Job | None:
        """Read the variables of builds, of the Git plugin and of multibranch projects."""
        if not environ.get("JENKINS_URL") or not environ.get("BUILD_NUMBER"):
            return None
        branch = environ.get("CHANGE_BRANCH") or environ.get("BRANCH_NAME")
        if branch is None:  # no multibranch project
            branch = environ.get("GIT_BRANCH", "").removeprefix("origin/")
        url = environ.get("CHANGE_URL") or environ.get("GIT_URL") or ""
        repository = github_name(url, environ)
        return Job(
            provider="jenkins",
            commit=environ.get("GIT_COMMIT") or None,
            branch=None if environ.get("TAG_NAME") else branch or None,
            target=environ.get("CHANGE_TARGET") or None,
            pull_request=number_of(environ.get("CHANGE_ID")),
            job=environ.get("JOB_NAME") or None,
            job_url=environ.get("BUILD_URL") or None,
            build=environ.get("BUILD_NUMBER") or None,
            repository=repository,
            host="github" if repository else None,
            is_fork=bool(environ.get("CHANGE_FORK")),
        )

    def report(self, shown: Shown, environ: Mapping[str, str]) -> list[Output]:
        """Write the test report, which the step `junit` of the Jenkinsfile reads."""
        return [junit.report(shown)]

    def baseline(
        self, job: Job, environ: Mapping[str, str], branch: str, name: str, output: Path
    ) -> bool:
        """Fetch what the last good build of the branch's own job archived."""
        user, token = environ.get("JENKINS_USER"), environ.get("JENKINS_TOKEN")
        headers = {}
        if user and token:
            from base64 import b64encode

            from accelerate_core.secrets import Secret

            pair = f"{user}:{Secret(token).reveal()}"
            headers["authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        path = f"{_folder(environ, branch)}/lastSuccessfulBuild/artifact/{quote(name)}"
        with contextlib.closing(Api("Jenkins", environ["JENKINS_URL"], headers)) as api:
            return keep(api, path, output, needs=_READ)

    def pipeline(self, plan: Plan) -> str:
        """Return a declarative pipeline."""
        return fill("Jenkinsfile", plan, _in_groovy)


class JenkinsPlugin:
    """Make the CI system."""

    name = "jenkins"

    @hookimpl
    def ci_provider_create(self) -> Provider:
        """Return Jenkins."""
        return Jenkins()


def _in_groovy(line: str) -> str:
    return line.replace("\\", "\\\\").replace("'", "\\'")


def _folder(environ: Mapping[str, str], branch: str) -> str:
    """Return the job of a branch: in a multibranch project each has one, named after it."""
    parts = environ.get("JOB_NAME", "").split("/")
    if environ.get("BRANCH_NAME"):
        # The Branch API plugin writes a slash in a branch's name as %2F, and so does the job.
        parts[-1] = quote(branch, safe="")
    return "".join(f"/job/{quote(part, safe='')}" for part in parts)
