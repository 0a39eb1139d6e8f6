# SPDX-License-Identifier: Apache-2.0
"""The test servers of the CI systems, spoken to plainly, as the vendors' examples do."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import httpx
import pytest

from .servers import (
    azure,
    bitbucket,
    circleci,
    consoles,
    environments,
    github,
    gitlab,
    jenkins,
    teamcity,
    travis,
)

#: Made once: each takes long, and nothing here is encrypted.
TLS = httpx.create_ssl_context()


def ask(method: str, url: str, **more: Any) -> httpx.Response:
    return httpx.request(method, url, verify=TLS, **more)


def files_of(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return {name: file.read(name) for name in file.namelist()}


class TestGitHub:
    repo = f"/repos/{github.OWNER}/{github.NAME}"
    sha = "6dcb09b5b57875f334f61aebed695e2e4193db5e"

    @pytest.fixture
    def service(self):
        with github.GitHub() as service:
            yield service

    @pytest.fixture
    def client(self, service):
        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {github.TOKEN}",
            "X-GitHub-Api-Version": "2022-11-28",
        }
        with httpx.Client(verify=TLS, base_url=service.url, headers=headers) as client:
            yield client

    def test_a_comment_is_found_by_following_pages_and_updated(self, service, client):
        for index in range(35):
            service.add_comment(f"remark {index}")
        made = client.post(f"{self.repo}/issues/1347/comments", json={"body": "Me too"})
        assert made.status_code == 201 and made.headers["location"] == made.json()["url"]
        page, seen = client.get(f"{self.repo}/issues/1347/comments"), []
        seen += page.json()
        assert len(seen) == 30 and "/repositories/1296269/" in page.links["next"]["url"]
        assert page.links["last"]["url"] == page.links["next"]["url"]
        page = client.get(page.links["next"]["url"])
        seen += page.json()
        assert [each["body"] for each in seen][-2:] == ["remark 34", "Me too"]
        assert "next" not in page.links and "first" in page.links
        url = f"{self.repo}/issues/comments/{made.json()['id']}"
        assert client.patch(url, json={"body": "Changed"}).json()["body"] == "Changed"
        assert client.get(url).json()["body"] == "Changed"

    def test_who_may_not_is_told_the_permission(self, service, client):
        service.read_only()
        refused = client.post(f"{self.repo}/issues/1347/comments", json={"body": "x"})
        assert refused.status_code == 403
        assert refused.headers["x-accepted-github-permissions"] == (
            "issues=write; pull_requests=write"
        )
        assert refused.json()["message"] == "Resource not accessible by integration"
        wrong = client.get(self.repo, headers={"Authorization": "Bearer no"})
        assert (wrong.status_code, wrong.json()["message"]) == (401, "Bad credentials")
        assert ask("GET", f"{service.url}{self.repo}").status_code == 404

    def test_rate_limits(self, service, client):
        service.limit_next()
        service.limit_next(7, secondary=True)
        primary, secondary = client.get(self.repo), client.get(self.repo)
        assert (primary.status_code, primary.headers["x-ratelimit-remaining"]) == (403, "0")
        assert int(primary.headers["x-ratelimit-reset"]) > 1_700_000_000
        assert (secondary.status_code, secondary.headers["retry-after"]) == (403, "7")
        assert client.get(self.repo).status_code == 200

    def test_statuses_and_their_limits(self, client):
        status = {"state": "success", "description": "fast", "context": "bench/main"}
        assert client.post(f"{self.repo}/statuses/{self.sha}", json=status).status_code == 201
        listed = client.get(f"{self.repo}/commits/{self.sha}/statuses").json()
        assert [each["state"] for each in listed] == ["success"]
        long = client.post(
            f"{self.repo}/statuses/{self.sha}", json=status | {"description": "x" * 141}
        )
        assert long.status_code == 422 and long.json()["errors"][0]["field"] == "description"
        assert client.post(f"{self.repo}/statuses/{'0' * 40}", json=status).status_code == 422

    def test_annotations_of_a_check_run_add_up_fifty_at_a_time(self, service, client):
        one = {
            "path": "README.md", "start_line": 2, "end_line": 2, "annotation_level": "warning",
            "message": "Slower than before",
        }  # fmt: skip
        output = {"title": "Benchmarks", "summary": "One is slower", "annotations": [one] * 50}
        run = {"name": "bench", "head_sha": self.sha, "status": "in_progress", "output": output}
        made = client.post(f"{self.repo}/check-runs", json=run)
        assert (made.status_code, made.json()["status"]) == (201, "in_progress")
        url = f"{self.repo}/check-runs/{made.json()['id']}"
        more = client.patch(url, json={"conclusion": "failure", "output": output})
        assert (more.json()["status"], more.json()["output"]["annotations_count"]) == (
            "completed", 100,
        )  # fmt: skip
        output["annotations"] = [one] * 51
        assert client.patch(url, json={"output": output}).status_code == 422
        named = client.get(f"{self.repo}/commits/{self.sha}/check-runs?check_name=bench").json()
        assert named["total_count"] == 1

    def test_the_last_good_artifact_comes_from_the_store(self, service, client):
        good = service.add_run("main")
        service.add_run("main", "failure")
        service.add_run("other")
        artifact = service.add_artifact(good, "bench", {"bench.duckdb": b"data"})
        service.add_artifact(good, "log", {"log": b""}, expired=True)
        query = {"branch": "main", "status": "success"}
        runs = client.get(f"{self.repo}/actions/runs", params=query).json()
        assert [run["id"] for run in runs["workflow_runs"]] == [good] and runs["total_count"] == 1
        by_file = client.get(f"{self.repo}/actions/workflows/bench.yml/runs", params=query).json()
        assert by_file == runs
        listed = client.get(f"{self.repo}/actions/runs/{good}/artifacts?name=bench").json()
        assert [each["id"] for each in listed["artifacts"]] == [artifact]
        where = client.get(listed["artifacts"][0]["archive_download_url"])
        assert where.status_code == 302
        place = where.headers["location"]
        assert files_of(ask("GET", place).content) == {"bench.duckdb": b"data"}
        assert client.get(place, headers={"Authorization": "Bearer x"}).status_code == 401
        assert client.get(f"{self.repo}/actions/artifacts/{artifact + 1}/zip").status_code == 410


class TestGitLab:
    project = f"/api/v4/projects/{gitlab.PROJECT}"
    sha = "18f3e63d05582537db6d183d9d557be09e1f90c8"

    @pytest.fixture
    def service(self):
        with gitlab.GitLab() as service:
            yield service

    @pytest.fixture
    def client(self, service):
        with httpx.Client(
            verify=TLS, base_url=service.url, headers={"PRIVATE-TOKEN": gitlab.TOKEN}
        ) as client:
            yield client

    def test_a_note_is_found_by_following_pages_and_updated(self, service, client):
        notes = f"{self.project}/merge_requests/11/notes"
        made = client.post(notes, json={"body": "Comment for MR"})
        assert made.status_code == 201 and made.json()["noteable_iid"] == 11
        for index in range(25):
            service.add_note(f"remark {index}")
        page = client.get(notes)
        assert len(page.json()) == 20 and page.json()[0]["body"] == "remark 24"
        assert (page.headers["x-next-page"], page.headers["x-total"]) == ("2", "26")
        page = client.get(page.links["next"]["url"])
        assert page.json()[-1]["body"] == "Comment for MR" and page.headers["x-next-page"] == ""
        url = f"{notes}/{made.json()['id']}"
        assert client.put(url, params={"body": "note"}).json()["body"] == "note"
        by_path = "/api/v4/projects/diaspora%2Fdiaspora-client/merge_requests/11/notes?sort=asc"
        assert client.get(by_path).json()[0]["body"] == "note"
        assert client.post(notes, json={}).json() == {"error": "body is missing"}

    def test_a_job_token_reads_notes_and_artifacts_and_writes_neither(self, service):
        pipeline = service.add_pipeline()
        service.add_job(pipeline, "bench", {"bench.duckdb": b"data"})
        with httpx.Client(
            verify=TLS, base_url=service.url, headers={"JOB-TOKEN": gitlab.JOB_TOKEN}
        ) as client:
            notes = f"{self.project}/merge_requests/11/notes"
            assert client.get(notes).status_code == 200
            assert client.post(notes, json={"body": "x"}).status_code == 401
            status = client.post(f"{self.project}/statuses/{self.sha}", json={"state": "failed"})
            assert status.json() == {"message": "401 Unauthorized"}
            got = client.get(f"{self.project}/jobs/artifacts/main/download?job=bench")
            assert files_of(got.content) == {"bench.duckdb": b"data"}
            service.job_running = False
            assert client.get(notes).status_code == 401

    def test_scopes_and_roles(self, service, client):
        service.role = gitlab.REPORTER
        status = client.post(f"{self.project}/statuses/{self.sha}", json={"state": "failed"})
        assert (status.status_code, status.json()) == (403, {"message": "403 Forbidden"})
        service.lack("api")
        note = client.post(f"{self.project}/merge_requests/11/notes", json={"body": "x"})
        assert (note.status_code, note.json()["error"]) == (403, "insufficient_scope")
        assert note.json()["scope"] == "api"
        assert client.get(self.project).status_code == 200
        nobody = ask("GET", f"{service.url}{self.project}")
        assert nobody.json() == {"message": "404 Project Not Found"}

    def test_statuses(self, client):
        url = f"{self.project}/statuses/{self.sha}"
        for state in ("running", "success"):
            done = client.post(url, params={"state": state, "name": "bench"})
            assert (done.status_code, done.json()["status"]) == (201, state)
        again = client.post(url, params={"state": "success", "name": "bench"})
        assert again.status_code == 400 and "Cannot transition" in again.json()["message"]
        listed = client.get(f"{self.project}/repository/commits/{self.sha}/statuses").json()
        assert [each["status"] for each in listed] == ["success"]

    def test_artifacts_of_the_latest_good_pipeline(self, service, client):
        old, good = service.add_pipeline(), service.add_pipeline()
        bad = service.add_pipeline(status="failed")
        for pipeline, content in ((old, b"old"), (good, b"good"), (bad, b"bad")):
            service.add_job(pipeline, "bench", {"out/bench.duckdb": content})
        got = client.get(f"{self.project}/jobs/artifacts/main/download", params={"job": "bench"})
        assert files_of(got.content) == {"out/bench.duckdb": b"good"}
        raw = client.get(f"{self.project}/jobs/artifacts/main/raw/out/bench.duckdb?job=bench")
        assert raw.content == b"good"
        query = {"ref": "main", "status": "success"}
        assert client.get(f"{self.project}/pipelines", params=query).json()[0]["id"] == good
        jobs = client.get(f"{self.project}/pipelines/{good}/jobs?scope[]=success").json()
        service.to_store = True
        sent_on = client.get(f"{self.project}/jobs/{jobs[0]['id']}/artifacts")
        assert sent_on.status_code == 302
        assert files_of(ask("GET", sent_on.headers["location"]).content)
        assert client.get(
            f"{self.project}/jobs/artifacts/main/download?job=none"
        ).status_code == 404  # fmt: skip

    def test_a_rate_limit(self, service, client):
        service.limit_next(3)
        refused = client.get(self.project)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "3")
        assert refused.text == "Retry later\n"


class TestBitbucket:
    repo = f"/2.0/repositories/{bitbucket.WORKSPACE}/{bitbucket.SLUG}"
    commit = f"{repo}/commit/e10dae226959c2194f2b07b077c07762d93821cf"

    @pytest.fixture
    def service(self):
        with bitbucket.Bitbucket() as service:
            yield service

    @pytest.fixture
    def client(self, service):
        headers = {"Authorization": f"Bearer {bitbucket.TOKEN}"}
        with httpx.Client(verify=TLS, base_url=service.url, headers=headers) as client:
            yield client

    def test_a_comment_is_found_by_following_pages_and_updated(self, service, client):
        for index in range(12):
            service.add_comment(f"remark {index}")
        comments = f"{self.repo}/pullrequests/1/comments"
        made = client.post(comments, json={"content": {"raw": "slower"}})
        assert made.status_code == 201
        page = client.get(comments).json()
        assert (page["size"], page["pagelen"], len(page["values"])) == (13, 10, 10)
        last = client.get(page["next"]).json()
        assert last["values"][-1]["content"]["raw"] == "slower" and "next" not in last
        url = f"{comments}/{made.json()['id']}"
        assert client.put(url, json={"content": {"raw": "fast"}}).json()["content"]["raw"] == "fast"
        other = f"{comments}/{last['values'][0]['id']}"
        assert client.put(other, json={"content": {"raw": "x"}}).status_code == 403
        assert client.post(comments, json={"text": "x"}).status_code == 400

    def test_scopes_are_named(self, service, client):
        service.lack("pullrequest")
        refused = client.post(
            f"{self.repo}/pullrequests/1/comments", json={"content": {"raw": "x"}}
        )
        assert refused.status_code == 403
        assert refused.json()["error"]["detail"] == {
            "required": ["pullrequest"],
            "granted": ["repository", "repository:write"],
        }
        assert client.get(self.repo, headers={"Authorization": "Bearer x"}).status_code == 401
        basic = (bitbucket.EMAIL, bitbucket.TOKEN)
        assert ask("GET", f"{service.url}{self.repo}", auth=basic).status_code == 200
        service.limit_next()
        assert client.get(self.repo).status_code == 429

    def test_a_build_status_is_overwritten_by_its_key(self, client):
        status = {"key": "BENCH", "state": "INPROGRESS", "url": "https://ci.example.com/1"}
        assert client.post(f"{self.commit}/statuses/build", json=status).status_code == 201
        status["state"] = "SUCCESSFUL"
        assert client.post(f"{self.commit}/statuses/build/", json=status).status_code == 201
        listed = client.get(f"{self.commit}/statuses").json()["values"]
        assert [each["state"] for each in listed] == ["SUCCESSFUL"]
        assert client.post(f"{self.commit}/statuses/build", json={"key": "x"}).status_code == 400

    def test_reports_and_the_limits_of_their_annotations(self, service, client):
        report = f"{self.commit}/reports/accelerate-1"
        data = {"title": "Benchmarks", "report_type": "TEST", "result": "FAILED", "details": "x"}
        assert client.post(f"{report}/annotations", json=[{}]).status_code == 404
        assert client.put(report, json=data).json()["external_id"] == "accelerate-1"

        def annotations(start: int, count: int, summary: str = "slower") -> list[dict[str, str]]:
            return [
                {"external_id": f"a{index}", "annotation_type": "BUG", "summary": summary}
                for index in range(start, start + count)
            ]

        for start in range(0, 1000, 100):
            assert client.post(f"{report}/annotations", json=annotations(start, 100)).is_success
        again = client.post(f"{report}/annotations", json=annotations(0, 100))
        assert again.status_code == 200, "the same ids take no more room"
        for wrong in (annotations(1000, 1), annotations(0, 101), annotations(0, 1, "x" * 451)):
            refused = client.post(f"{report}/annotations", json=wrong)
            assert refused.status_code == 400
            assert refused.json()["key"] == "report-service.general.bad-request"
        url = service.url
        with httpx.Client(verify=TLS, proxy=url) as proxied:
            put = proxied.put(f"http://api.bitbucket.org{report}", json=data)
            assert put.status_code == 200, "the proxy of a pipeline authenticates"
            other = proxied.get(f"http://api.bitbucket.org{self.repo}")
            assert other.status_code == 404

    def test_downloads(self, client):
        content = {"files": ("bench.duckdb", b"data")}
        assert client.post(f"{self.repo}/downloads", files=content).status_code == 201
        listed = client.get(f"{self.repo}/downloads").json()["values"]
        assert [each["name"] for each in listed] == ["bench.duckdb"]
        sent_on = client.get(listed[0]["links"]["self"]["href"])
        assert sent_on.status_code == 302
        assert ask("GET", sent_on.headers["location"]).content == b"data"


class TestAzure:
    git = f"/fabrikam/Fabrikam%20Fiber/_apis/git/repositories/{azure.REPOSITORY_ID}"
    builds = f"/fabrikam/{azure.PROJECT_ID}/_apis/build/builds"

    @pytest.fixture
    def service(self):
        with azure.Azure() as service:
            yield service

    @pytest.fixture
    def client(self, service):
        headers = {"Authorization": f"Bearer {azure.TOKEN}"}
        with httpx.Client(
            verify=TLS, base_url=service.url, headers=headers, params={"api-version": "7.1"}
        ) as client:
            yield client

    def test_a_thread_is_found_updated_and_closed(self, service, client):
        service.add_thread("Normal Paulk voted 10", kind="system")
        theirs = service.add_thread("This new feature looks good!")
        threads = f"{self.git}/pullRequests/22/threads"
        data = {
            "comments": [{"parentCommentId": 0, "content": "Slower", "commentType": 1}],
            "status": 1, "properties": {"accelerate": "run-1"},
        }  # fmt: skip
        made = client.post(threads, json=data)
        assert (made.status_code, made.json()["status"]) == (200, "active")
        assert made.json()["comments"][0]["commentType"] == "text"
        listed = client.get(threads).json()
        assert listed["count"] == 3 and "status" not in listed["value"][0]
        assert listed["value"][2]["properties"] == {
            "accelerate": {"$type": "System.String", "$value": "run-1"}
        }
        mine = f"{threads}/{made.json()['id']}"
        changed = client.patch(f"{mine}/comments/1", json={"content": "Fast again"})
        assert changed.json()["content"] == "Fast again"
        assert client.patch(mine, json={"status": "fixed"}).json()["status"] == "fixed"
        reply = client.post(f"{mine}/comments", json={"content": "x", "parentCommentId": 1})
        assert reply.json()["id"] == 2
        other = client.patch(f"{threads}/{theirs['id']}/comments/1", json={"content": "x"})
        assert other.status_code == 403
        assert client.get(f"{self.git}/pullRequests/23/threads").status_code == 404

    def test_permissions_tokens_and_versions(self, service, client):
        service.lack("PullRequestContribute")
        threads = f"{self.git}/pullRequests/22/threads"
        refused = client.post(threads, json={"comments": [{"content": "x"}]})
        assert (refused.status_code, refused.json()["typeKey"]) == (
            403, "GitNeedsPermissionException",
        )  # fmt: skip
        assert "'PullRequestContribute'" in refused.json()["message"]
        page = ask("GET", f"{service.url}{threads}")
        assert page.status_code == 203 and page.headers["content-type"] == "text/html"
        assert ask("PATCH", f"{service.url}{threads}/1").status_code == 401
        token = ask("GET", f"{service.url}{threads}", auth=("", azure.TOKEN))
        assert token.json() == {"count": 0, "value": []}
        version = ask("POST", f"{service.url}{threads}", auth=("", azure.TOKEN), json={})
        assert version.json()["typeKey"] == "VssVersionNotSpecifiedException"
        service.limit_next(5)
        limited = client.get(threads)
        assert (limited.status_code, limited.headers["retry-after"]) == (429, "5")

    def test_statuses(self, client):
        status = {
            "state": "succeeded", "description": "The build is successful",
            "targetUrl": "https://ci.fabrikam.com/my-project/build/123",
            "context": {"name": "Build123", "genre": "continuous-integration"},
        }  # fmt: skip
        made = client.post(f"{self.git}/pullRequests/22/statuses", json=status)
        assert (made.status_code, made.json()["id"]) == (200, 1)
        sha = "67cae2b029dff7eb3dc062b49403aaedca5bad8d"
        assert client.post(f"{self.git}/commits/{sha}/statuses", json=status).status_code == 201
        del status["context"]
        assert client.post(f"{self.git}/commits/{sha}/statuses", json=status).status_code == 400

    def test_the_last_good_artifact(self, service, client):
        for branch, result in (
            ("refs/heads/main", "succeeded"),
            ("refs/heads/main", "failed"),
            ("refs/heads/other", "succeeded"),
        ):
            build = service.add_build(branch, result)
            service.add_artifact(build, "bench", {"bench.duckdb": branch.encode()})
        query = {
            "definitions": "12", "branchName": "refs/heads/main", "resultFilter": "succeeded",
            "$top": "1",
        }  # fmt: skip
        found = client.get(self.builds, params=query).json()["value"]
        assert [each["result"] for each in found] == ["succeeded"]
        url = f"{self.builds}/{found[0]['id']}/artifacts"
        named = client.get(url, params={"artifactName": "bench"}).json()
        assert named == client.get(url).json()["value"][0]
        got = ask(
            "GET",
            named["resource"]["downloadUrl"],
            headers={"Authorization": f"Bearer {azure.TOKEN}"},
        )
        assert files_of(got.content) == {"bench/bench.duckdb": b"refs/heads/main"}
        missing = client.get(url, params={"artifactName": "none"})
        assert missing.json()["typeKey"] == "ArtifactNotFoundException"


class TestEnvironments:
    def test_each_case_says_all_there_is_to_know(self, tmp_path):
        keys = {"provider", "commit", "branch", "pull_request", "job", "job_url", "build"}
        for case in environments.CASES:
            placed = case.placed(tmp_path)
            assert set(case.expected) == keys, case.name
            assert all(isinstance(value, str) for value in placed.values()), case.name
            assert all((tmp_path / name.lower()).is_file() for name in case.files), case.name
        assert len({case.name for case in environments.CASES}) == len(environments.CASES)
        assert len({case.expected["provider"] for case in environments.CASES}) == 8


class TestConsoles:
    def test_github(self, tmp_path):
        output = (
            "text ::error::no command\n"
            "::error file=app%2Cjs,line=1,title=a%3Ab::50%25 slower%0Athan before%250A\n"
        )
        assert consoles.github(output) == [
            consoles.Command(
                "error",
                {"file": "app,js", "line": "1", "title": "a:b"},
                "50% slower\nthan before%0A",
            )
        ]
        many = "::warning::x\n" * 11 + "::notice::y\n"
        assert len(consoles.github_annotations(many)) == 11
        assert consoles.github_summary(b"x" * (1024 * 1024)) and not consoles.github_summary(
            b"x" * (1024 * 1024 + 1)
        )
        assert consoles.github_outputs("a=1\nb<<EOF\n2\n3\nEOF\n") == {"a": "1", "b": "2\n3"}
        with pytest.raises(ValueError, match="EOF"):
            consoles.github_outputs("b<<EOF\n2\n")

    def test_azure(self):
        line = "##vso[task.logissue type=warning;sourcepath=a%3Bb.cs;linenumber=1;]100%AZP25%0Ax"
        assert consoles.azure(line) == [
            consoles.Command(
                "task.logissue",
                {"type": "warning", "sourcepath": "a;b.cs", "linenumber": "1"},
                "100%\nx",
            )
        ]

    def test_teamcity(self):
        line = "##teamcity[testFailed name='foo|'s |[test|]' message='a||b|n|0x00e4']"
        assert consoles.teamcity(line) == [
            consoles.Command("testFailed", {"name": "foo's [test]", "message": "a|b\nä"})
        ]
        assert consoles.teamcity("##teamcity[progressMessage 'x']")[0].text == "x"
        for wrong in ("'a]'", "'a|x'", "'it's'"):
            with pytest.raises(ValueError):
                consoles.teamcity(f"##teamcity[message text={wrong}]")


class TestOthers:
    """CircleCI, Jenkins, TeamCity and Travis CI: what a job left is found and fetched."""

    def test_circleci(self):
        with circleci.CircleCI() as service:
            for index in range(22):
                service.add_job({"out/bench.duckdb": b"%d" % index})
            service.add_job({}, branch="other")
            headers = {"Circle-Token": circleci.TOKEN}
            with httpx.Client(
                verify=TLS, base_url=f"{service.url}/api/v2", headers=headers
            ) as client:
                project = f"/project/{circleci.SLUG}"
                page = client.get(f"{project}/pipeline?branch=main").json()
                assert len(page["items"]) == 20
                query = {"branch": "main", "page-token": page["next_page_token"]}
                rest = client.get(f"{project}/pipeline", params=query).json()
                assert len(rest["items"]) == 2 and rest["next_page_token"] is None
                pipeline = page["items"][0]["id"]
                workflow = client.get(f"/pipeline/{pipeline}/workflow").json()["items"][0]
                job = client.get(f"/workflow/{workflow['id']}/job").json()["items"][0]
                found = client.get(f"{project}/{job['job_number']}/artifacts").json()["items"]
                assert client.get(found[0]["url"]).content == b"21"
            assert ask("GET", found[0]["url"]).status_code == 401

    def test_jenkins(self):
        with jenkins.Jenkins() as service:
            service.add_build({"out/bench.duckdb": b"good"})
            service.add_build({"out/bench.duckdb": b"bad"}, "FAILURE")
            last = f"{service.url}/job/bench/job/main/lastSuccessfulBuild"
            with httpx.Client(verify=TLS, auth=(jenkins.USER, jenkins.TOKEN)) as client:
                path = client.get(f"{last}/api/json").json()["artifacts"][0]["relativePath"]
                assert client.get(f"{last}/artifact/{path}").content == b"good"
                everything = files_of(client.get(f"{last}/artifact/*zip*/archive.zip").content)
                assert everything == {"archive/out/bench.duckdb": b"good"}
                text = {"description": "slower"}
                assert client.post(f"{last}/submitDescription", data=text).status_code == 302
                service.may_read = False
                assert client.get(f"{last}/api/json").status_code == 404
                service.may_read = True
            with httpx.Client(verify=TLS, auth=(jenkins.USER, jenkins.PASSWORD)) as client:
                assert client.post(f"{last}/submitDescription", data=text).status_code == 403
                crumb = client.get(f"{service.url}/crumbIssuer/api/json").json()
                headers = {crumb["crumbRequestField"]: crumb["crumb"]}
                done = client.post(f"{last}/submitDescription", data=text, headers=headers)
                assert done.status_code == 302
            assert ask("GET", f"{last}/api/json").status_code == 403

    def test_teamcity(self):
        with teamcity.TeamCity() as service:
            good = service.add_build({"bench.duckdb": b"good"})
            service.add_build({"bench.duckdb": b"bad"}, status="FAILURE")
            service.add_build({"bench.duckdb": b"other"}, branch="feature/fast")
            headers = {"Authorization": f"Bearer {teamcity.TOKEN}", "Accept": "application/json"}
            with httpx.Client(verify=TLS, base_url=service.url, headers=headers) as client:
                locator = "buildType:Hello_Bench,status:SUCCESS,state:finished,count:1"
                found = client.get("/app/rest/builds", params={"locator": locator}).json()
                assert [each["id"] for each in found["build"]] == [good]
                url = f"{found['build'][0]['href']}/artifacts"
                assert client.get(f"{url}/content/bench.duckdb").content == b"good"
                assert client.get(f"{url}/children").json()["file"][0]["name"] == "bench.duckdb"
                assert files_of(client.get(f"{url}/archived").content)
                named = f"{locator},branch:(name:feature/fast)"
                found = client.get("/app/rest/builds", params={"locator": named}).json()
                assert found["build"][0]["branchName"] == "feature/fast"
                service.may_view = False
                assert client.get("/app/rest/builds").status_code == 403
            assert ask("GET", f"{service.url}/app/rest/builds").status_code == 401

    def test_travis(self):
        with travis.Travis() as service:
            good = service.add_build()
            service.add_build(state="failed")
            headers = {"Travis-API-Version": "3", "Authorization": f"token {travis.TOKEN}"}
            url = f"{service.url}/repo/octocat%2Fhello-world/builds"
            query = {"branch.name": "main", "build.state": "passed"}
            found = ask("GET", url, params=query, headers=headers).json()
            assert [each["id"] for each in found["builds"]] == [good]
            headers["Authorization"] = "token x"
            assert ask("GET", url, headers=headers).status_code == 403
