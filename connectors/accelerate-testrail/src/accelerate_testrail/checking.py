# SPDX-License-Identifier: Apache-2.0
"""Find what is wrong with an account, its rights and a project; nothing is written.

Whether something may be added, only trying tells: what is tried lacks what TestRail requires, so
that nothing comes of it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from accelerate_core.errors import ConnectorError

from .api import TestRail
from .plugin import TestRailSettings
from .project import fields, no_field

#: Each suite of one's own, or baselines of one ("Projects", `suite_mode`).
_SEVERAL = 3

_DISABLED = 'Turn on "Enable API" under "Administration", "Site Settings", "API".'
_ACCESS = 'Give the account access to the project, under "Administration", "Projects", "Access".'
_ROLE = "Give the account a role in the project that may"


def problems(rail: TestRail, settings: TestRailSettings) -> list[str]:
    """Return what is wrong, a sentence each."""
    project = settings.project
    try:
        # Every account may ask for them: who may not has no API at all.
        statuses = rail.get("get_statuses", hints={403: _DISABLED})
        about = rail.get(
            f"get_project/{project}",
            hints={400: f"Mend `project`: there is none with the number {project}.", 403: _ACCESS},
        )
        found = _unknown(settings, statuses)
    except ConnectorError as error:
        return [_sentence(error)]
    except (KeyError, TypeError):
        return ["the answer is not one of TestRail's. Mend `url` if that is another service."]
    if about.get("is_completed"):
        found.append(f"the project {project} is completed. Reopen it, or set another `project`.")
    for part in (_suite, _fields, _rights):
        found += _tried(part, rail, settings, about)
    return found


def _unknown(settings: TestRailSettings, statuses: list[dict[str, Any]]) -> list[str]:
    there = {one["id"]: one["label"] for one in statuses}
    named = ", ".join(f"{number} ({label})" for number, label in there.items())
    return [
        f"there is no status {number}. Set `statuses.{status}` to one of {named}."
        for status, number in settings.statuses.items()
        if number not in there
    ]


def _suite(rail: TestRail, settings: TestRailSettings, about: dict[str, Any]) -> list[str]:
    if settings.suite is None and about["suite_mode"] != _SEVERAL:
        return []
    suites = {
        one["id"]: one["name"] for one in rail.pages(f"get_suites/{settings.project}", "suites")
    }
    if settings.suite in suites:
        return []
    named = ", ".join(f"{number} ({name})" for number, name in suites.items()) or "none yet"
    what = "several suites" if settings.suite is None else f"no suite {settings.suite}"
    return [f"the project {settings.project} has {what}. Set `suite` to one of them: {named}."]


def _fields(rail: TestRail, settings: TestRailSettings, about: dict[str, Any]) -> list[str]:
    cases, results = fields(rail, "case", settings), fields(rail, "result", settings)
    found = [] if settings.id_field in cases else [_sentence(no_field(settings))]
    needed = [("Case", name) for name in cases if settings.create_cases and cases[name]]
    needed += [("Result", name) for name in results if results[name]]
    return found + [
        f"each {what.lower()} has to have {name!r}, and the connector knows no value. Let it be"
        f' empty, under "Administration", "Customizations", "{what} Fields".'
        for what, name in needed
        if name != settings.id_field
    ]


def _rights(rail: TestRail, settings: TestRailSettings, about: dict[str, Any]) -> list[str]:
    project = settings.project
    found = _may(rail, f"add_run/{project}", {"name": ""}, "add runs")
    if settings.create_cases:
        found += _may(rail, f"add_section/{project}", {"name": ""}, "add sections and cases")
    # Only where a run is open can adding nothing to it be tried.
    runs = rail.pages(f"get_runs/{project}", "runs", is_completed=0)
    for run in itertools.islice(runs, 1):
        method = f"add_results_for_cases/{run['id']}"
        found += _may(rail, method, {"results": []}, "add results")
    return found


def _may(rail: TestRail, method: str, body: Any, what: str) -> list[str]:
    try:
        rail.post(method, body, expected=(400,), hints={403: f"{_ROLE} {what}."})
    except ConnectorError as error:
        return [_sentence(error)]
    return []


def _tried(part: Callable[..., list[str]], *arguments: Any) -> list[str]:
    try:
        return part(*arguments)
    except ConnectorError as error:
        return [_sentence(error)]


def _sentence(error: ConnectorError) -> str:
    return f"{error.info.message}. {error.info.hint or ''}".rstrip()
