# SPDX-License-Identifier: Apache-2.0
"""What a project of TestRail holds: sections, cases, runs and results, each found or made."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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

_LISTS = {
    "tests": "get_tests",
    "results": "get_results_for_run",
    "attachments": "get_attachments_for_run",
}


@attrs.define(kw_only=True)
class Known:
    """Hold what was read: sections by their parent and name, cases by their automation id."""

    sections: dict[tuple[int | None, str], int]
    cases: dict[str, int]
    has_field: bool = False  #: it was asked for, and is there


class Project:
    """Find what is there, and make what is not.

    What was seen of a run is remembered until the event is told, so that one that failed goes on
    where it was. What a change was about is doubted after its failure.
    """

    def __init__(self, rail: TestRail, settings: TestRailSettings) -> None:
        self._rail = rail
        self._settings = settings
        self._suite = {"suite_id": settings.suite} if settings.suite else {}
        self._known: Known | None = None
        self._event = ""
        #: What is read of a run, and its number or id -> what was read, and changed since.
        self._seen: dict[tuple[str, int | str], Any] = {}

    @contextlib.contextmanager
    def telling(self, event: str) -> Iterator[None]:
        """Tell an event, by its key: look anew, unless that was tried just before and failed."""
        if event != self._event:
            self._event = event
            self._seen.clear()
        yield
        self._event = ""

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
        if ("run", run.id) not in self._seen:
            wanted = marks(mark(f"run:{run.id}"))
            for entry in self._runs(run.started_at - _CLOCKS):
                if wanted <= marks(entry["description"]):
                    self._seen["run", run.id] = entry
                    break
        return self._seen.get(("run", run.id))

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
        with self._changing("run", run.id):
            entry: Entry = self._rail.post(f"add_run/{self._settings.project}", body)
        number = entry["id"]
        self._seen |= {
            ("run", run.id): entry,
            ("tests", number): set(cases),
            ("results", number): set(),
            ("attachments", number): set(),
        }
        return entry

    def select(self, run: int, cases: Sequence[int]) -> None:
        """Add cases to those of a run."""
        there: set[int] = self._listed("tests", run, lambda one: [one["case_id"]])
        if not there.issuperset(cases):
            body = {"include_all": False, "case_ids": sorted(there.union(cases))}
            with self._changing("tests", run):
                self._rail.post(f"update_run/{run}", body)
            there.update(cases)

    def told(self, run: int) -> set[str]:
        """Return the marks of the results of a run."""
        return self._listed("results", run, lambda one: marks(one["comment"]))

    def add_results(self, run: int, results: Sequence[Mapping[str, Any]]) -> None:
        """Add results, which name their cases."""
        for start in range(0, len(results), PAGE):
            chunk = results[start : start + PAGE]
            method, body = f"add_results_for_cases/{run}", {"results": chunk}
            with self._changing("results", run):
                self._rail.post(method, body, hints={400: _RESULTS})
            self.told(run).update(*(marks(one["comment"]) for one in chunk))

    def attach(self, run: int, key: str, files: Sequence[Attachment]) -> None:
        """Attach files to a run, each once."""
        if not files:
            return
        there: set[str] = self._listed("attachments", run, lambda one: [one["name"]])
        for file in files:
            if (name := file_name(file, key)) not in there:
                with self._changing("attachments", run):
                    self._rail.upload(f"add_attachment_to_run/{run}", name, file)
                there.add(name)

    def close_run(self, run: int, told: str) -> None:
        """Close the run of a run: nothing can be added any more."""
        with self._changing("run", told):
            self._rail.post(f"close_run/{run}", {})

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
        with self._changing("cases", 0):
            case = self._rail.post(f"add_case/{parent}", body, hints={400: _CASES})
        known.cases[known_as] = number = int(case["id"])
        return number

    def _add_section(self, known: Known, parent: int | None, name: str) -> int:
        body = {**self._suite, "name": name, **({"parent_id": parent} if parent else {})}
        with self._changing("cases", 0):
            section = self._rail.post(f"add_section/{self._settings.project}", body)
        known.sections[parent, name] = number = int(section["id"])
        return number

    def _listed(self, what: str, run: int, take: Callable[[Entry], Iterable[Any]]) -> set[Any]:
        """Return what is taken of a list of a run."""
        if (what, run) not in self._seen:
            method = _LISTS[what]
            found = self._rail.pages(f"{method}/{run}", what)
            self._seen[what, run] = {taken for one in found for taken in take(one)}
        seen: set[Any] = self._seen[what, run]
        return seen

    @contextlib.contextmanager
    def _changing(self, what: str, which: int | str) -> Iterator[None]:
        """Doubt what a change that fails is about; all, where it cannot be: that may be gone."""
        try:
            yield
        except ConnectorError as error:
            self._seen.pop((what, which), None)
            if not error.info.retryable:
                self._seen.clear()
            if what == "cases" or not error.info.retryable:
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
