# SPDX-License-Identifier: Apache-2.0
"""Connectors to a local site or to a real one, and what a site shows of an event."""

from __future__ import annotations

import os
from typing import Any

from accelerate_jira.connector import JiraConnector
from accelerate_jira.fitting import marker
from accelerate_jira.items import items_of
from accelerate_jira.plugin import JiraSettings

from accelerate_core.events import Event
from accelerate_core.secrets import Secret

from .server import JiraServer


def settings_of(service: JiraServer, **changes: Any) -> JiraSettings:
    """Return settings that fit; Data Center is asked with a personal access token."""
    values: dict[str, Any] = {
        "url": service.url,
        "project": "PERF",
        "token": Secret(service.token),
        "user": service.email if service.cloud else "",
        "search_lag_s": 0.05,
    }
    return JiraSettings(**{**values, **changes})


def connector_of(service: JiraServer, **changes: Any) -> JiraConnector:
    return JiraConnector(settings_of(service, **changes))


def live_settings(**changes: Any) -> JiraSettings:
    """Return settings of the real site that the environment names; see README.md."""
    values: dict[str, Any] = {
        "url": os.environ["ACCEL_LIVE_JIRA"],
        "project": os.environ["ACCEL_LIVE_JIRA_PROJECT"],
        "token": Secret(os.environ["ACCEL_LIVE_JIRA_TOKEN"]),
        "user": os.environ.get("ACCEL_LIVE_JIRA_USER", ""),
        "issue_type": os.environ.get("ACCEL_LIVE_JIRA_TYPE", "Task"),
    }
    return JiraSettings(**{**values, **changes})


def unreachable_jira() -> JiraConnector:
    """Return a connector to where nobody listens."""
    url = "http://127.0.0.1:9"
    return JiraConnector(JiraSettings(url=url, project="PERF", token=Secret("nobody-asks")))


def told(service: JiraServer, event: Event) -> int:
    """Return how often the issues about an event's subjects say it."""
    count = 0
    for item in items_of(event):
        mark = marker(item.message)
        for issue in service.labelled(item.label):
            count += sum(mark in text for text in (issue.description, *issue.texts))
    return count
