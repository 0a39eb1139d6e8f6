# SPDX-License-Identifier: Apache-2.0
"""What a project of TestRail holds: sections, cases, runs and results, each found or made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from accelerate_core.errors import ConnectorError
from accelerate_core.events import Attachment
from accelerate_core.types import Cell, Measurement, RunInfo

from .api import PAGE, TestRail
from .plugin import TestRailSettings
from .rendering import (
    automation_id,
    file_name,
    line,
    mark,
    marks,
    path,
    run_description,
    run_name,
)

#: By how much TestRail's clock may be behind.
_CLOCKS = timedelta(days=1)
_CASES = (
    "Does a custom field of cases that the connector does not know have to be filled in? Let it be "
    "empty, or make the cases by hand and set `create_cases = false`."
)
_RESULTS = (
    "Was a case deleted? Then try again. Does a custom field of results have to be filled in? Let "
    "it be empty; `accel connectors check` names it."
)

Entry = dict[str, Any]


@attrs.define(kw_only=True)
class Known:
    """Hold what was read: sections by their parent and name, cases by their automation id."""

    sections: dict[tuple[int | None, str], int]
    cases: dict[str, int]
    has_field: bool = False  #: it was asked for, and is there


class Project:
    """Find what is there, and make what is not. What is remembered is doubted after a failure."""

    def __init__(self, rail: TestRail, settings: TestRailSettings) -> None:
        self._rail = rail
        self._settings = settings
        self._suite = {"suite_id": settings.suite} if settings.suite else {}
        self._known: Known | None = None

    def cases(self, measurements: Sequence[Measurement]) -> dict[Cell, int]:
        """Return the cases of cells; those without one are left out unless cases are made."""
        known = self._known = self._known or self._read()
        found: dict[Cell, int] = {}
        for one in measurements:
            case = known.cases.get(automation_id(one.cell))
            if case is None and self._settings.create_cases:
                case = self._add_case(known, one)
            if case is not None:
                found[one.cell] = case
        return found

    def find_run(self, run: RunInfo) -> Entry | None:
        """Return TestRail's run of a run."""
        wanted = marks(mark(f"run:{run.id}"))
        for entry in self._runs(run.started_at - _CLOCKS):
            if wanted <= marks(entry["description"]):
                return entry
        return None

    def add_run(
        self, run: RunInfo, cases: Sequence[int], caseless: Sequence[Cell], link: str | None
    ) -> Entry:
        """Make the run."""
        body = {
            **self._suite,
            "name": run_name(run),
            "description": run_description(run, caseless, link),
            "include_all": False,
            "case_ids": sorted(set(cases)),
        }
        entry: Entry = self._change(f"add_run/{self._settings.project}", body)
        return entry

    def select(self, run: int, cases: Sequence[int]) -> None:
        """Add cases to those of a run."""
        there = {test["case_id"] for test in self._rail.pages(f"get_tests/{run}", "tests")}
        if not there.issuperset(cases):
            body = {"include_all": False, "case_ids": sorted(there.union(cases))}
            self._change(f"update_run/{run}", body)

    def told(self, run: int) -> set[str]:
        """Return the marks of the results of a run."""
        results = self._rail.pages(f"get_results_for_run/{run}", "results")
        return {found for one in results for found in marks(one["comment"])}

    def add_results(self, run: int, results: Sequence[Mapping[str, Any]]) -> None:
        """Add results, which name their cases."""
        for start in range(0, len(results), PAGE):
            chunk = results[start : start + PAGE]
            body = {"results": chunk}
            self._change(f"add_results_for_cases/{run}", body, hints={400: _RESULTS})

    def attach(self, run: int, key: str, files: Sequence[Attachment]) -> None:
        """Attach files to a run, each once."""
        if not files:
            return
        attached = self._rail.pages(f"get_attachments_for_run/{run}", "attachments")
        there = {one["name"] for one in attached}
        for file in files:
            if (name := file_name(file, key)) not in there:
                self._rail.upload(f"add_attachment_to_run/{run}", name, file)

    def close_run(self, run: int) -> None:
        """Close a run: nothing can be added any more."""
        self._change(f"close_run/{run}", {})

    def _runs(self, since: datetime) -> Sequence[Entry]:
        after = int(since.timestamp())
        method = f"get_runs/{self._settings.project}"
        return list(self._rail.pages(method, "runs", created_after=after))

    def _read(self) -> Known:
        settings, suite = self._settings, self._suite
        sections: dict[tuple[int | None, str], int] = {}
        cases: dict[str, int] = {}
        for one in self._rail.pages(f"get_sections/{settings.project}", "sections", **suite):
            sections.setdefault((one["parent_id"], one["name"]), one["id"])
        # The whole suite: filters by custom fields are passed over, and people move cases.
        for one in self._rail.pages(f"get_cases/{settings.project}", "cases", **suite):
            if found := one.get(settings.id_field):
                cases.setdefault(found, one["id"])
        return Known(sections=sections, cases=cases)

    def _add_case(self, known: Known, one: Measurement) -> int:
        if not known.has_field:
            # TestRail passes over fields it does not know: the case would never be found again.
            if self._settings.id_field not in fields(self._rail, "case", self._settings):
                raise no_field(self._settings)
            known.has_field = True
        parent: int | None = None
        for name in path(one):
            parent = known.sections.get((parent, name)) or self._add_section(known, parent, name)
        known_as = automation_id(one.cell)
        body = {"title": line(str(one.cell)), self._settings.id_field: known_as}
        case = self._change(f"add_case/{parent}", body, hints={400: _CASES})
        known.cases[known_as] = number = int(case["id"])
        return number

    def _add_section(self, known: Known, parent: int | None, name: str) -> int:
        body = {**self._suite, "name": name, **({"parent_id": parent} if parent else {})}
        section = self._change(f"add_section/{self._settings.project}", body)
        known.sections[parent, name] = number = int(section["id"])
        return number

    def _change(self, method: str, body: Any, hints: Mapping[int, str] | None = None) -> Any:
        try:
            return self._rail.post(method, body, hints=hints)
        except ConnectorError:
            # It may have been done, or what it was about is gone.
            self._known = None
            raise


def fields(rail: TestRail, what: str, settings: TestRailSettings) -> dict[str, bool]:
    """Return the custom fields of each "case" or "result", and which have to be filled in."""
    found: dict[str, bool] = {}
    for one in rail.get(f"get_{what}_fields"):
        for config in one["configs"]:
            context, options = config["context"], config.get("options") or {}
            is_here = context["is_global"] or settings.project in (context["project_ids"] or ())
            if is_here and one.get("is_active", True):
                is_needed = options.get("is_required") and not options.get("default_value")
                # One that not all templates have may not be asked for.
                found[one["system_name"]] = bool(is_needed and one.get("include_all", True))
    return found


def no_field(settings: TestRailSettings) -> ConnectorError:
    """Return the error for a field of cases that is not there."""
    return ConnectorError(
        f"cases of project {settings.project} have no field {settings.id_field!r}",
        where="testrail",
        hint='Add one under "Administration", "Customizations", "Case Fields": type "String", '
        f'system name "{settings.id_field.removeprefix("custom_")}", for this project; '
        "or set `id_field` to another's.",
        retryable=False,
    )
