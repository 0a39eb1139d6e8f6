# SPDX-License-Identifier: Apache-2.0
"""Which issue is about what. JIRA's search shows new issues late; this knows them at once."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

import attrs

from accelerate_core.protocols import Migration, Store, TableSet

_V1 = """
CREATE TABLE jira_issues (
    site VARCHAR NOT NULL,
    project VARCHAR NOT NULL,
    subject VARCHAR NOT NULL,
    asked_at TIMESTAMP NOT NULL,
    issue VARCHAR,
    PRIMARY KEY (site, project, subject)
);
"""

_V2 = "ALTER TABLE jira_issues ADD COLUMN fixed_by VARCHAR;"

TABLES = TableSet(
    namespace="jira",
    migrations=(Migration(version=1, sql=_V1), Migration(version=2, sql=_V2)),
    meanings={
        "jira_issues": "One row for each issue that the connector `jira` made or asked for.",
        "jira_issues.site": "Address of the site",
        "jira_issues.project": "Key of the project",
        "jira_issues.subject": "What the issue is about",
        "jira_issues.asked_at": "When JIRA was asked to make it",
        "jira_issues.issue": "Id of the issue; NULL: JIRA was asked, and no answer came",
        "jira_issues.fixed_by": "Key of the event that told that it is well; NULL: it is not",
    },
)


@attrs.frozen(kw_only=True)
class Known:
    """What is known of the issue about a subject: its id, or when JIRA was asked to make it."""

    asked_at: datetime  #: UTC
    issue: str | None = None
    fixed_by: str | None = None  #: key of the event that told that it is well


class Memory(Protocol):
    """Remember issues by subject."""

    def get(self, subject: str) -> Known | None:
        """Return what is known; None when nothing is."""
        ...

    def put(self, subject: str, known: Known) -> None:
        """Keep what is known now."""
        ...

    def forget(self, subject: str) -> None:
        """Know nothing any more."""
        ...

    def unfixed(self, event: str) -> set[str]:
        """Return the subjects that no event but this one, by its key, told to be well."""
        ...


class ProcessMemory:
    """Remember until the process ends, as everything of a run without `[store]`."""

    def __init__(self) -> None:
        self._known: dict[str, Known] = {}

    def get(self, subject: str) -> Known | None:
        """Return what is known; None when nothing is."""
        return self._known.get(subject)

    def put(self, subject: str, known: Known) -> None:
        """Keep what is known now."""
        self._known[subject] = known

    def forget(self, subject: str) -> None:
        """Know nothing any more."""
        self._known.pop(subject, None)

    def unfixed(self, event: str) -> set[str]:
        """Return the subjects that no event but this one, by its key, told to be well."""
        return {name for name, one in self._known.items() if one.fixed_by in (None, event)}


class StoredMemory:
    """Remember in the store, so that the next process knows what this one had asked for."""

    def __init__(self, store: Store, site: str, project: str) -> None:
        self._store = store
        self._place = [site, project]

    def get(self, subject: str) -> Known | None:
        """Return what is known; None when nothing is."""
        found = self._store.query(
            "SELECT asked_at, issue, fixed_by FROM jira_issues"
            " WHERE site = ? AND project = ? AND subject = ?",
            [*self._place, subject],
        )
        if not found.rows:
            return None
        ((asked_at, issue, fixed_by),) = found.rows
        return Known(asked_at=asked_at.replace(tzinfo=UTC), issue=issue, fixed_by=fixed_by)

    def put(self, subject: str, known: Known) -> None:
        """Keep what is known now."""
        asked_at = known.asked_at.astimezone(UTC).replace(tzinfo=None)
        with self._store.transaction() as transaction:
            transaction.execute(
                "INSERT INTO jira_issues (site, project, subject, asked_at, issue, fixed_by)"
                " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET asked_at = excluded.asked_at,"
                " issue = excluded.issue, fixed_by = excluded.fixed_by",
                [*self._place, subject, asked_at, known.issue, known.fixed_by],
            )

    def forget(self, subject: str) -> None:
        """Know nothing any more."""
        with self._store.transaction() as transaction:
            transaction.execute(
                "DELETE FROM jira_issues WHERE site = ? AND project = ? AND subject = ?",
                [*self._place, subject],
            )

    def unfixed(self, event: str) -> set[str]:
        """Return the subjects that no event but this one, by its key, told to be well."""
        found = self._store.query(
            "SELECT subject FROM jira_issues"
            " WHERE site = ? AND project = ? AND (fixed_by IS NULL OR fixed_by = ?)",
            [*self._place, event],
        )
        return {subject for (subject,) in found.rows}
