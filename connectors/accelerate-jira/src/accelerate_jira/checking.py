# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a site, an account and the settings, before anything has to be told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from accelerate_core.errors import ConnectorError

from . import moving
from .api import Site
from .plugin import JiraSettings
from .refusals import TOKEN

#: Permissions by their keys ("Built-in permissions"), and what each is for.
_RIGHTS = {
    "BROWSE_PROJECTS": ("Browse Projects", "find issues"),
    "CREATE_ISSUES": ("Create Issues", "make issues"),
    "ADD_COMMENTS": ("Add Comments", "say what is new"),
    "CREATE_ATTACHMENTS": ("Create Attachments", "attach pictures"),
    "LINK_ISSUES": ("Link Issues", "link to reports"),
    "TRANSITION_ISSUES": ("Transition Issues", "close what is fixed"),
}
#: Fields that every issue gets from here.
_GIVEN = ("project", "issuetype", "summary", "description", "labels")


def problems(site: Site, settings: JiraSettings) -> list[str]:
    """Return a sentence for each setting and right that is wrong; ConnectorError as ever."""
    try:
        name = _account(site)
    except ConnectorError as error:
        if error.info.retryable:
            raise
        return [f"JIRA does not take these credentials: {error.info.message}. {TOKEN}"]
    if not site.has_project():
        return [
            f"`project`: there is no project {settings.project!r}, or {name} may not see it: mend"
            " the key, or have an administrator of the project give Browse Projects."
        ]
    found = [*_rights(site, settings, name), *_attachments(site)]
    if any("Create Issues" in one or "Browse Projects" in one for one in found):
        return found  # what can be made is only shown to who may
    return [*found, *_made(site, settings)]


def _account(site: Site) -> str:
    account = site.get("myself")
    return str(account.get("displayName") or account.get("name") or "the account")


def _rights(site: Site, settings: JiraSettings, name: str) -> Iterator[str]:
    kept = site.get("mypermissions", projectKey=settings.project, permissions=",".join(_RIGHTS))[
        "permissions"
    ]
    for key, (right, purpose) in _RIGHTS.items():
        if not kept.get(key, {}).get("havePermission"):
            yield (
                f"{name} lacks the permission {right} in {settings.project}, to {purpose}: have an"
                " administrator of the project give it."
            )


def _attachments(site: Site) -> Iterator[str]:
    if not site.get("attachment/meta")["enabled"]:
        yield (
            "attachments are turned off, and pictures could not be told: have an administrator of"
            " the site turn them on."
        )


def _made(site: Site, settings: JiraSettings) -> Iterator[str]:
    path = f"issue/createmeta/{settings.project}/issuetypes"
    types = [one for one in site.pages(path, ("issueTypes", "values")) if not one.get("subtask")]
    for one in types:
        if one["name"].casefold() == settings.issue_type.casefold():
            fields = site.pages(f"{path}/{one['id']}", ("fields", "values"))
            yield from _fields(settings, fields)
            yield from _moves(site, settings)
            return
    names = ", ".join(sorted(one["name"] for one in types))
    yield (
        f"`issue_type`: {settings.project} has no type {settings.issue_type!r}; accepted: {names}."
    )


def _fields(settings: JiraSettings, fields: list[dict[str, Any]]) -> Iterator[str]:
    known = {str(one.get("fieldId") or one.get("key")): one for one in fields}
    for key, one in known.items():
        is_given = key in _GIVEN or key in settings.fields
        if one.get("required") and not one.get("hasDefaultValue") and not is_given:
            yield (
                f"`fields`: {settings.issue_type} needs a value of {one.get('name')!r}:"
                f" fields = {{ {key} = ... }}."
            )
    for key in (*_GIVEN[2:], *settings.fields):
        if key not in known:
            yield (
                f"{'`fields`' if key in settings.fields else 'The project'}: the field {key!r} is"
                f" not on the screen that makes a {settings.issue_type}: have an administrator put"
                " it there" + (", or leave it out." if key in settings.fields else ".")
            )


def _moves(site: Site, settings: JiraSettings) -> Iterator[str]:
    """Look where issues that are there may go: JIRA shows transitions of issues, not of types."""
    for goal, now in ((settings.when_fixed, "!= Done"), (settings.when_back, "= Done")):
        found = site.find(
            f'project = "{settings.project}" AND issuetype = {json.dumps(settings.issue_type)}'
            f" AND statusCategory {now} ORDER BY created DESC",
            most=1,
        )
        for one in found:
            if moves := site.moves(str(one["id"])):  # none without the right, which is named
                yield from moving.problems(moves, goal)
