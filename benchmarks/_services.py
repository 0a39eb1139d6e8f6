# SPDX-License-Identifier: Apache-2.0
"""Services to deliver to, each served locally as its vendor documents it, and what they show."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from itertools import chain
from typing import Any, Protocol

import attrs

from accelerate_core.delivering.message import message_of
from accelerate_core.errors import Unsupported
from accelerate_core.events import Event
from tools.places import module_of

from ._notes import Notes
from ._world import new_folder

#: Where secrets of the local services stand.
TOKEN = "BENCH_CONNECTOR_TOKEN"
#: What tells runs and pipelines in the words that people read.
LINK, _LINK = "https://reports.example.com/{}", re.compile(r"https://reports.example.com/([\w-]+)")
PIPELINE = re.compile(r"pipeline-\d")
_SEVERITY = "accelerate_regression_severity"


class Failing(Protocol):
    """A service of which a share of all requests fails."""

    requests: Sized
    lost: int  #: answers that did not arrive, though all was done

    def fail_some(self, share: float) -> None:
        """Let so many fail from now on."""
        ...


@attrs.frozen(kw_only=True)
class Place:
    """Hold a running service: how to reach it, and how often it shows each event, by key."""

    service: Failing
    settings: Mapping[str, Any]
    shown: Callable[[Sequence[Event]], Mapping[str, int]]
    environ: Mapping[str, str] = attrs.field(factory=dict)  #: of who sends
    #: Whether the service can be asked for earlier items; who cannot ask sends again.
    can_be_asked: bool = True
    #: Whether it is told of runs, and not of regressions.
    is_of_runs: bool = False


@contextlib.contextmanager
def notes() -> Iterator[Place]:
    """Serve notes."""
    with Notes() as service:
        yield Place(
            service=service,
            settings={"url": service.url},
            shown=lambda events: Counter(service.notes),
        )


@contextlib.contextmanager
def jira() -> Iterator[Place]:
    """Serve JIRA Cloud."""
    server, sites = module_of("jira", "server"), module_of("jira", "sites")
    with server.JiraServer() as service:
        yield Place(
            service=service,
            environ={TOKEN: service.token},
            settings={
                "url": service.url,
                "project": "PERF",
                "user": service.email,
                "token": f"env:{TOKEN}",
                "search_lag_s": 0.3,
            },
            shown=lambda events: {event.key: sites.told(service, event) for event in events},
        )


@contextlib.contextmanager
def slack() -> Iterator[Place]:
    """Serve a Slack workspace."""
    server = module_of("slack", "server")
    with server.SlackServer() as service:

        def shown(events: Sequence[Event]) -> Mapping[str, int]:
            found = (one.get("metadata", {}).get("event_payload", {}) for one in service.messages)
            return Counter(one["key"] for one in found if "key" in one)

        yield Place(
            service=service,
            environ={TOKEN: service.token},
            settings={
                "channel": "#benchmarks",
                "token": f"env:{TOKEN}",
                "api_url": service.base_url,
            },
            shown=shown,
        )


@contextlib.contextmanager
def testrail() -> Iterator[Place]:
    """Serve a TestRail installation of one's own, which has no rate limit."""
    server = module_of("testrail", "server")
    with server.RailServer() as service:
        service.rate_limit = None

        def shown(events: Sequence[Event]) -> Mapping[str, int]:
            runs = _linked(one["description"] for one in [*service.runs.values()])
            results = _linked(one["comment"] for one in [*service.results.values()])
            # A run of which there are two would be seen as well.
            return {
                event.key: results[event.run_id] + max(0, runs[event.run_id] - 1)
                for event in events
            }

        yield Place(
            service=service,
            environ={TOKEN: service.key},
            settings={
                "url": service.url,
                "user": service.user,
                "key": f"env:{TOKEN}",
                "project": 1,
            },
            shown=shown,
            is_of_runs=True,
        )


@contextlib.contextmanager
def ci() -> Iterator[Place]:
    """Serve GitHub: of each pipeline one comment, which shows its last run; of each run a status.

    GitHub shows the latest status of a pipeline, so that one that is set again is none more.
    """
    jobs, github = module_of("ci", "jobs"), module_of("ci", "servers.github")
    with new_folder() as folder, github.GitHub() as service:

        def shown(events: Sequence[Event]) -> Mapping[str, int]:
            told = _linked(one["target_url"] for one in [*service.statuses])
            bodies = [one["body"] for one in [*service.comments]]
            comments = Counter(found[0] for body in bodies if (found := PIPELINE.search(body)))
            of_last = _linked(bodies)
            names = {event.run_id: event.summary.run.name for event in events}
            last = {name: run_id for run_id, name in names.items()}
            return {
                event.key: min(1, told[event.run_id])
                * (of_last[event.run_id] if event.run_id in last.values() else comments[name])
                for event in events
                for name in [names[event.run_id]]
            }

        environ = jobs.environment("github-pull", service.url, folder)
        yield Place(service=service, environ=environ, settings={}, shown=shown, is_of_runs=True)


@contextlib.contextmanager
def pushgateway() -> Iterator[Place]:
    """Run the Pushgateway: a series pushed again is the same one."""
    servers, relaying = module_of("prometheus", "servers"), module_of("prometheus", "relaying")
    _need(servers, "prometheus-pushgateway")
    with (
        new_folder() as folder,
        servers.pushgateway_in(folder) as running,
        relaying.Way(running.url) as service,
    ):

        def shown(events: Sequence[Event]) -> Mapping[str, int]:
            groups = running.json("/api/v1/metrics")["data"]
            metrics = (one.get(_SEVERITY, {}).get("metrics", []) for one in groups)
            series = Counter(one["labels"]["series"] for found in metrics for one in found)
            return {event.key: series[event.series_key[:12]] for event in events}

        yield Place(service=service, settings={"url": service.url}, shown=shown)


@contextlib.contextmanager
def remote_write() -> Iterator[Place]:
    """Run Prometheus: a sample written again is the same one."""
    servers, relaying = module_of("prometheus", "servers"), module_of("prometheus", "relaying")
    _need(servers, "prometheus")
    with (
        new_folder() as folder,
        # The events are of a day long ago.
        servers.prometheus_in(folder, late="100y") as running,
        relaying.Way(running.url) as service,
    ):

        def shown(events: Sequence[Event]) -> Mapping[str, int]:
            at = events[0].at.timestamp() + 0.5
            found = running.ask(f"count_over_time({_SEVERITY}[1s])", time=f"{at:.3f}")
            samples = {one["metric"]["series"]: int(one["value"][1]) for one in found}
            return {event.key: samples.get(event.series_key[:12], 0) for event in events}

        settings = {"url": f"{service.url}/api/v1/write"}
        yield Place(service=service, settings=settings, shown=shown)


@contextlib.contextmanager
def email() -> Iterator[Place]:
    """Serve mail."""
    smtp = module_of("email", "smtp")
    with new_folder() as folder, smtp.MailServer(folder) as service:

        def shown(events: Sequence[Event]) -> Mapping[str, int]:
            found = (one.message for one in [*service.messages])
            return _titled(events, ((one["Subject"], one["Message-ID"]) for one in found))

        yield Place(
            service=service,
            environ={TOKEN: service.password},
            settings={
                "host": service.host,
                "port": service.port,
                "authority": str(service.authority.path),
                "sender": "bench@x.example",
                "to": ["team@x.example"],
                "user": service.user,
                "password": f"env:{TOKEN}",
            },
            shown=shown,
            can_be_asked=False,
        )


@contextlib.contextmanager
def teams() -> Iterator[Place]:
    """Serve a workflow of Teams."""
    server = module_of("teams", "server")
    with server.TeamsServer() as service:

        def shown(events: Sequence[Event]) -> Mapping[str, int]:
            cards = [*service.cards]
            return _titled(events, ((one["fallbackText"], one["body"][0]["id"]) for one in cards))

        yield Place(
            service=service,
            environ={TOKEN: service.webhook},
            settings={"url": f"env:{TOKEN}"},
            shown=shown,
            can_be_asked=False,
        )


#: By the connector's name. The others deliver nothing themselves: `prometheus` shows what is to
#: whoever comes to read it, and `notify` has these tell what its rules made.
PLACES: Mapping[str, Callable[[], contextlib.AbstractContextManager[Place]]] = {
    "notes": notes,
    "jira": jira,
    "slack": slack,
    "testrail": testrail,
    "ci": ci,
    "email": email,
    "teams": teams,
    "pushgateway": pushgateway,
    "prometheus-remote-write": remote_write,
}


def _titled(events: Sequence[Event], found: Iterable[tuple[str, str]]) -> Mapping[str, int]:
    """Count items, by title and id; RuntimeError unless each title has one id of its own."""
    ids: dict[str, list[str]] = {}
    for title, own_id in found:
        ids.setdefault(title, []).append(own_id)
    if any(len(set(ids[title])) > 1 for title in ids) or len(set(chain(*ids.values()))) < len(ids):
        raise RuntimeError("one event has two ids, or two have one")
    return {event.key: len(ids.get(message_of(event).title, ())) for event in events}


def _linked(texts: Iterable[str]) -> Counter[str]:
    """Count texts, by the run they link to."""
    return Counter(found[1] for text in texts if (found := _LINK.search(text)))


def _need(servers: Any, name: str) -> None:
    """Raise Unsupported where a program is missing."""
    try:
        servers._command(name)
    except AssertionError as error:
        raise Unsupported(str(error)) from None
