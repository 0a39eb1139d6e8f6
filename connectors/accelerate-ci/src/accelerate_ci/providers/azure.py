# SPDX-License-Identifier: Apache-2.0
"""Azure Pipelines ("Use predefined variables", "Logging commands", Builds and Artifacts)."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote, urlencode

from accelerate_core.markers import hookimpl
from accelerate_core.texts import clean, cut

from .. import junit
from ..api import keep_from_zip
from ..filling import fill
from ..hookspecs.provider import Provider
from ..hosts.azure import VERSION, api_of
from ..values import File, Finding, Job, Line, Output, Plan, Shown, number_of
from . import ARTIFACT

_TEXT = 4000
_READ = 'Allow the build service of the project "View builds" for this pipeline.'
#: Who hosts a repository, by `BUILD_REPOSITORY_PROVIDER`.
_HOSTS = {"TfsGit": "azure", "GitHub": "github", "GitHubEnterprise": "github"}


class Azure(Provider):
    """A job of Azure Pipelines."""

    title = "Azure Pipelines"
    path = "azure-pipelines.yml"

    def detect(self, environ: Mapping[str, str]) -> Job | None:
        """Read the predefined variables; what is not replaced, `$(Name)`, is not set."""
        if environ.get("TF_BUILD", "").lower() != "true":
            return None
        known = {name: value for name, value in environ.items() if not value.startswith("$(")}
        project = quote(known.get("SYSTEM_TEAMPROJECT", ""), safe="")
        source = known.get("SYSTEM_PULLREQUEST_SOURCEBRANCH") or known.get("BUILD_SOURCEBRANCH", "")
        collection = known.get("SYSTEM_COLLECTIONURI", "").rstrip("/")
        build = known.get("BUILD_BUILDID")
        host = _HOSTS.get(known.get("BUILD_REPOSITORY_PROVIDER", "TfsGit"))
        is_ours = host == "azure"
        number = "ID" if is_ours else "NUMBER"
        return Job(
            provider="azure",
            commit=known.get("SYSTEM_PULLREQUEST_SOURCECOMMITID")
            or known.get("BUILD_SOURCEVERSION"),
            branch=None if source.startswith(("refs/pull/", "refs/tags/")) else _short(source),
            target=_short(known.get("SYSTEM_PULLREQUEST_TARGETBRANCH", "")),
            pull_request=number_of(known.get(f"SYSTEM_PULLREQUEST_PULLREQUEST{number}")),
            job=known.get("SYSTEM_JOBNAME") or known.get("AGENT_JOBNAME"),
            job_url=f"{collection}/{project}/_build/results?buildId={build}"
            if collection and build
            else None,
            build=known.get("BUILD_BUILDNUMBER"),
            repository=known.get("BUILD_REPOSITORY_ID" if is_ours else "BUILD_REPOSITORY_NAME"),
            host=host,
            is_fork=known.get("SYSTEM_PULLREQUEST_ISFORK", "").lower() == "true",
        )

    def annotate(self, findings: Iterable[Finding], environ: Mapping[str, str]) -> list[Output]:
        """Return a logging command for each; there are errors and warnings, and nothing less."""
        return [
            Line(
                f"##vso[task.logissue type={'error' if one.level == 'error' else 'warning'}]"
                + _message(cut(clean(f"{one.title}: {one.text}".removesuffix(": ")), _TEXT))
            )
            for one in findings
            if one.level != "notice"
        ]

    def summarize(self, text: str, key: str, environ: Mapping[str, str]) -> list[Output]:
        """Write a page, and the command that attaches it to the build's summary."""
        folder = Path(environ.get("AGENT_TEMPDIRECTORY") or ".").absolute()
        page = folder / f"accelerate-{hashlib.sha256(key.encode()).hexdigest()[:12]}.md"
        command = f"##vso[task.uploadsummary]{_message(str(page))}"
        return [File(path=page, text=text), Line(command)]

    def report(self, shown: Shown, environ: Mapping[str, str]) -> list[Output]:
        """Write the test report, which the task `PublishTestResults` reads."""
        return [junit.report(shown)]

    def baseline(
        self, job: Job, environ: Mapping[str, str], branch: str, name: str, output: Path
    ) -> bool:
        """Fetch what the branch's last good build of this pipeline kept."""
        with contextlib.closing(api_of(environ)) as api:
            query = {
                **VERSION,
                "definitions": environ.get("SYSTEM_DEFINITIONID", ""),
                "branchName": f"refs/heads/{branch}",
                "statusFilter": "completed",
                "resultFilter": "succeeded",
                "queryOrder": "finishTimeDescending",
                "$top": 20,
            }
            for build in api.data("GET", "/build/builds", needs=_READ, params=query)["value"]:
                artifacts = f"/build/builds/{build['id']}/artifacts"
                listed = api.data("GET", artifacts, needs=_READ, params=VERSION)["value"]
                if any(one.get("name") == ARTIFACT for one in listed):
                    query = {**VERSION, "artifactName": ARTIFACT, "$format": "zip"}
                    url = f"{artifacts}?{urlencode(query)}"
                    return keep_from_zip(api, url, name, output, needs=_READ)
        return False

    def upload(self, job: Job, environ: Mapping[str, str], files: Iterable[Path]) -> list[Output]:
        """Return the commands that make the agent keep files with the build."""
        return [
            Line(
                f"##vso[artifact.upload containerfolder={ARTIFACT};artifactname={ARTIFACT}]"
                + _message(str(path.absolute()))
            )
            for path in files
        ]

    def pipeline(self, plan: Plan) -> str:
        """Return the pipeline's file."""
        return fill("azure.yml", plan)


class AzurePlugin:
    """Make the CI system."""

    name = "azure"

    @hookimpl
    def ci_provider_create(self) -> Provider:
        """Return Azure Pipelines."""
        return Azure()


def _short(ref: str) -> str | None:
    return ref.removeprefix("refs/heads/") or None


def _message(text: str) -> str:
    return text.replace("%", "%AZP25").replace("\r", "%0D").replace("\n", "%0A")
