# SPDX-License-Identifier: Apache-2.0
"""The database of a branch's last good run, from where each system keeps it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import attrs
import pytest
from accelerate_ci import api
from accelerate_ci.choosing import choose
from accelerate_ci.detecting import Here
from accelerate_ci.providers import ARTIFACT

from accelerate_core.errors import ConnectorError, Unsupported
from accelerate_core.testing import samples

from .jobs import environment, job
from .servers import azure, bitbucket, circleci, github, gitlab, jenkins, teamcity
from .servers.environments import CASES

OLD, GOOD, OTHER = b"old database", b"good database" * 5000, b"of another branch"


def fetch(here: Here, folder: Path, branch: str = "main") -> bytes | None:
    output = folder / "baseline.duckdb"
    name = "results.duckdb"
    is_there = here.provider.baseline(here.job, here.environ, branch, name, output)
    assert output.exists() == is_there
    assert [one.name for one in folder.iterdir() if one.name.startswith("tmp")] == []
    return output.read_bytes() if is_there else None


def files(content: bytes) -> dict[str, bytes]:
    return {"report.html": b"<html>", "results.duckdb": content}


def test_github(tmp_path: Path) -> None:
    with github.GitHub() as service:
        here = job(environment("github-pull", service.url, tmp_path))
        assert fetch(here, tmp_path) is None
        service.add_artifact(service.add_run(), ARTIFACT, files(OLD))
        service.add_artifact(service.add_run(), ARTIFACT, files(GOOD))
        # Newer, and none of them counts.
        service.add_artifact(service.add_run("feature/x"), ARTIFACT, files(OTHER))
        service.add_artifact(service.add_run(conclusion="failure"), ARTIFACT, files(OTHER))
        fork = service.add_run(event="pull_request")
        service.add_artifact(fork, ARTIFACT, files(OTHER))
        service.add_artifact(service.add_run(), ARTIFACT, files(OTHER), expired=True)
        service.add_run()
        assert fetch(here, tmp_path) == GOOD
        # Who asks is told to nobody else.
        (download,) = service.storage.requests
        assert "authorization" not in download.headers
        service.lack("actions")
        with pytest.raises(ConnectorError) as caught:
            fetch(here, tmp_path)
        assert "actions: read" in str(caught.value.info.hint)


@pytest.mark.parametrize("to_store", [False, True])
def test_gitlab(tmp_path: Path, to_store: bool) -> None:
    with gitlab.GitLab(to_store=to_store) as service:
        here = job(environment("gitlab-pull", service.url, tmp_path))
        assert fetch(here, tmp_path) is None
        service.add_job(service.add_pipeline(), "bench", files(OLD))
        service.add_job(service.add_pipeline(), "bench", files(GOOD))
        service.add_job(service.add_pipeline("feature/x"), "bench", files(OTHER))
        service.add_job(service.add_pipeline(status="failed"), "bench", files(OTHER))
        assert fetch(here, tmp_path) == GOOD
        for one in service.storage.requests:
            assert not {"private-token", "job-token"} & set(one.headers)
        service.job_running = False
        with pytest.raises(ConnectorError, match="does not know who this is"):
            fetch(here, tmp_path)


def test_bitbucket(tmp_path: Path) -> None:
    with bitbucket.Bitbucket() as service:
        here = job(environment("bitbucket-pull", service.url, tmp_path))
        assert fetch(here, tmp_path) is None
        for branch, content in (("main", OLD), ("feature/x", OTHER), ("main", GOOD)):
            of_branch = attrs.evolve(here.job, branch=branch, pull_request=None)
            path = tmp_path / "results.duckdb"
            path.write_bytes(content)
            here.provider.upload(of_branch, here.environ, [path])
        assert fetch(here, tmp_path) == GOOD
        assert fetch(here, tmp_path, "feature/x") == OTHER
        service.lack("repository:write")
        with pytest.raises(ConnectorError) as caught:
            here.provider.upload(here.job, here.environ, [path])
        assert "repository:write" in str(caught.value.info.hint)


def test_azure(tmp_path: Path) -> None:
    with azure.Azure() as service:
        here = job(environment("azure-pull", service.url, tmp_path))
        assert fetch(here, tmp_path) is None
        service.add_artifact(service.add_build(), ARTIFACT, files(OLD))
        service.add_artifact(service.add_build(), ARTIFACT, files(GOOD))
        service.add_artifact(service.add_build("refs/heads/feature/x"), ARTIFACT, files(OTHER))
        service.add_artifact(service.add_build(result="failed"), ARTIFACT, files(OTHER))
        service.add_artifact(service.add_build(definition=13), ARTIFACT, files(OTHER))
        service.add_build()
        assert fetch(here, tmp_path) == GOOD
        service.lack("ViewBuilds")
        with pytest.raises(ConnectorError) as caught:
            fetch(here, tmp_path)
        assert "View builds" in str(caught.value.info.hint)
        wrong = attrs.evolve(here, environ={**here.environ, "SYSTEM_ACCESSTOKEN": "wrong"})
        with pytest.raises(ConnectorError, match="does not know who this is"):
            fetch(wrong, tmp_path)


def case(name: str, folder: Path, **more: str) -> Here:
    return job(next(one for one in CASES if one.name == name).placed(folder) | more)


def test_circleci(tmp_path: Path) -> None:
    with circleci.CircleCI() as service:
        url = f"{service.url}/api/v2"
        here = case("circleci-pull", tmp_path, CIRCLE_API_URL=url, CIRCLE_TOKEN=circleci.TOKEN)
        assert fetch(here, tmp_path) is None
        service.add_job(files(OLD))
        service.add_job(files(GOOD))
        service.add_job(files(OTHER), branch="feature/x")
        service.add_job(files(OTHER), status="failed")
        assert fetch(here, tmp_path) == GOOD


def test_jenkins(tmp_path: Path) -> None:
    with jenkins.Jenkins() as service:
        known = {"JENKINS_URL": f"{service.url}/", "JENKINS_USER": jenkins.USER}
        here = case("jenkins-pull", tmp_path, **known, JENKINS_TOKEN=jenkins.TOKEN)
        assert fetch(here, tmp_path) is None
        service.add_build(files(GOOD))
        service.add_build(files(OTHER), result="FAILURE")
        assert fetch(here, tmp_path) == GOOD
        without = case("jenkins-pull", tmp_path, **known)
        with pytest.raises(ConnectorError) as caught:
            fetch(without, tmp_path)
        assert "JENKINS_TOKEN" in str(caught.value.info.hint)


def test_teamcity(tmp_path: Path) -> None:
    with teamcity.TeamCity() as service:
        here = case("teamcity-pull", tmp_path, TEAMCITY_TOKEN=teamcity.TOKEN)
        path = Path(here.environ["TEAMCITY_BUILD_PROPERTIES_FILE"])
        url = service.url.replace(":", "\\:")
        said = f"teamcity.serverUrl={url}\nteamcity.buildType.id={teamcity.BUILD_TYPE}\n"
        path.write_text(path.read_text() + said)
        assert fetch(here, tmp_path) is None
        service.add_build(files(GOOD))
        service.add_build(files(OTHER), branch="feature/x")
        service.add_build(files(OTHER), status="FAILURE")
        assert fetch(here, tmp_path) == GOOD
        service.may_view = False
        with pytest.raises(ConnectorError) as caught:
            fetch(here, tmp_path)
        assert "Project viewer" in str(caught.value.info.hint)


def test_travis_keeps_nothing_and_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unsupported) as caught:
        fetch(case("travis-pull", tmp_path), tmp_path)
    assert "cache" in str(caught.value.info.hint)


@pytest.mark.parametrize("fault", ["cut", "reset", "503"])
def test_a_file_comes_whole_or_not_at_all(tmp_path: Path, fault: Any) -> None:
    with github.GitHub() as service:
        here = job(environment("github-pull", service.url, tmp_path))
        service.add_artifact(service.add_run(), ARTIFACT, files(GOOD))
        service.storage.fail_next(fault)
        with pytest.raises(ConnectorError) as caught:
            fetch(here, tmp_path)
        assert caught.value.info.retryable and not (tmp_path / "baseline.duckdb").exists()
        assert fetch(here, tmp_path) == GOOD


def test_what_would_fill_the_disk_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "_LARGEST", len(GOOD) - 1)
    with github.GitHub() as service:
        here = job(environment("github-pull", service.url, tmp_path))
        service.add_artifact(service.add_run(), ARTIFACT, files(GOOD))
        with pytest.raises(ConnectorError, match="is larger than") as caught:
            fetch(here, tmp_path)
    assert caught.value.info.retryable is False and not (tmp_path / "baseline.duckdb").exists()


def test_a_branch_with_a_slash_has_a_job_of_jenkins(tmp_path: Path) -> None:
    """The Branch API plugin calls it `feature%2Fx`, and that is encoded once more in its path."""
    with jenkins.Jenkins() as service:
        known = {"JENKINS_URL": f"{service.url}/", "JENKINS_USER": jenkins.USER}
        here = case("jenkins-pull", tmp_path, **known, JENKINS_TOKEN=jenkins.TOKEN)
        assert fetch(here, tmp_path, "feature/x") is None
        (asked,) = service.requests
    assert "/job/feature%252Fx/lastSuccessfulBuild/" in asked.path


class TestChoosing:
    machine: ClassVar[dict[str, Any]] = {
        "system": "Linux",
        "processor": "a processor",
        "cores": 4,
        "python": "3.12",
    }

    def run(self, number: int, **changes: Any) -> Any:
        made = samples.run_info(f"run-{number}", host=self.machine, ci={"branch": "main"})
        at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=number)
        return attrs.evolve(made, started_at=at, **changes)

    def test_the_newest_on_a_machine_like_this(self) -> None:
        runs = [
            self.run(7, host={**self.machine, "cores": 8}),
            self.run(6, ci={"branch": "feature/x"}),
            self.run(5, ci={"branch": "main", "pull_request": 7}),
            self.run(4, is_interrupted=True),
            self.run(3, finished_at=None),
            self.run(2, host={**self.machine, "python": "3.11"}),
            self.run(1),
        ]
        chosen = choose(runs, "main", self.machine)
        assert chosen is not None and chosen.id == "run-2"

    def test_runs_of_older_versions_count(self) -> None:
        chosen = choose([self.run(1, ci={})], "main", self.machine)
        assert chosen is not None and chosen.id == "run-1"

    def test_none_is_none(self) -> None:
        assert choose([], "main", self.machine) is None
