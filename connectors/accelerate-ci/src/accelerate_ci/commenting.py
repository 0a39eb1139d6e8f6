# SPDX-License-Identifier: Apache-2.0
"""Markdown of other commands, shown in the job and its pull request."""

from __future__ import annotations

import contextlib
from pathlib import Path

from accelerate_core.errors import ConfigError, ConnectorError

from .detecting import Here
from .hosts import MARKER
from .rendering import fitted
from .writing import write


def show(here: Here, file: Path, name: str) -> list[str]:
    """Show a file; return sentences for people. ConfigError, or ConnectorError without rights."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"it cannot be read: {error}", where=str(file)) from None
    write(here.provider.summarize(text, name, here.environ))
    job = here.job
    if job.pull_request is None:
        return ["This job is of no pull request: there is no comment."]
    try:
        host = here.provider.host(job, here.environ)
        if host is None:
            return [f"Nobody can be asked for pull request {job.pull_request}: no comment."]
        with contextlib.closing(host):
            url = host.comment(name, fitted(text, host.most - MARKER, job.job_url))
    except ConnectorError as error:
        if job.is_fork and not error.info.retryable:
            return [f"No comment: jobs of forks have no rights here ({error.info.message})."]
        raise
    return [f"Shown in {url or f'pull request {job.pull_request}'}."]
