# SPDX-License-Identifier: Apache-2.0
"""The connector `ci` against the test servers, and what it writes as the systems read it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import attrs
import pytest
from accelerate_ci.commenting import show
from accelerate_ci.connector import CiConnector
from accelerate_ci.detecting import Here, here
from accelerate_ci.hosts import marker
from accelerate_ci.providers.teamcity import message
from accelerate_ci.rendering import fitted

from accelerate_core.assembly import make_store
from accelerate_core.config import parse
from accelerate_core.delivering.outbox import StoredOutbox
from accelerate_core.errors import ConnectorError, ErrorInfo
from accelerate_core.events import Event, Regression, RunFinished
from accelerate_core.host import Host
from accelerate_core.protocols import Connector
from accelerate_core.testing import samples
from accelerate_core.testing.connector import ConnectorContract, ServiceContract
from accelerate_core.testing.service import Service
from accelerate_core.types import CellStatus

from .jobs import add_comment, comments, environment, job, states
from .servers import azure, bitbucket, consoles, github, gitlab

SERVERS: dict[str, Any] = {
    "github": github.GitHub,
    "gitlab": gitlab.GitLab,
    "bitbucket": bitbucket.Bitbucket,
    "azure": azure.Azure,
}
EVENTS = {event.kind: event for event in samples.every_event()}
FINISHED: Any = EVENTS["run_finished"]
REGRESSION: Any = EVENTS["regression"]


def finished(text: str = "nothing was there", **changes: Any) -> RunFinished:
    """Return the news of a run with a cell that is well and one that failed."""
    (good, *_) = FINISHED.summary.measurements
    error = ErrorInfo(kind="ModelError", message=text)
    bad = attrs.evolve(good, id="bad", status=CellStatus.FAILED, error=error)
    run = attrs.evolve(FINISHED.summary.run, **changes)
    summary = attrs.evolve(FINISHED.summary, run=run, measurements=(good, bad))
    return attrs.evolve(FINISHED, summary=summary)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be in a folder of the job's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=list(SERVERS))
def system(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def service(system: str) -> Iterator[Any]:
    with SERVERS[system]() as made:
        yield made


@pytest.fixture
def connector(system: str, service: Any, folder: Path) -> Iterator[CiConnector]:
    made = CiConnector(job(environment(f"{system}-pull", service.url, folder)))
    yield made
    made.close()


class TestGitHubContract(ServiceContract):
    """The contract, in full at one host; what differs of the others is tested below.

    With ACCEL_LIVE_GITHUB it runs in a real job: in a workflow for a pull request.
    """

    @pytest.fixture
    def service(self) -> Iterator[Service]:
        with github.GitHub() as made:
            yield made

    @pytest.fixture
    def connector(self, service: Any, folder: Path) -> Connector:
        if os.environ.get("ACCEL_LIVE_GITHUB"):
            return CiConnector(here(Host(), os.environ))
        return CiConnector(job(environment("github-pull", service.url, folder)))

    @pytest.fixture
    def unreachable(self, folder: Path) -> Connector:
        return CiConnector(job(environment("github-pull", "http://127.0.0.1:9", folder)))

    def visible(self, service: Service, event: Event) -> int | None:
        # A regression is a line of the log, and stands in the comment of its run.
        if os.environ.get("ACCEL_LIVE_GITHUB") or not isinstance(event, RunFinished):
            return None
        return len(comments(service))


class TestOutsideOfCi(ConnectorContract):
    @pytest.fixture
    def connector(self) -> Connector:
        return CiConnector(None)

    @pytest.fixture
    def unreachable(self, folder: Path) -> Connector:
        return CiConnector(job(environment("azure-pull", "http://127.0.0.1:9", folder)))


def test_a_run_is_one_comment_and_a_status(connector: CiConnector, service: Any) -> None:
    connector.deliver(finished(name="nightly"))
    (said,) = comments(service)
    assert "1 ok, 1 failed" in said
    (state,) = states(service)
    assert state[0] == "accelerate/nightly" and state[1].lower().startswith("fail")


def test_the_comment_is_replaced_by_another_process(
    connector: CiConnector, system: str, service: Any, folder: Path
) -> None:
    connector.deliver(finished(name="nightly"))
    # Killed after the service had done all: the next process is told the same again.
    later = CiConnector(job(environment(f"{system}-pull", service.url, folder)))
    later.deliver(finished(name="nightly", project_commit="f" * 40))
    later.deliver(finished(name="other -->"))
    later.close()
    one, two = comments(service)
    assert "ffffffffffff" in one and "other" in two


@pytest.mark.parametrize("fault", ["lost", "reset", "503", "429"])
def test_lost_answers_double_nothing(connector: CiConnector, service: Any, fault: Any) -> None:
    for skipped in range(4):
        service.fail_next(*[None] * skipped, fault)  # type: ignore[list-item]
        for _ in range(3):
            try:
                connector.deliver(finished())
                break
            except ConnectorError as error:
                assert error.info.retryable, error
    assert len(comments(service)) == 1


def test_among_many_comments_ours_is_found(connector: CiConnector, service: Any) -> None:
    connector.deliver(finished())
    for number in range(230):
        add_comment(service, f"What of accelerate: {number}?")
    connector.deliver(finished())
    assert len(comments(service)) == 231


def test_a_marker_ends_no_comment_of_html() -> None:
    assert "-" not in marker("a--b -->") and marker("a") != marker("b")


def test_what_others_copied_is_left_to_them(connector: CiConnector, service: Any) -> None:
    """Older or newer than ours, and also where the token may edit what others said."""
    service.role = gitlab.MAINTAINER
    mark = marker("nightly")
    copy = f"<!-- {mark} -->\nLook what it says!\n\n[{mark}]: #"
    add_comment(service, copy)
    connector.deliver(finished(name="nightly"))
    add_comment(service, copy)
    connector.deliver(finished(name="nightly", project_commit="f" * 40))
    older, ours, newer = comments(service)
    assert older == newer == copy and "ffffffffffff" in ours


@pytest.mark.parametrize("text", samples.HOSTILE)
def test_any_text_arrives_and_calls_nobody(connector: CiConnector, service: Any, text: str) -> None:
    connector.deliver(finished(text, name=f"@octocat {text[:200]}"))
    (said,) = comments(service)
    assert not re.search(r"@\w", said.replace("@\N{WORD JOINER}", ""))
    body = re.sub(r"<!--.*?-->", "", said)
    assert "<" not in body, "markup came through"


def test_a_run_of_thousands_fits(connector: CiConnector, service: Any, folder: Path) -> None:
    event = finished("x" * 10_000)
    many = tuple(
        attrs.evolve(one, id=f"{one.id}-{number}")
        for number in range(600)
        for one in event.summary.measurements
    )
    event = attrs.evolve(event, summary=attrs.evolve(event.summary, measurements=many))
    connector.deliver(event)
    assert len(comments(service)) == 1


def test_what_is_too_long_is_cut_at_a_line() -> None:
    text = "a line\n" * 100
    assert fitted(text, len(text), None) == text
    cut = fitted(text, len(text) - 1, "https://a.example/b c")
    assert len(cut) < len(text) and cut.startswith("a line\na line\n")
    assert cut.endswith("a line\n\n… [the rest](https://a.example/b%20c)\n")


def test_regressions_stand_in_the_comment(connector: CiConnector, service: Any) -> None:
    bad = attrs.evolve(REGRESSION, run_id=FINISHED.run_id, label="latency of tiny", fails_run=True)
    connector.deliver(bad)
    connector.deliver(FINISHED)
    (said,) = comments(service)
    assert "latency of tiny became worse" in said
    assert states(service)[-1][1].lower().startswith("fail")


LACKS: dict[str, tuple[Any, str]] = {
    "github": (lambda it: it.lack("issues", "pull_requests"), "pull-requests: write"),
    "gitlab": (lambda it: it.lack("api"), "scope `api`"),
    "bitbucket": (lambda it: it.lack("pullrequest"), "`pullrequest`"),
    "azure": (lambda it: it.lack("PullRequestContribute"), "Contribute to pull requests"),
}


def test_the_missing_right_is_named(connector: CiConnector, system: str, service: Any) -> None:
    take, named = LACKS[system]
    take(service)
    (said, *_) = connector.check()
    assert named in said
    with pytest.raises(ConnectorError) as caught:
        connector.deliver(FINISHED)
    assert caught.value.info.retryable is False and named in str(caught.value.info.hint)


def test_the_missing_right_to_set_statuses_is_named(folder: Path) -> None:
    with github.GitHub() as service:
        service.lack("statuses")
        one = CiConnector(job(environment("github-pull", service.url, folder)))
        (said,) = one.check()
        assert "statuses: write" in said
        with pytest.raises(ConnectorError, match="may not be done"):
            one.deliver(FINISHED)
        assert len(comments(service)) == 1, "the comment does not depend on it"
        one.close()


TOKENS = {
    "github": "GITHUB_TOKEN",
    "gitlab": "GITLAB_TOKEN",
    "bitbucket": "BITBUCKET_ACCESS_TOKEN",
    "azure": "SYSTEM_ACCESSTOKEN",
}


@pytest.mark.parametrize("value", [None, "wrong-token-4711"])
def test_tokens_that_are_missing_or_wrong_are_named_and_not_told(
    system: str, service: Any, folder: Path, value: str | None
) -> None:
    known = environment(f"{system}-pull", service.url, folder)
    del known[TOKENS[system]]
    one = CiConnector(job(known | ({TOKENS[system]: value} if value else {})))
    (said, *_) = one.check()
    with pytest.raises(ConnectorError) as caught:
        one.deliver(FINISHED)
    one.close()
    info = caught.value.info
    assert info.retryable is False and info.hint
    for text in (said, str(caught.value), repr(info)):
        assert "wrong-token-4711" not in text
    if value is None:
        assert TOKENS[system] in said


def test_a_fork_without_rights_is_no_error(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with github.GitHub() as service:
        service.read_only()
        one = CiConnector(job(environment("github-fork", service.url, folder)))
        assert one.deliver(FINISHED) is None and list(one.check()) == []
        one.close()
        assert not service.comments
    assert "comes from a fork" in capsys.readouterr().out


def test_a_fork_waits_for_what_passes(folder: Path) -> None:
    with github.GitHub() as service:
        one = CiConnector(job(environment("github-fork", service.url, folder)))
        service.fail_next("503")
        with pytest.raises(ConnectorError) as caught:
            one.deliver(FINISHED)
        assert caught.value.info.retryable
        one.close()


def test_what_another_command_wrote_is_shown_and_replaced(folder: Path) -> None:
    file = folder / "comparison.md"
    with github.GitHub() as service:
        here = job(environment("github-pull", service.url, folder))
        for text in ("first", "second"):
            file.write_text(text)
            (said,) = show(here, file, "comparison")
            assert said.startswith("Shown in https://github.com/")
        assert comments(service) == [f"<!-- {marker('comparison')} -->\nsecond"]
        push = job(environment("github-push", service.url, folder))
        assert show(push, file, "comparison") == [
            "This job is of no pull request: there is no comment."
        ]
        fork = job(environment("github-fork", service.url, folder))
        service.fail_next("503")
        with pytest.raises(ConnectorError, match="answered 503"):
            show(fork, file, "comparison")
        service.read_only()
        (said,) = show(fork, file, "other")
        assert "jobs of forks have no rights" in said and len(comments(service)) == 1
        with pytest.raises(ConnectorError, match="answered 403"):
            show(here, file, "other")


def test_no_thread_of_azure_keeps_a_pull_request_open(folder: Path) -> None:
    """A policy may want all comments resolved; this one asks for nothing."""
    with azure.Azure() as service:
        one = CiConnector(job(environment("azure-pull", service.url, folder)))
        one.deliver(finished())
        one.close()
        assert [thread["status"] for thread in service.threads[22]] == ["closed"]


def test_rate_limits_of_github_are_kept(folder: Path) -> None:
    with github.GitHub() as service:
        one = CiConnector(job(environment("github-pull", service.url, folder)))
        for is_secondary in (False, True):
            service.limit_next(30, secondary=is_secondary)
            with pytest.raises(ConnectorError) as caught:
                one.deliver(FINISHED)
            assert caught.value.info.retryable and 25 < (caught.value.info.retry_after or 0) <= 32
        one.close()


def test_who_cannot_know_what_is_his_comes_back(folder: Path) -> None:
    with github.GitHub() as service:
        one = CiConnector(job(environment("github-pull", service.url, folder)))
        one.deliver(finished())
        service.is_graphql_limited = True
        with pytest.raises(ConnectorError, match="does not say who this is") as caught:
            one.deliver(finished())
        assert caught.value.info.retryable
        service.is_graphql_limited = False
        one.deliver(finished())
        assert len(comments(service)) == 1
        one.close()


class TestJob:
    """What stands in the job itself."""

    def shown(self, system: str, folder: Path, *events: Event, **more: str) -> Here:
        known = environment(f"{system}-push", "http://127.0.0.1:9", folder) | more
        made = job(known)
        # Only what is written counts here: nobody has the commit.
        one = CiConnector(attrs.evolve(made, job=attrs.evolve(made.job, host=None)))
        for event in events:
            one.deliver(event)
            one.deliver(event)
        one.close()
        return made

    @pytest.mark.parametrize("text", samples.HOSTILE)
    def test_github(self, folder: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
        self.shown("github", folder, attrs.evolve(REGRESSION, label=text), finished(text))
        commands = consoles.github_annotations(capsys.readouterr().out)
        assert [one.name for one in commands] == ["error", "warning"]
        assert "Severity: high" in commands[1].text, "it ended at its first line"
        assert all(one.properties["title"] and set(one.properties) == {"title"} for one in commands)
        summary = consoles.github_summary((folder / "summary.md").read_bytes())
        assert summary.count("### ") == 1

    def test_github_shows_what_is_told_again_by_another_process_once(self, folder: Path) -> None:
        for _ in range(2):
            self.shown("github", folder, finished())
        assert (folder / "summary.md").read_text().count("### ") == 1

    def test_github_keeps_its_limits(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        event = finished("y" * 10_000)
        many = event.summary.measurements * 200
        self.shown(
            "github",
            folder,
            attrs.evolve(event, summary=attrs.evolve(event.summary, measurements=many)),
        )
        assert len(consoles.github(capsys.readouterr().out)) == consoles.MOST_ANNOTATIONS
        assert consoles.github_summary((folder / "summary.md").read_bytes())

    @pytest.mark.parametrize("text", samples.HOSTILE)
    def test_azure(self, folder: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
        self.shown("azure", folder, attrs.evolve(REGRESSION, label=text), finished(text))
        commands = consoles.azure(capsys.readouterr().out)
        assert [one.name for one in commands] == [
            "task.logissue",
            "task.logissue",
            "task.uploadsummary",
        ]
        assert [one.properties.get("type") for one in commands] == ["warning", "error", None]
        assert "Severity: high" in commands[0].text, "it ended at its first line"
        assert Path(commands[-1].text).read_text().startswith("### ")

    @pytest.mark.parametrize("text", samples.HOSTILE)
    def test_teamcity(self, folder: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
        event = finished(text, name=text or None)
        self.shown("teamcity", folder, event)
        commands = consoles.teamcity(capsys.readouterr().out)
        names = [one.name for one in commands]
        assert names.count("testStarted") == names.count("testFinished") == 2
        assert names.count("testFailed") == 1 and names.count("buildStatisticValue") == 2
        assert names[1] == "testSuiteStarted" and names[-1] == "buildStatus"

    def test_teamcity_reads_every_character(self) -> None:
        text = "a|'[b] ä \N{SLIGHTLY SMILING FACE}\n%"
        (read,) = consoles.teamcity(message("message", text=text))
        assert read.properties == {"text": text}

    @pytest.mark.parametrize("text", samples.HOSTILE)
    @pytest.mark.parametrize("system", ["gitlab", "bitbucket", "azure", "jenkins", "circleci"])
    def test_reports_are_well_formed(self, folder: Path, system: str, text: str) -> None:
        self.shown(system, folder, finished(text, name=text or None))
        (path,) = (folder / "test-results").iterdir()
        (suite,) = ElementTree.parse(path).getroot()
        assert (suite.get("tests"), suite.get("errors"), suite.get("failures")) == ("2", "1", "0")
        assert [len(case) for case in suite] == [0, 1]

    def test_nothing_is_written_where_nothing_is_read(self, folder: Path) -> None:
        self.shown("travis", folder, finished())
        assert not (folder / "test-results").exists()


def test_what_an_earlier_process_stored_is_shown(folder: Path) -> None:
    """Killed between the news of a regression and that of its run."""
    config = parse({"store": {"use": "duckdb", "path": str(folder / "r.duckdb")}})
    store = make_store(config, Host())
    event: Regression = attrs.evolve(REGRESSION, run_id=FINISHED.run_id, label="latency of it")
    StoredOutbox(store).put(event, ["ci"], datetime.now(UTC))
    with github.GitHub() as service:
        one = CiConnector(job(environment("github-pull", service.url, folder)))
        one.attach(store)
        one.deliver(FINISHED)
        one.close()
        assert "latency of it" in comments(service)[0]
    store.close()
