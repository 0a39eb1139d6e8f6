# SPDX-License-Identifier: Apache-2.0
"""Jobs at the test servers: the environments that their systems would give."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from accelerate_ci.detecting import Here, here

from accelerate_core.host import Host

from .servers import azure, bitbucket, github, gitlab
from .servers.environments import CASES

HOST = Host()
HEADS = {
    "github": "6dcb09b5b57875f334f61aebed695e2e4193db5e",
    "gitlab": "18f3e63d05582537db6d183d9d557be09e1f90c8",
    "bitbucket": "e10dae226959c2194f2b07b077c07762d93821cf",
    "azure": "67cae2b029dff7eb3dc062b49403aaedca5bad8d",
}


def environment(name: str, url: str, folder: Path) -> dict[str, str]:
    """Return what a job has, of a pull request that is at the test server."""
    case = next(case for case in CASES if case.name == name)
    known = case.placed(folder)
    system, _, _ = name.partition("-")
    if system == "github":
        path = Path(known["GITHUB_EVENT_PATH"])
        event = json.loads(path.read_text())
        if "pull_request" in event:
            event["pull_request"]["head"]["sha"] = HEADS["github"]
        path.write_text(json.dumps(event))
        workflow = "octocat/hello-world/.github/workflows/bench.yml@refs/heads/main"
        known |= {
            "GITHUB_API_URL": url,
            "GITHUB_TOKEN": github.TOKEN,
            "GITHUB_WORKFLOW_REF": workflow,
            "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        }
    elif system == "gitlab":
        known |= {
            "CI_API_V4_URL": f"{url}/api/v4",
            "CI_COMMIT_SHA": HEADS["gitlab"],
            "GITLAB_TOKEN": gitlab.TOKEN,
            "CI_JOB_TOKEN": gitlab.JOB_TOKEN,
        }
    elif system == "bitbucket":
        known |= {
            "BITBUCKET_API_URL": f"{url}/2.0",
            "BITBUCKET_COMMIT": HEADS["bitbucket"],
            "BITBUCKET_ACCESS_TOKEN": bitbucket.TOKEN,
        }
    elif system == "azure":
        known |= {
            "SYSTEM_COLLECTIONURI": f"{url}/{azure.ORGANIZATION}/",
            "SYSTEM_PULLREQUEST_SOURCECOMMITID": HEADS["azure"],
            "SYSTEM_ACCESSTOKEN": azure.TOKEN,
            "AGENT_TEMPDIRECTORY": str(folder),
        }
    return known


def be_in(environ: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this environment, and nothing of the job in which the tests may run."""
    for name in {name for case in CASES for name in case.environment}:
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


def job(environ: Mapping[str, str]) -> Here:
    """Return the job that an environment is of."""
    found = here(HOST, environ)
    assert found is not None
    return found


def comments(service: Any) -> list[str]:
    """Return the texts of what is said in the pull request."""
    if isinstance(service, github.GitHub):
        return [one["body"] for one in service.comments]
    if isinstance(service, gitlab.GitLab):
        return [one["body"] for one in service.notes]
    if isinstance(service, bitbucket.Bitbucket):
        return [one["content"]["raw"] for one in service.comments]
    assert isinstance(service, azure.Azure)
    return [one["comments"][0]["content"] for one in service.threads[22]]


def add_comment(service: Any, text: str) -> None:
    """Say something in the pull request as somebody else."""
    names = ("add_comment", "add_note", "add_thread")
    (add,) = (getattr(service, name) for name in names if hasattr(service, name))
    add(text)


def states(service: Any) -> list[tuple[str, str]]:
    """Return name and state of what is said of the commit, or the pull request."""
    if isinstance(service, github.GitHub):
        return [(one["context"], one["state"]) for one in service.statuses]
    if isinstance(service, gitlab.GitLab):
        return [(one["name"], one["status"]) for one in service.statuses]
    if isinstance(service, bitbucket.Bitbucket):
        return [(one["name"], one["state"]) for one in service.statuses.values()]
    assert isinstance(service, azure.Azure)
    return [
        (f"{one['context']['genre']}/{one['context']['name']}", one["state"])
        for one in service.pull_statuses
    ]
