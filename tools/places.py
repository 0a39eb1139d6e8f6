# SPDX-License-Identifier: Apache-2.0
"""The services that `examples/connectors.toml` names, served locally, and what they show."""

from __future__ import annotations

import contextlib
import importlib
import json
import socket
import sys
import time
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).parents[1]
FILE = ROOT / "examples/connectors.toml"
WORSE, WELL = "became worse", "is well again"
#: Keys of what people read in Slack's blocks and in Adaptive Cards.
_READ = ("text", "title", "value", "url")
#: Of the pull request.
_NUMBER = 1347


@attrs.frozen(kw_only=True)
class Said:
    """Hold one thing that a place shows."""

    place: str
    what: str  #: in a word or two
    text: str  #: as people read it
    file: str  #: where the demonstration keeps it
    data: bytes = attrs.field(repr=False)

    @property
    def state(self) -> str:
        """What it says of a regression: `WORSE`, `WELL` or nothing."""
        return next((word for word in (WELL, WORSE) if word in self.text), "")


@attrs.frozen(kw_only=True)
class Places:
    """Hold the services while they run, each as its connector's tests have it."""

    folder: Path
    jira: Any
    slack: Any
    testrail: Any
    teams: Any
    mail: Any
    github: Any
    gateway: Any
    prometheus: Any
    exporter_port: int

    @property
    def secrets(self) -> Mapping[str, str]:
        """What the environment of a job holds, and nothing else ever may."""
        return {
            "JIRA_TOKEN": self.jira.token,
            "SLACK_TOKEN": self.slack.token,
            "TESTRAIL_KEY": self.testrail.key,
            "TEAMS_WORKFLOW": self.teams.webhook,
            "SMTP_PASSWORD": self.mail.password,
            "GITHUB_TOKEN": module_of("ci", "servers.github").TOKEN,
        }

    def pipeline(self) -> str:
        """Return the pipeline file with the addresses of these services in it."""
        text = FILE.read_text()
        slack = 'token = "env:SLACK_TOKEN"'
        ours = {
            '"https://example.atlassian.net"': f'"{self.jira.url}"',
            slack: f'{slack}\napi_url = "{self.slack.base_url}"',
            '"https://example.testrail.io"': f'"{self.testrail.url}"',
            "port = 9464": f"port = {self.exporter_port}",
            '"http://127.0.0.1:9091"': f'"{self.gateway.url}"',
            '"smtp.example.com"': f'"{self.mail.host}"\nport = {self.mail.port}\n'
            f'authority = "{self.mail.authority.path}"',
        }
        for theirs, own in ours.items():
            if text.count(theirs) != 1:
                raise SystemExit(f"{FILE}: {theirs} stands there {text.count(theirs)} times")
            text = text.replace(theirs, own)
        return text

    def job(self, name: str, commit: str) -> Mapping[str, str]:
        """Return the environment of a new job for a commit of the pull request."""
        folder = self.folder / f"job-{name}"
        folder.mkdir()
        known = module_of("ci", "jobs").environment("github-pull", self.github.url, folder)
        path = Path(known["GITHUB_EVENT_PATH"])
        event = json.loads(path.read_text())
        event["pull_request"]["head"]["sha"] = commit
        path.write_text(json.dumps(event))
        self.github.pulls[_NUMBER] = commit
        self.github.commits.add(commit)
        return {**known, **self.secrets}

    def said(self) -> Iterator[Said]:
        """Yield everything that people and Prometheus see, oldest first in each place."""
        for issue in self.jira.issues.values():
            what = f"{issue.key}, {issue.status}, {_pictures(len(issue.attachments))}"
            for text in (f"{issue.summary}\n{issue.description}", *issue.texts):
                yield _text("JIRA", what, text, "issue.txt")
        for message in self.slack.messages:
            what = "in the thread of its run" if "thread_ts" in message else "run"
            text = "\n".join([message.get("text", ""), *_words(message.get("blocks", []))])
            yield _text("Slack", what, text, "message.txt")
        statuses = module_of("testrail", "server").STATUSES
        for result in self.testrail.results.values():
            what = statuses[result["status_id"]]
            yield _text("TestRail", what, result["comment"] or "", "result.txt")
        for card in self.teams.cards:
            data = json.dumps(card, indent=1).encode()
            text = "\n".join(_words([card]))
            yield Said(place="Teams", what="card", text=text, file="card.json", data=data)
        for mail in self.mail.messages:
            parts = [part.get_content_maintype() for part in mail.message.walk()]
            text = f"{mail.message['subject']}\n{mail.message.get_body(('plain',)).get_content()}"
            what = _pictures(parts.count("image"))
            yield Said(place="mail", what=what, text=text, file="mail.eml", data=mail.raw)
        for path in sorted(self.folder.glob("job-*/summary.md")):
            yield _text("summary of the job", path.parent.name, path.read_text(), "summary.md")
        for comment in self.github.comments:
            yield _text("pull request", "comment", comment["body"], "comment.md")
        yield from self._series()

    def _series(self) -> Iterator[Said]:
        since = time.time()
        gateway = f'timestamp(up{{instance="{self.gateway.url.removeprefix("http://")}"}})'
        module_of("prometheus", "servers").eventually(
            lambda: any(float(one["value"][1]) > since for one in self.prometheus.ask(gateway))
        )
        # What is scraped of a run ends with it: the last is what was seen.
        asked = "last_over_time(accelerate_regression_severity[1h])"
        for one in self.prometheus.ask(asked):
            place = "endpoint" if one["metric"]["job"] == "scraped" else "Pushgateway"
            labels = ", ".join(
                f'{name}="{one["metric"][name]}"' for name in ("metric", "model", "target")
            )
            state = WELL if one["value"][1] == "0" else WORSE
            text = f"accelerate_regression_severity{{{labels}}} {one['value'][1]}  # {state}"
            yield _text(place, "series", text, f"{place.lower()}.txt")


@contextlib.contextmanager
def places(folder: Path) -> Iterator[Places]:
    """Serve everything the pipeline file names; what the servers write lies in `folder`."""
    prometheus, smtp = module_of("prometheus", "servers"), module_of("email", "smtp")
    for name in ("prometheus", "pushgateway"):
        (folder / name).mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    testrail = module_of("testrail", "server").RailServer()
    # One of one's own: nobody wants to wait for the 180 requests a minute of the cloud.
    testrail.rate_limit = None
    with contextlib.ExitStack() as stack:
        start = stack.enter_context
        gateway = start(prometheus.pushgateway_in(folder / "pushgateway"))
        scraped = (gateway.url, f"http://127.0.0.1:{port}")
        yield Places(
            folder=folder,
            jira=start(module_of("jira", "server").JiraServer()),
            slack=start(module_of("slack", "server").SlackServer()),
            testrail=start(testrail),
            teams=start(module_of("teams", "server").TeamsServer()),
            mail=start(smtp.MailServer(folder, user="bench@example.com")),
            github=start(module_of("ci", "servers.github").GitHub()),
            gateway=gateway,
            prometheus=start(prometheus.prometheus_in(folder / "prometheus", scraped)),
            exporter_port=port,
        )


def module_of(name: str, module: str) -> Any:
    """Import a module of a connector's tests, which are no package."""
    package = f"accelerate_{name}_tests"
    if package not in sys.modules:
        made = types.ModuleType(package)
        made.__path__ = [str(ROOT / "connectors" / f"accelerate-{name}" / "tests")]
        sys.modules[package] = made
    return importlib.import_module(f"{package}.{module}")


def _text(place: str, what: str, text: str, file: str) -> Said:
    return Said(place=place, what=what, text=text, file=file, data=text.encode())


def _pictures(count: int) -> str:
    return f"{count} picture{'s' * (count != 1)}"


def _words(data: Any) -> list[str]:
    """Return the texts that people read in a message's data, in order."""
    if isinstance(data, list):
        return [word for one in data for word in _words(one)]
    if not isinstance(data, dict):
        return []
    return [
        word
        for name, one in data.items()
        for word in ([one] if isinstance(one, str) and name in _READ else _words(one))
    ]
