# SPDX-License-Identifier: Apache-2.0
"""GitHub Actions ("Variables reference", "Workflow commands", "Workflow artifacts")."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from accelerate_core.markers import hookimpl
from accelerate_core.texts import clean, cut

from ..api import Api, keep_from_zip
from ..filling import fill
from ..hookspecs.provider import Provider
from ..hosts.github import NAMES, TOKEN, api_of
from ..hosts.tokens import token_of
from ..rendering import fitted
from ..values import File, Finding, Job, Line, Output, Plan, number_of
from . import ARTIFACT

#: Annotations of each level that a step shows; and characters of one, below the 64 KiB of a line.
_MOST, _TEXT, _TITLE = 10, 4000, 250
#: Bytes of a step's summary are 1 MiB; a character has at most four.
_SUMMARY = (1 << 20) // 4
_READ = "Give the job `permissions: actions: read`."
_RUNS = 20


class GitHub(Provider):
    """A job of GitHub Actions."""

    title = "GitHub Actions"
    path = ".github/workflows/benchmarks.yml"

    def detect(self, environ: Mapping[str, str]) -> Job | None:
        """Read the variables, and the event's file: the head of a pull request is only there."""
        if environ.get("GITHUB_ACTIONS") != "true":
            return None
        request = _event(environ).get("pull_request") or {}
        head = request.get("head") or {}
        repository = environ.get("GITHUB_REPOSITORY") or None
        ref = environ.get("GITHUB_REF", "")
        number = request.get("number") or (
            ref.split("/")[2] if ref.startswith("refs/pull/") else None
        )
        server = environ.get("GITHUB_SERVER_URL") or "https://github.com"
        run = environ.get("GITHUB_RUN_ID")
        is_branch = environ.get("GITHUB_REF_TYPE", "branch") == "branch" and not number
        return Job(
            provider="github",
            commit=head.get("sha") or environ.get("GITHUB_SHA") or None,
            branch=environ.get("GITHUB_HEAD_REF")
            or (environ.get("GITHUB_REF_NAME") if is_branch else None)
            or None,
            target=environ.get("GITHUB_BASE_REF") or None,
            pull_request=number_of(str(number)),
            job=environ.get("GITHUB_JOB") or None,
            job_url=f"{server}/{repository}/actions/runs/{run}" if run else None,
            build=environ.get("GITHUB_RUN_NUMBER") or None,
            repository=repository,
            host="github",
            is_fork=bool(head) and (head.get("repo") or {}).get("full_name") != repository,
        )

    def annotate(self, findings: Iterable[Finding], environ: Mapping[str, str]) -> list[Output]:
        """Return a workflow command for each; what is more than a step shows stands in the log."""
        return [
            Line(
                f"::{one.level} title={_property(cut(clean(one.title), _TITLE))}::"
                + _message(cut(clean(one.text or one.title), _TEXT))
            )
            for one in _first(findings)
        ]

    def summarize(self, text: str, key: str, environ: Mapping[str, str]) -> list[Output]:
        """Append to the step's summary."""
        summary = environ.get("GITHUB_STEP_SUMMARY")
        if not summary:
            return []
        kept = fitted(text, _SUMMARY, None)
        return [File(path=Path(summary), text=kept, is_appended=True, key=key)]

    def baseline(
        self, job: Job, environ: Mapping[str, str], branch: str, name: str, output: Path
    ) -> bool:
        """Look through the artifacts of this workflow's last good runs of the branch."""
        api = api_of(environ, token_of(environ, NAMES, "GitHub", TOKEN))
        with contextlib.closing(api):
            for run in _good_runs(api, job, environ, branch):
                path = f"/repos/{job.repository}/actions/runs/{run}/artifacts"
                listed = api.data("GET", path, needs=_READ, params={"name": ARTIFACT})
                for one in listed["artifacts"]:
                    if not one.get("expired"):
                        archive = f"/repos/{job.repository}/actions/artifacts/{one['id']}/zip"
                        if keep_from_zip(api, archive, name, output, needs=_READ):
                            return True
        return False

    def pipeline(self, plan: Plan) -> str:
        """Return the workflow."""
        return fill("github.yml", plan)


class GitHubPlugin:
    """Make the CI system."""

    name = "github"

    @hookimpl
    def ci_provider_create(self) -> Provider:
        """Return GitHub Actions."""
        return GitHub()


def _event(environ: Mapping[str, str]) -> dict[str, Any]:
    try:
        event = json.loads(Path(environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
    except (KeyError, OSError, ValueError):
        return {}
    return event if isinstance(event, dict) else {}


def _good_runs(api: Api, job: Job, environ: Mapping[str, str], branch: str) -> list[int]:
    """Return runs that succeeded, the newest first; none of a fork's branch of the same name."""
    workflow = environ.get("GITHUB_WORKFLOW_REF", "").partition("@")[0].rpartition("/")[2]
    of = f"/workflows/{workflow}" if workflow else ""
    answer = api.call(
        "GET",
        f"/repos/{job.repository}/actions{of}/runs",
        needs=_READ,
        expected=(404,),  # the workflow is new: the default branch has none of this name
        params={"branch": branch, "status": "success", "per_page": _RUNS},
    )
    return [
        one["id"]
        for one in api.read(answer).get("workflow_runs", ())
        if one.get("event") not in ("pull_request", "pull_request_target")
    ]


def _first(findings: Iterable[Finding]) -> list[Finding]:
    counts: dict[str, int] = {}
    kept = []
    for one in findings:
        counts[one.level] = counts.get(one.level, 0) + 1
        if counts[one.level] <= _MOST:
            kept.append(one)
    return kept


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
