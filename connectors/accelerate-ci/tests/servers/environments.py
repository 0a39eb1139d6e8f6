# SPDX-License-Identifier: Apache-2.0
"""The environments that jobs of the CI systems have, and what they mean.

Names and meanings come from the vendors' lists of variables, named with each provider; values are
such as these systems give.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

HEAD = "6dcb09b5b57875f334f61aebed695e2e4193db5e"
MERGED = "e5bd3914e2e596debea16f433f57875b5b90bcd6"
BASE = "f95f852bd8fca8fcc58a9a2d6c842781e32a215e"


@attrs.frozen(kw_only=True)
class Case:
    """Hold the variables of one job and what they are to be understood as.

    `expected` has `provider`, `commit` (of the source, never a trial merge), `branch` (of the
    source; None for a tag), `pull_request` (None when there is none), `job`, `job_url` and
    `build` (None where the system says none).
    """

    name: str
    environment: Mapping[str, str]
    expected: Mapping[str, Any]
    #: Names of variables that hold a path, and the text of the file; `{folder}` is where it lies.
    files: Mapping[str, str] = attrs.field(factory=dict)

    def placed(self, folder: Path) -> dict[str, str]:
        """Write the files into a folder and return the environment that names them."""
        environment = dict(self.environment)
        for name, text in self.files.items():
            path = folder / name.lower()
            path.write_text(text.replace("{folder}", str(folder)), "utf-8")
            environment[name] = str(path)
        return environment


def _case(
    provider: str,
    what: str,
    environment: Mapping[str, str],
    files: Mapping[str, str] | None = None,
    **expected: Any,
) -> Case:
    known = {"provider": provider, "commit": HEAD, "branch": None, "pull_request": None} | expected
    return Case(
        name=f"{provider}-{what}", environment=environment, expected=known, files=files or {}
    )


def _github() -> list[Case]:
    """List GitHub Actions: "Variables reference", "Events that trigger workflows"."""
    common = {
        "CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_ACTOR": "octocat",
        "GITHUB_API_URL": "https://api.github.com", "GITHUB_JOB": "bench",
        "GITHUB_REPOSITORY": "octocat/hello-world", "GITHUB_REPOSITORY_ID": "1296269",
        "GITHUB_REPOSITORY_OWNER": "octocat", "GITHUB_RUN_ATTEMPT": "1",
        "GITHUB_RUN_ID": "1658821493", "GITHUB_RUN_NUMBER": "562",
        "GITHUB_SERVER_URL": "https://github.com", "GITHUB_WORKFLOW": "Benchmarks",
        "GITHUB_WORKSPACE": "/home/runner/work/hello-world/hello-world",
        "GITHUB_BASE_REF": "", "GITHUB_HEAD_REF": "", "GITHUB_RETENTION_DAYS": "90",
        "RUNNER_ENVIRONMENT": "github-hosted", "RUNNER_NAME": "GitHub Actions 2",
        "RUNNER_OS": "Linux", "RUNNER_ARCH": "X64", "RUNNER_TEMP": "/home/runner/work/_temp",
    }  # fmt: skip
    meant = {
        "job": "bench", "build": "562",
        "job_url": "https://github.com/octocat/hello-world/actions/runs/1658821493",
    }  # fmt: skip

    def event(data: dict[str, Any]) -> dict[str, str]:
        repository = {"id": 1296269, "full_name": "octocat/hello-world", "private": True}
        return {"GITHUB_EVENT_PATH": json.dumps(data | {"repository": repository})}

    def pull(repository: str) -> dict[str, str]:
        head = {"ref": "feature/fast", "sha": HEAD, "repo": {"full_name": repository}}
        base = {"ref": "main", "sha": BASE, "repo": {"full_name": "octocat/hello-world"}}
        request = {"number": 1347, "head": head, "base": base, "state": "open"}
        return event({"action": "synchronize", "number": 1347, "pull_request": request})

    requested = {
        "GITHUB_EVENT_NAME": "pull_request", "GITHUB_SHA": MERGED,
        "GITHUB_REF": "refs/pull/1347/merge", "GITHUB_REF_NAME": "1347/merge",
        "GITHUB_REF_TYPE": "branch", "GITHUB_HEAD_REF": "feature/fast", "GITHUB_BASE_REF": "main",
    }  # fmt: skip
    targeted = requested | {
        "GITHUB_EVENT_NAME": "pull_request_target", "GITHUB_SHA": BASE,
        "GITHUB_REF": "refs/heads/main", "GITHUB_REF_NAME": "main",
    }  # fmt: skip
    pushed = {
        "GITHUB_EVENT_NAME": "push", "GITHUB_SHA": HEAD, "GITHUB_REF": "refs/heads/feature/fast",
        "GITHUB_REF_NAME": "feature/fast", "GITHUB_REF_TYPE": "branch",
    }  # fmt: skip
    tagged = pushed | {
        "GITHUB_REF": "refs/tags/v1.2.0", "GITHUB_REF_NAME": "v1.2.0", "GITHUB_REF_TYPE": "tag",
    }  # fmt: skip
    push = event({"ref": "refs/heads/feature/fast", "before": BASE, "after": HEAD})
    tag = event({"ref": "refs/tags/v1.2.0", "before": "0" * 40, "after": HEAD})
    of_pull = {"branch": "feature/fast", "pull_request": 1347} | meant
    return [
        _case("github", "push", common | pushed, push, branch="feature/fast", **meant),
        _case("github", "pull", common | requested, pull("octocat/hello-world"), **of_pull),
        _case("github", "tag", common | tagged, tag, **meant),
        _case("github", "fork", common | requested, pull("monalisa/hello-world"), **of_pull),
        _case("github", "target", common | targeted, pull("monalisa/hello-world"), **of_pull),
    ]


def _gitlab() -> list[Case]:
    """List GitLab CI: "Predefined CI/CD variables reference"."""
    where = "https://gitlab.example.com/diaspora/diaspora-client"
    common = {
        "CI": "true", "GITLAB_CI": "true", "CI_SERVER": "yes",
        "CI_SERVER_URL": "https://gitlab.example.com", "CI_SERVER_HOST": "gitlab.example.com",
        "CI_API_V4_URL": "https://gitlab.example.com/api/v4", "CI_PROJECT_ID": "5",
        "CI_PROJECT_PATH": "diaspora/diaspora-client", "CI_PROJECT_URL": where,
        "CI_DEFAULT_BRANCH": "main", "CI_COMMIT_SHA": HEAD, "CI_COMMIT_SHORT_SHA": HEAD[:8],
        "CI_JOB_ID": "1287", "CI_JOB_NAME": "bench", "CI_JOB_STAGE": "test",
        "CI_JOB_URL": f"{where}/-/jobs/1287", "CI_JOB_TOKEN": "glcbt-64_aB3dEfGh1JkLmNoPqRsT",
        "CI_PIPELINE_ID": "4711", "CI_PIPELINE_IID": "12", "CI_PROJECT_DIR": "/builds/diaspora",
        "CI_PIPELINE_URL": f"{where}/-/pipelines/4711",
    }  # fmt: skip
    meant = {"job": "bench", "job_url": f"{where}/-/jobs/1287", "build": "12"}
    pushed = {
        "CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "feature/fast",
        "CI_COMMIT_REF_NAME": "feature/fast", "CI_COMMIT_REF_SLUG": "feature-fast",
        "CI_COMMIT_BEFORE_SHA": BASE,
    }  # fmt: skip
    tagged = {
        "CI_PIPELINE_SOURCE": "push", "CI_COMMIT_TAG": "v1.2.0", "CI_COMMIT_REF_NAME": "v1.2.0",
        "CI_COMMIT_REF_SLUG": "v1-2-0",
    }  # fmt: skip
    requested = {
        "CI_PIPELINE_SOURCE": "merge_request_event", "CI_COMMIT_REF_NAME": "feature/fast",
        "CI_MERGE_REQUEST_ID": "377", "CI_MERGE_REQUEST_IID": "11",
        "CI_MERGE_REQUEST_EVENT_TYPE": "detached", "CI_MERGE_REQUEST_PROJECT_ID": "5",
        "CI_MERGE_REQUEST_PROJECT_PATH": "diaspora/diaspora-client",
        "CI_MERGE_REQUEST_REF_PATH": "refs/merge-requests/11/head",
        "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "feature/fast",
        "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "5",
        "CI_MERGE_REQUEST_SOURCE_PROJECT_PATH": "diaspora/diaspora-client",
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main", "CI_MERGE_REQUEST_DIFF_BASE_SHA": BASE,
        "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": "", "CI_MERGE_REQUEST_TARGET_BRANCH_SHA": "",
    }  # fmt: skip
    merged = requested | {
        "CI_MERGE_REQUEST_EVENT_TYPE": "merged_result", "CI_COMMIT_SHA": MERGED,
        "CI_COMMIT_SHORT_SHA": MERGED[:8], "CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": HEAD,
        "CI_MERGE_REQUEST_TARGET_BRANCH_SHA": BASE,
        "CI_MERGE_REQUEST_REF_PATH": "refs/merge-requests/11/merge",
    }  # fmt: skip
    # Pipelines of a fork run in the fork; the merge request is in the other project.
    forked = requested | {
        "CI_PROJECT_ID": "99", "CI_PROJECT_PATH": "pipin/diaspora-client",
        "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "99",
        "CI_MERGE_REQUEST_SOURCE_PROJECT_PATH": "pipin/diaspora-client",
    }  # fmt: skip
    of_pull = {"branch": "feature/fast", "pull_request": 11} | meant
    return [
        _case("gitlab", "push", common | pushed, branch="feature/fast", **meant),
        _case("gitlab", "pull", common | requested, **of_pull),
        _case("gitlab", "merged", common | merged, **of_pull),
        _case("gitlab", "tag", common | tagged, **meant),
        _case("gitlab", "fork", common | forked, **of_pull),
    ]


def _jenkins() -> list[Case]:
    """List Jenkins: "Using environment variables", "Branches and Pull Requests", Git plugin."""

    def job(name: str, **more: str) -> dict[str, str]:
        url = "https://jenkins.example.com/job/bench/job/" + name.replace("%", "%25") + "/"
        return {
            "JENKINS_URL": "https://jenkins.example.com/", "JENKINS_HOME": "/var/jenkins_home",
            "BUILD_NUMBER": "153", "BUILD_ID": "153", "BUILD_DISPLAY_NAME": "#153",
            "BUILD_TAG": f"jenkins-bench-{name}-153", "BUILD_URL": f"{url}153/",
            "JOB_NAME": f"bench/{name}", "JOB_BASE_NAME": name, "JOB_URL": url,
            "EXECUTOR_NUMBER": "0", "NODE_NAME": "built-in", "WORKSPACE": "/var/work",
            "GIT_COMMIT": HEAD, "GIT_URL": "https://github.com/octocat/hello-world.git",
        } | more  # fmt: skip

    def meant(environment: Mapping[str, str]) -> dict[str, str]:
        return {
            "job": environment["JOB_NAME"], "job_url": environment["BUILD_URL"], "build": "153",
        }  # fmt: skip

    push = job("feature%2Ffast", BRANCH_NAME="feature/fast", GIT_BRANCH="feature/fast")
    change = {
        "BRANCH_NAME": "PR-7", "GIT_BRANCH": "PR-7", "CHANGE_ID": "7", "CHANGE_TARGET": "main",
        "CHANGE_URL": "https://github.com/octocat/hello-world/pull/7",
        "CHANGE_BRANCH": "feature/fast", "CHANGE_TITLE": "Faster", "CHANGE_AUTHOR": "octocat",
    }  # fmt: skip
    pull, fork = job("PR-7", **change), job("PR-7", **change, CHANGE_FORK="monalisa")
    tag = job("v1.2.0", BRANCH_NAME="v1.2.0", TAG_NAME="v1.2.0", TAG_UNIXTIME="1711111111")
    # A job that is no multibranch project knows its branch by the Git plugin, with the remote.
    plain = job("x", GIT_BRANCH="origin/feature/fast", GIT_LOCAL_BRANCH="feature/fast")
    plain["JOB_NAME"] = plain["JOB_BASE_NAME"] = "nightly"
    plain["BUILD_URL"] = "https://jenkins.example.com/job/nightly/153/"
    of_pull = {"branch": "feature/fast", "pull_request": 7}
    return [
        _case("jenkins", "push", push, branch="feature/fast", **meant(push)),
        _case("jenkins", "pull", pull, **of_pull, **meant(pull)),
        _case("jenkins", "tag", tag, **meant(tag)),
        _case("jenkins", "fork", fork, **of_pull, **meant(fork)),
        _case("jenkins", "plain", plain, branch="feature/fast", **meant(plain)),
    ]


def _azure() -> list[Case]:
    """List Azure Pipelines: "Use predefined variables"."""
    common = {
        "TF_BUILD": "True", "AGENT_JOBNAME": "Benchmarks", "AGENT_NAME": "Azure Pipelines 3",
        "BUILD_BUILDID": "4711", "BUILD_BUILDNUMBER": "20260322.3",
        "BUILD_DEFINITIONNAME": "bench",
        "BUILD_REPOSITORY_ID": "3411ebc1-d5aa-464f-9615-0b527bc66719",
        "BUILD_REPOSITORY_NAME": "hello-world", "BUILD_REPOSITORY_PROVIDER": "TfsGit",
        "BUILD_SOURCEVERSION": HEAD, "SYSTEM_COLLECTIONURI": "https://dev.azure.com/fabrikam/",
        "SYSTEM_TEAMFOUNDATIONCOLLECTIONURI": "https://dev.azure.com/fabrikam/",
        "SYSTEM_TEAMPROJECT": "Fabrikam Fiber", "SYSTEM_DEFINITIONID": "12",
        "SYSTEM_TEAMPROJECTID": "a7573007-bbb3-4341-b726-0c4148a07853",
        "SYSTEM_JOBNAME": "bench", "SYSTEM_JOBDISPLAYNAME": "Benchmarks",
        "SYSTEM_JOBID": "12f1170f-54f2-53f3-20dd-22fc7dff55f9", "SYSTEM_STAGENAME": "test",
    }  # fmt: skip
    url = "https://dev.azure.com/fabrikam/Fabrikam%20Fiber/_build/results?buildId=4711"
    meant = {"job": "bench", "job_url": url, "build": "20260322.3"}
    pushed = {
        "BUILD_REASON": "IndividualCI", "BUILD_SOURCEBRANCH": "refs/heads/feature/fast",
        "BUILD_SOURCEBRANCHNAME": "fast",
    }  # fmt: skip
    tagged = {
        "BUILD_REASON": "IndividualCI", "BUILD_SOURCEBRANCH": "refs/tags/v1.2.0",
        "BUILD_SOURCEBRANCHNAME": "v1.2.0",
    }  # fmt: skip
    requested = {
        "BUILD_REASON": "PullRequest", "BUILD_SOURCEBRANCH": "refs/pull/22/merge",
        "BUILD_SOURCEBRANCHNAME": "merge", "BUILD_SOURCEVERSION": MERGED,
        "SYSTEM_PULLREQUEST_PULLREQUESTID": "22", "SYSTEM_PULLREQUEST_ISFORK": "False",
        "SYSTEM_PULLREQUEST_SOURCEBRANCH": "refs/heads/feature/fast",
        "SYSTEM_PULLREQUEST_SOURCECOMMITID": HEAD,
        "SYSTEM_PULLREQUEST_SOURCEREPOSITORYURI": "https://dev.azure.com/fabrikam/_git/hello-world",
        "SYSTEM_PULLREQUEST_TARGETBRANCH": "refs/heads/main",
        "SYSTEM_PULLREQUEST_TARGETBRANCHNAME": "main",
    }  # fmt: skip
    # Of a repository at GitHub the number is another variable; the id is GitHub's own.
    forked = requested | {
        "BUILD_REPOSITORY_PROVIDER": "GitHub", "BUILD_REPOSITORY_NAME": "octocat/hello-world",
        "BUILD_REPOSITORY_ID": "octocat/hello-world", "SYSTEM_PULLREQUEST_ISFORK": "True",
        "BUILD_SOURCEBRANCH": "refs/pull/1347/merge",
        "SYSTEM_PULLREQUEST_PULLREQUESTNUMBER": "1347",
        "SYSTEM_PULLREQUEST_PULLREQUESTID": "559139362",
        "SYSTEM_PULLREQUEST_SOURCEBRANCH": "feature/fast",
        "SYSTEM_PULLREQUEST_TARGETBRANCH": "main",
    }  # fmt: skip
    return [
        _case("azure", "push", common | pushed, branch="feature/fast", **meant),
        _case("azure", "pull", common | requested, branch="feature/fast", pull_request=22, **meant),
        _case("azure", "tag", common | tagged, **meant),
        _case("azure", "fork", common | forked, branch="feature/fast", pull_request=1347, **meant),
    ]


def _circleci() -> list[Case]:
    """List CircleCI: "Project values and variables"."""
    url = "https://circleci.com/gh/octocat/hello-world/4711"
    common = {
        "CI": "true", "CIRCLECI": "true", "CIRCLE_BUILD_NUM": "4711", "CIRCLE_BUILD_URL": url,
        "CIRCLE_JOB": "bench", "CIRCLE_NODE_INDEX": "0", "CIRCLE_NODE_TOTAL": "1",
        "CIRCLE_PROJECT_REPONAME": "hello-world", "CIRCLE_PROJECT_USERNAME": "octocat",
        "CIRCLE_REPOSITORY_URL": "git@github.com:octocat/hello-world.git", "CIRCLE_SHA1": HEAD,
        "CIRCLE_USERNAME": "octocat", "CIRCLE_WORKFLOW_ID": "fda08377-fe7e-46b1-8992-3a7aaecac9c3",
        "CIRCLE_WORKFLOW_JOB_ID": "26919ed8-2ed7-4d4e-9ae6-3ad8b5f3b1b7",
    }  # fmt: skip
    pull = {
        "CIRCLE_PULL_REQUEST": "https://github.com/octocat/hello-world/pull/1347",
        "CIRCLE_PULL_REQUESTS": "https://github.com/octocat/hello-world/pull/1347",
    }  # fmt: skip
    # Of a fork the branch is a reference to the pull request.
    fork = pull | {
        "CIRCLE_BRANCH": "pull/1347", "CIRCLE_PR_NUMBER": "1347",
        "CIRCLE_PR_REPONAME": "hello-world", "CIRCLE_PR_USERNAME": "monalisa",
    }  # fmt: skip
    meant = {"job": "bench", "job_url": url, "build": "4711"}
    push = common | {"CIRCLE_BRANCH": "feature/fast"}
    return [
        _case("circleci", "push", push, branch="feature/fast", **meant),
        _case("circleci", "pull", push | pull, branch="feature/fast", pull_request=1347, **meant),
        _case("circleci", "tag", common | {"CIRCLE_TAG": "v1.2.0"}, **meant),
        _case("circleci", "fork", common | fork, branch="pull/1347", pull_request=1347, **meant),
    ]


def _travis() -> list[Case]:
    """List Travis CI: "Environment Variables", Default Environment Variables."""
    url = "https://app.travis-ci.com/octocat/hello-world/jobs/24582"
    common = {
        "CI": "true", "TRAVIS": "true", "CONTINUOUS_INTEGRATION": "true",
        "TRAVIS_BUILD_ID": "24581", "TRAVIS_BUILD_NUMBER": "4", "TRAVIS_JOB_ID": "24582",
        "TRAVIS_BUILD_WEB_URL": "https://app.travis-ci.com/octocat/hello-world/builds/24581",
        "TRAVIS_JOB_NUMBER": "4.1", "TRAVIS_JOB_NAME": "bench", "TRAVIS_JOB_WEB_URL": url,
        "TRAVIS_REPO_SLUG": "octocat/hello-world", "TRAVIS_BUILD_DIR": "/home/travis/build",
        "TRAVIS_OS_NAME": "linux", "TRAVIS_SECURE_ENV_VARS": "true", "TRAVIS_COMMIT": HEAD,
        "TRAVIS_EVENT_TYPE": "push", "TRAVIS_BRANCH": "feature/fast", "TRAVIS_TAG": "",
        "TRAVIS_PULL_REQUEST": "false", "TRAVIS_PULL_REQUEST_BRANCH": "",
        "TRAVIS_PULL_REQUEST_SHA": "", "TRAVIS_PULL_REQUEST_SLUG": "",
    }  # fmt: skip
    pull = common | {
        "TRAVIS_EVENT_TYPE": "pull_request", "TRAVIS_BRANCH": "main", "TRAVIS_COMMIT": MERGED,
        "TRAVIS_PULL_REQUEST": "1347", "TRAVIS_PULL_REQUEST_BRANCH": "feature/fast",
        "TRAVIS_PULL_REQUEST_SHA": HEAD, "TRAVIS_PULL_REQUEST_SLUG": "octocat/hello-world",
    }  # fmt: skip
    fork = pull | {
        "TRAVIS_PULL_REQUEST_SLUG": "monalisa/hello-world", "TRAVIS_SECURE_ENV_VARS": "false",
    }  # fmt: skip
    tag = common | {"TRAVIS_BRANCH": "v1.2.0", "TRAVIS_TAG": "v1.2.0"}
    meant = {"job": "bench", "job_url": url, "build": "4"}
    of_pull = {"branch": "feature/fast", "pull_request": 1347} | meant
    return [
        _case("travis", "push", common, branch="feature/fast", **meant),
        _case("travis", "pull", pull, **of_pull),
        _case("travis", "tag", tag, **meant),
        _case("travis", "fork", fork, **of_pull),
    ]


def _bitbucket() -> list[Case]:
    """List Bitbucket Pipelines: "Variables and secrets", Default variables. Steps have no name."""
    common = {
        "CI": "true", "BITBUCKET_BUILD_NUMBER": "31", "BITBUCKET_COMMIT": HEAD,
        "BITBUCKET_CLONE_DIR": "/opt/atlassian/pipelines/agent/build",
        "BITBUCKET_WORKSPACE": "my-workspace", "BITBUCKET_REPO_SLUG": "my-repo",
        "BITBUCKET_REPO_FULL_NAME": "my-workspace/my-repo",
        "BITBUCKET_REPO_UUID": "{b2d4b5a9-5f2d-4b2f-9a53-6d1b6dd1a5a0}",
        "BITBUCKET_GIT_HTTP_ORIGIN": "http://bitbucket.org/my-workspace/my-repo",
        "BITBUCKET_GIT_SSH_ORIGIN": "git@bitbucket.org:my-workspace/my-repo.git",
        "BITBUCKET_PIPELINE_UUID": "{d9f8cb18-8d3d-4d7d-a8c4-9c4d6a2b3e1f}",
        "BITBUCKET_STEP_UUID": "{7b3a7a3c-9d5e-4c89-8b0e-0c6c1a2f4d5e}",
    }  # fmt: skip
    pull = {
        "BITBUCKET_BRANCH": "feature/fast", "BITBUCKET_PR_ID": "1",
        "BITBUCKET_PR_DESTINATION_BRANCH": "main", "BITBUCKET_PR_DESTINATION_COMMIT": BASE,
    }  # fmt: skip
    url = "https://bitbucket.org/my-workspace/my-repo/pipelines/results/31"
    meant = {"job": None, "job_url": url, "build": "31"}
    push = common | {"BITBUCKET_BRANCH": "feature/fast"}
    # Pull requests from forks do not start pipelines in the repository that they are for.
    return [
        _case("bitbucket", "push", push, branch="feature/fast", **meant),
        _case("bitbucket", "pull", common | pull, branch="feature/fast", pull_request=1, **meant),
        _case("bitbucket", "tag", common | {"BITBUCKET_TAG": "v1.2.0"}, **meant),
    ]


def _teamcity() -> list[Case]:
    r"""List TeamCity: "List of Predefined Build Parameters", "Pull Requests" (build feature).

    The branch is in no variable, only in the file of configuration parameters, which the file of
    system properties names; both are Java properties, in which `:` and `=` are `\:` and `\=`.
    """
    url = "https://teamcity.example.com/buildConfiguration/Hello_Bench/9120"
    environment = {
        "TEAMCITY_VERSION": "2025.07 (build 197242)", "TEAMCITY_PROJECT_NAME": "Hello",
        "TEAMCITY_BUILDCONF_NAME": "Bench", "BUILD_NUMBER": "17", "BUILD_VCS_NUMBER": HEAD,
        "BUILD_URL": url,
    }  # fmt: skip
    meant = {"job": "Bench", "job_url": url, "build": "17"}

    def files(branch: str, **more: str) -> dict[str, str]:
        named = {"teamcity.build.branch": branch, "teamcity.build.id": "9120"} | {
            name.replace("_", "."): value for name, value in more.items()
        }
        lines = "\n".join(f"{name}={value}" for name, value in sorted(named.items()))
        inner = "{folder}/teamcity_configuration"
        return {
            "TEAMCITY_CONFIGURATION": f"#TeamCity build parameters\n{lines}\n",
            "TEAMCITY_BUILD_PROPERTIES_FILE": "#TeamCity build properties\n"
            f"build.number=17\nteamcity.configuration.properties.file={inner}\n"
            "teamcity.version=2025.07 (build 197242)\n"
            "vcsroot.url=https\\://github.com/octocat/hello-world.git\n",
        }

    pull = {
        "teamcity_pullRequest_number": "1347", "teamcity_pullRequest_source_branch": "feature/fast",
        "teamcity_pullRequest_target_branch": "refs/heads/main",
    }  # fmt: skip
    of_pull = {"branch": "feature/fast", "pull_request": 1347} | meant
    return [
        _case(
            "teamcity", "push", environment, files("feature/fast"), branch="feature/fast", **meant
        ),
        _case("teamcity", "pull", environment, files("pull/1347", **pull), **of_pull),
        _case("teamcity", "tag", environment, files("refs/tags/v1.2.0"), **meant),
        _case("teamcity", "fork", environment, files("pull/1347", **pull), **of_pull),
    ]


CASES: tuple[Case, ...] = (
    *_github(), *_gitlab(), *_jenkins(), *_azure(), *_circleci(), *_travis(), *_bitbucket(),
    *_teamcity(),
)  # fmt: skip
