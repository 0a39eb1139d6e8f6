# SPDX-License-Identifier: Apache-2.0
"""Bitbucket Pipelines ("Variables and secrets", "Test reporting", "Code insights", Downloads)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

from accelerate_core.markers import hookimpl

from .. import junit
from ..api import keep
from ..filling import fill
from ..hookspecs.provider import Provider
from ..hosts.bitbucket import COMMITS, FILES, api_of
from ..values import Job, Output, Plan, Shown, number_of


class Bitbucket(Provider):
    """A step of Bitbucket Pipelines."""

    title = "Bitbucket Pipelines"
    path = "bitbucket-pipelines.yml"

    def detect(self, environ: Mapping[str, str]) -> Job | None:
        """Read the default variables; a step's name is not among them."""
        build = environ.get("BITBUCKET_BUILD_NUMBER")
        if not build:
            return None
        repository = environ.get("BITBUCKET_REPO_FULL_NAME") or None
        url = f"https://bitbucket.org/{repository}/pipelines/results/{build}"
        return Job(
            provider="bitbucket",
            commit=environ.get("BITBUCKET_COMMIT") or None,
            branch=environ.get("BITBUCKET_BRANCH") or None,
            target=environ.get("BITBUCKET_PR_DESTINATION_BRANCH") or None,
            pull_request=number_of(environ.get("BITBUCKET_PR_ID")),
            job_url=url if repository else None,
            build=build,
            repository=repository,
            host="bitbucket",
        )

    def report(self, shown: Shown, environ: Mapping[str, str]) -> list[Output]:
        """Write the test report where Bitbucket looks for it."""
        return [junit.report(shown)]

    def baseline(
        self, job: Job, environ: Mapping[str, str], branch: str, name: str, output: Path
    ) -> bool:
        """Fetch what `upload` kept for the branch under the repository's downloads."""
        wanted = _kept(branch, name)
        folder = f"/repositories/{job.repository}/downloads"
        with contextlib.closing(api_of(environ)) as api:
            return keep(api, f"{folder}/{quote(wanted)}", output, needs=COMMITS)

    def upload(self, job: Job, environ: Mapping[str, str], files: Iterable[Path]) -> list[Output]:
        """Put files under the repository's downloads, named after the branch; replace older."""
        folder = f"/repositories/{job.repository}/downloads"
        with contextlib.closing(api_of(environ)) as api:
            for path in files:
                name = _kept(job.branch or "", path.name)
                with path.open("rb") as file:
                    api.call("POST", folder, needs=FILES, files={"files": (name, file)})
        return []

    def pipeline(self, plan: Plan) -> str:
        """Return the pipelines' file."""
        return fill("bitbucket.yml", plan)


class BitbucketPlugin:
    """Make the CI system."""

    name = "bitbucket"

    @hookimpl
    def ci_provider_create(self) -> Provider:
        """Return Bitbucket Pipelines."""
        return Bitbucket()


def _kept(branch: str, name: str) -> str:
    return f"{quote(branch, safe='').replace('%', '_')}-{name}"
