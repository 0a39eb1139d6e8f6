# SPDX-License-Identifier: Apache-2.0
"""What is known of a CI job, and what it is to show. Values; nothing is done here."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import attrs

from accelerate_core.types import RunSummary


@attrs.frozen(kw_only=True)
class Job:
    """Say where this process runs. What the CI system does not say is None."""

    provider: str  #: name of the plugin that knows it: "github"
    commit: str | None = None  #: what was pushed; never a merge made for the job
    branch: str | None = None  #: where that commit is; of a pull request, where it comes from
    target: str | None = None  #: branch that the pull request wants into
    pull_request: int | None = None
    job: str | None = None
    job_url: str | None = None
    build: str | None = None  #: number people see
    repository: str | None = None  #: as its host calls it: "owner/name"
    host: str | None = None  #: whose commits and pull requests they are: github, gitlab, ...
    is_fork: bool = False  #: the pull request is of a repository without rights here

    def metadata(self) -> dict[str, Any]:
        """Return what runs and measurements keep of it; what is not known is left out."""
        names = ("provider", "commit", "branch", "pull_request", "job", "job_url", "build")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def number_of(text: str | None) -> int | None:
    """Return the number of a pull request; None for what is none."""
    return int(text) if text and text.isdecimal() else None


@attrs.frozen(kw_only=True)
class Finding:
    """Say one thing that people should look at."""

    title: str
    text: str = ""
    level: str = "error"  #: or "warning", "notice"


@attrs.frozen(kw_only=True)
class Shown:
    """Hold what a job shows of a run, before any system's markup."""

    name: str  #: of the pipeline: what was shown under it before is replaced
    title: str
    is_failed: bool
    markdown: str  #: the whole, escaped
    summary: RunSummary
    key: str  #: of the event: what has it is not shown twice
    findings: tuple[Finding, ...] = ()


@attrs.frozen
class Line:
    """A line for the job's log, where systems read commands."""

    text: str


@attrs.frozen(kw_only=True)
class File:
    """A file that a system reads."""

    path: Path
    text: str
    is_appended: bool = False  #: unless it holds `key` already
    key: str = ""


Output: TypeAlias = Line | File


@attrs.frozen(kw_only=True)
class Plan:
    """Say what a pipeline file is to do."""

    file: str  #: pipeline file of accelerate, as the job sees it
    database: str
    artifacts: tuple[str, ...]  #: files to keep, the database among them
    branch: str = "main"  #: what pull requests are compared with
    install: tuple[str, ...] = ()  #: commands, one a line
    distributions: tuple[str, ...] = ()  #: what the file uses; installed where no command is
    command: str = ""  #: by which the file was made
