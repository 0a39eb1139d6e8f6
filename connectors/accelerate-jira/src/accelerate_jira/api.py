# SPDX-License-Identifier: Apache-2.0
"""Calls of JIRA's REST API, through its client."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from jira import JIRA, JIRAError

from accelerate_core.delivering.message import Message
from accelerate_core.events import Attachment

from . import adf, markup
from .fitting import marker, with_title
from .moving import Field, Move
from .plugin import JiraSettings
from .refusals import SCREEN, typed
from .values import Issue

#: How long JIRA may take to connect and to answer.
_TIMEOUT_S = (10.0, 30.0)
_PAGE = 100


class Client(JIRA):
    """Log in as the settings say, and do what `jira` does not.

    Its own `add_remote_link` asks for application links first, which only administrators may.
    """

    def __init__(self, settings: JiraSettings) -> None:
        token = settings.token.reveal()
        super().__init__(
            options={"server": settings.url},
            basic_auth=(settings.user, token) if settings.user else None,
            token_auth=None if settings.user else token,
            # The outbox tries again, and says so; the client would sleep and log.
            max_retries=0,
            timeout=_TIMEOUT_S,
            logging=False,
        )
        if self.is_cloud:
            self._options["rest_api_version"] = "3"

    @property
    def is_cloud(self) -> bool:
        """Whether it is Atlassian's; else it is a Data Center or Server of somebody else's."""
        return self._is_cloud

    def put_link(self, issue: str, data: Mapping[str, Any]) -> None:
        """Link an issue to an address, in place of an earlier link with the same `globalId`."""
        self._session.post(self._get_url(f"issue/{issue}/remotelink"), data=json.dumps(data))

    def get(self, path: str, **parameters: str) -> Any:
        """Return what a resource holds."""
        return self._get_json(path, params=parameters)


class Site:
    """Ask one site as one account; ConnectorError for all that goes wrong."""

    def __init__(self, settings: JiraSettings) -> None:
        self._settings = settings
        with typed():
            self.client = Client(settings)

    def close(self) -> None:
        """Close the connections."""
        self.client.close()  # type: ignore[no-untyped-call]

    def address(self, key: str) -> str:
        """Return where people see an issue."""
        return f"{self._settings.url.rstrip('/')}/browse/{key}"

    def body(self, message: Message) -> Any:
        """Return a description or comment as this site takes it."""
        return adf.document(message) if self.client.is_cloud else markup.text(message)

    def issue(self, identity: str) -> Issue | None:
        """Return an issue; None when there is none, or none to see."""
        with typed():
            try:
                found = self.client.issue(identity, fields="status,attachment,description").raw
            except JIRAError as error:
                if error.status_code == 404:
                    return None
                raise
        fields = found["fields"]
        return Issue(
            id=str(found["id"]),
            key=found["key"],
            category=fields["status"]["statusCategory"]["key"],
            files=frozenset(one["filename"] for one in fields.get("attachment") or ()),
            description=json.dumps(fields.get("description")),
        )

    def search(self, label: str) -> list[str]:
        """Return the ids of issues with a label, the oldest first, as far as the search knows."""
        jql = f'project = "{self._settings.project}" AND labels = "{label}" ORDER BY created ASC'
        return [str(one["id"]) for one in self.find(jql)]

    def find(self, jql: str, most: int = 10) -> list[dict[str, Any]]:
        """Return the issues of a query, without any field."""
        with typed():
            # Ids only; the client asks Cloud what fields there are where any is named.
            fields: list[str] = [] if self.client.is_cloud else ["id"]
            answer: Any = self.client.search_issues(
                jql, maxResults=most, fields=fields, json_result=True
            )
        found: list[dict[str, Any]] = answer["issues"]
        return found

    def create(self, summary: str, label: str, message: Message) -> str:
        """Return the id of a new issue."""
        settings = self._settings
        described = message if message.title == summary else with_title(message)
        fields: dict[str, Any] = {
            "project": {"key": settings.project},
            "issuetype": {"name": settings.issue_type},
            "summary": summary,
            "description": self.body(described),
            "labels": [label, *settings.labels],
            **settings.fields,
        }
        with typed():
            return str(self.client.create_issue(fields, prefetch=False).id)

    def was_told(self, issue: Issue, message: Message) -> bool:
        """Whether an issue says a message: in its description, or in a comment."""
        mark = marker(message)
        if mark in issue.description:
            return True
        start = 0
        while True:
            with typed():
                page = self.client.comments(
                    issue.id, start_at=start, max_results=_PAGE, order_by="-created"
                )
            if any(mark in json.dumps(one.raw["body"]) for one in page):
                return True
            if len(page) < _PAGE:
                return False
            start += len(page)

    def comment(self, issue: Issue, message: Message) -> None:
        """Tell a message."""
        body = self.body(with_title(message))
        with typed():
            self.client.add_comment(issue.id, body)

    def attach(self, issue: Issue, name: str, file: Attachment) -> None:
        """Attach a file."""
        with typed():
            self.client.add_attachment(issue.id, io.BytesIO(file.data), filename=name)

    def link(self, issue: Issue, identity: str, address: str, title: str) -> None:
        """Link to an address, in place of an earlier one with the same identity."""
        data = {"globalId": identity, "object": {"url": address, "title": title}}
        with typed():
            self.client.put_link(issue.id, data)

    def moves(self, identity: str) -> list[Move]:
        """Return the transitions that are open to the account."""
        with typed():
            found = self.client.transitions(identity, expand="transitions.fields")
        return [
            Move(
                id=one["id"],
                status=one["to"]["name"],
                category=one["to"]["statusCategory"]["key"],
                fields={key: Field.of(raw) for key, raw in (one.get("fields") or {}).items()},
            )
            for one in found
        ]

    def move(self, issue: Issue, move: Move, fields: dict[str, Any]) -> None:
        """Do a transition, with what its screen asks for."""
        with typed({400: SCREEN}):
            self.client.transition_issue(issue.id, move.id, fields=fields)

    def get(self, path: str, **parameters: str) -> Any:
        """Return what a resource holds."""
        with typed():
            return self.client.get(path, **parameters)

    def has_project(self) -> bool:
        """Whether the account sees the project."""
        with typed():
            try:
                self.client.project(self._settings.project)
            except JIRAError as error:
                if error.status_code == 404:
                    return False
                raise
        return True

    def pages(self, path: str, names: Sequence[str]) -> list[Any]:
        """Return all of a list whose key is one of `names`: Cloud and Data Center differ."""
        found: list[Any] = []
        while True:
            page = self.get(path, startAt=str(len(found)), maxResults=str(_PAGE))
            values: list[Any] = next((page[name] for name in names if name in page), [])
            found += values
            if not values or len(found) >= page.get("total", 0):
                return found
