# SPDX-License-Identifier: Apache-2.0
"""Travis CI ("Environment Variables", "Caching Dependencies and Directories")."""

from __future__ import annotations

from collections.abc import Mapping

from accelerate_core.markers import hookimpl

from ..filling import fill
from ..hookspecs.provider import Provider
from ..values import Job, Plan, number_of


class Travis(Provider):
    """A job of Travis CI. It has no summary, reads no reports, and keeps nothing but its cache."""

    title = "Travis CI"
    path = ".travis.yml"

    def detect(self, environ: Mapping[str, str]) -> Job | None:
        """Read the default variables; of a pull request the branch is the one it wants into."""
        if environ.get("TRAVIS") != "true":
            return None
        number = environ.get("TRAVIS_PULL_REQUEST", "false")
        is_request = number not in ("false", "")
        branch = environ.get("TRAVIS_BRANCH") or None
        if environ.get("TRAVIS_TAG"):
            branch = None  # it is the tag's name then
        source = environ.get("TRAVIS_PULL_REQUEST_BRANCH") or None
        slug = environ.get("TRAVIS_REPO_SLUG") or None
        is_hosted = bool(slug and environ.get("GITHUB_TOKEN"))
        return Job(
            provider="travis",
            commit=environ.get("TRAVIS_PULL_REQUEST_SHA") or environ.get("TRAVIS_COMMIT") or None,
            branch=source if is_request else branch,
            target=branch if is_request else None,
            pull_request=number_of(number),
            job=environ.get("TRAVIS_JOB_NAME") or environ.get("TRAVIS_JOB_NUMBER") or None,
            job_url=environ.get("TRAVIS_JOB_WEB_URL") or None,
            build=environ.get("TRAVIS_BUILD_NUMBER") or None,
            repository=slug if is_hosted else None,
            host="github" if is_hosted else None,
            is_fork=is_request and environ.get("TRAVIS_PULL_REQUEST_SLUG") != slug,
        )

    def pipeline(self, plan: Plan) -> str:
        """Return the configuration."""
        return fill("travis.yml", plan, fetch=("--cached", "before.duckdb"))


class TravisPlugin:
    """Make the CI system."""

    name = "travis"

    @hookimpl
    def ci_provider_create(self) -> Provider:
        """Return Travis CI."""
        return Travis()
