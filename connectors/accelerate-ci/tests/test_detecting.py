# SPDX-License-Identifier: Apache-2.0
"""Which CI job this is, by the environments that jobs have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from accelerate_ci.detecting import here, provider
from accelerate_ci.plugin import CiMetadataPlugin

from accelerate_core.cli import main
from accelerate_core.host import Host

from .jobs import be_in
from .servers.environments import CASES, Case

FORKS = [case for case in CASES if case.name.endswith("-fork")]
NO_FORKS = [case for case in CASES if case.name.endswith("-pull")]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    folder = tmp_path_factory.mktemp("host")
    return Host(cache_dir=folder / "cache", state_dir=folder / "state")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_job_is_understood(case: Case, host: Host, tmp_path: Path) -> None:
    found = here(host, case.placed(tmp_path))
    assert found is not None
    wanted = {name: value for name, value in case.expected.items() if value is not None}
    assert found.job.metadata() == wanted


@pytest.mark.parametrize("case", [*FORKS, *NO_FORKS], ids=lambda case: case.name)
def test_forks_are_known(case: Case, host: Host, tmp_path: Path) -> None:
    found = here(host, case.placed(tmp_path))
    assert found is not None
    # A pull request's source is in no parameter of TeamCity.
    is_fork = case in FORKS and case.expected["provider"] != "teamcity"
    assert found.job.is_fork == is_fork


def test_elsewhere_there_is_no_job(host: Host) -> None:
    assert here(host, {}) is None
    assert here(host, {"CI": "true", "HOME": "/root", "JENKINS_URL": ""}) is None


@pytest.mark.parametrize("text", ["", "[]", "no JSON", '{"pull_request": null}'])
def test_an_event_that_says_nothing_is_no_error(host: Host, tmp_path: Path, text: str) -> None:
    (tmp_path / "event.json").write_text(text)
    path = str(tmp_path / "event.json")
    job = provider(host, "github").detect(
        {"GITHUB_ACTIONS": "true", "GITHUB_EVENT_PATH": path, "GITHUB_REF": "refs/pull/7/merge"}
    )
    assert job is not None and (job.pull_request, job.commit) == (7, None)


def test_runs_keep_what_the_job_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == "gitlab-pull")
    be_in(case.placed(tmp_path), monkeypatch)
    assert CiMetadataPlugin().run_metadata()["pull_request"] == 11


def test_the_command_says_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    be_in({}, monkeypatch)
    assert main(["ci", "detect"]) == 1 and "no job" in capsys.readouterr().out
    assert main(["ci", "detect", "--json"]) == 1 and json.loads(capsys.readouterr().out) is None
    case = next(case for case in CASES if case.name == "azure-pull")
    be_in(case.placed(tmp_path), monkeypatch)
    assert main(["ci", "detect", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["provider"], found["branch"]) == ("azure", "feature/fast")
    assert main(["ci", "detect"]) == 0
    assert capsys.readouterr().out.startswith("Azure Pipelines\n")
