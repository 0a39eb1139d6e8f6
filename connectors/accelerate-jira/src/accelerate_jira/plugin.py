# SPDX-License-Identifier: Apache-2.0
"""JIRA as a connector, and the table it keeps in the store."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
from attrs import validators

from accelerate_core.addresses import is_server
from accelerate_core.errors import ConfigError
from accelerate_core.markers import hookimpl
from accelerate_core.protocols import Connector, TableSet
from accelerate_core.secrets import Secret

from .moving import Goal

if TYPE_CHECKING:
    from accelerate_core.protocols import Context


def _is_project(instance: object, attribute: object, value: str) -> None:
    if not re.fullmatch(r"[A-Z][A-Z0-9_]{1,254}", value):
        raise ConfigError(
            f"{value!r} is no key of a project",
            where="project",
            accepted=('"PERF"',),
            hint="The key stands before the number of each issue: PERF in PERF-12.",
        )


def _are_labels(instance: object, attribute: object, value: tuple[str, ...]) -> None:
    for one in value:
        if not re.fullmatch(r"\S{1,255}", one):
            raise ConfigError(
                f"JIRA takes no label {one!r}",
                where="labels",
                hint="Labels have 1 to 255 characters and no spaces.",
            )


def _are_more(instance: object, attribute: object, value: Mapping[str, Any]) -> None:
    for one in ("project", "issuetype", "summary", "description", "labels"):
        if one in value:
            raise ConfigError(
                f"the field {one!r} is set by the connector",
                where="fields",
                hint="There are settings of their own for `project`, `issue_type` and `labels`.",
            )


def _are_json(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    """Refuse what has no JSON: TOML has dates and times of its own."""
    for one in value.values() if isinstance(value, Mapping) else value:
        if isinstance(one, Mapping | list):
            _are_json(instance, attribute, one)
        elif not isinstance(one, str | int | float):
            raise ConfigError(
                f"JIRA takes no {type(one).__name__}: {one}",
                where=attribute.name,
                hint=f'Write it as a text: "{one}".',
            )


@attrs.frozen(kw_only=True)
class JiraSettings:
    """Say where issues are made, as whom, and of which kind."""

    #: The site: "https://example.atlassian.net" (Cloud), "https://jira.example.com" (Data Center).
    url: str = attrs.field(
        validator=is_server(
            '"https://example.atlassian.net"',
            '"https://jira.example.com"',
            credentials="`user` and `token`",
        )
    )
    #: Key of the project, as in PERF-12.
    project: str = attrs.field(validator=_is_project)
    #: API token (Cloud) or personal access token (Data Center), as `env:NAME`, `file:PATH` or
    #: `keyring:SERVICE/USER`.
    token: Secret
    #: E-mail address of the token's account; none for a personal access token.
    user: str = ""
    #: Type of the issues that are made.
    issue_type: str = attrs.field(default="Task", validator=validators.min_len(1))
    #: Labels of the issues that are made, besides the one by which they are found again.
    labels: tuple[str, ...] = attrs.field(default=(), validator=_are_labels)
    #: More fields of the issues that are made, as JIRA's API takes them.
    fields: Mapping[str, Any] = attrs.field(factory=dict, validator=[_are_more, _are_json])
    #: Status of what is fixed; any status of the category "Done" where none is named.
    fixed_status: str = ""
    #: Fields that the transition of what is fixed needs, as JIRA's API takes them.
    fixed_fields: Mapping[str, Any] = attrs.field(factory=dict, validator=_are_json)
    #: Status of what is back; any status of the category "To Do", or else "In Progress".
    open_status: str = ""
    #: Fields that the transition of what is back needs.
    open_fields: Mapping[str, Any] = attrs.field(factory=dict, validator=_are_json)
    #: How long the search may not show a new issue [s]: after a lost answer none is made sooner.
    search_lag_s: float = attrs.field(
        default=120.0, validator=[validators.ge(0.0), validators.le(3600.0)]
    )

    # Categories have these keys everywhere ("Get all status categories").

    @property
    def when_fixed(self) -> Goal:
        """Where issues go whose subject is well again."""
        return Goal(
            name="fixed",
            status=self.fixed_status,
            categories=("done",),
            fields=self.fixed_fields,
        )

    @property
    def when_back(self) -> Goal:
        """Where issues go whose subject is bad again."""
        return Goal(
            name="open",
            status=self.open_status,
            categories=("new", "indeterminate"),
            fields=self.open_fields,
        )


class JiraPlugin:
    """Make the connector."""

    name = "jira"
    settings = JiraSettings

    @hookimpl
    def connector_create(self, settings: JiraSettings, ctx: Context) -> Connector:
        """Return the connector; nobody is asked yet."""
        from .connector import JiraConnector

        return JiraConnector(settings)


class JiraTables:
    """Contribute the table `jira_issues` to the store."""

    name = "jira"

    @hookimpl
    def store_tables(self) -> Sequence[TableSet]:
        """Return which issue is about what."""
        from .known import TABLES

        return (TABLES,)
