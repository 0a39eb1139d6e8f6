# SPDX-License-Identifier: Apache-2.0
"""Who has pull requests and commits: comments that are replaced, and statuses.

Apart from CI systems, because a job of one may be about code that another one hosts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol
from urllib.parse import quote

from ..values import Job, Shown

#: Characters of a comment that are kept for its marker.
MARKER = 1000


class Host(Protocol):
    """Have the pull request and the commit of a job."""

    #: Characters of the longest comment.
    most: int

    def comment(self, name: str, text: str) -> str | None:
        """Show Markdown in the pull request, in place of what `name` showed; return its address.

        ConnectorError where that cannot be, with the right that is missing.
        """
        ...

    def status(self, shown: Shown, link: str | None) -> None:
        """Say of the commit whether the run is good; ConnectorError as above."""
        ...

    def check(self) -> Sequence[str]:
        """Return what is missing to do both; empty when nothing is."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...


def marker(name: str) -> str:
    """Return what tells our comment from others, and shows nowhere; safe in HTML comments."""
    return f"accelerate:{quote(name, safe='').replace('-', '%2D')}"


def host_of(job: Job, environ: Mapping[str, str]) -> Host | None:
    """Return the host of a job's code; None where it is not known whose it is."""
    if job.repository is None:
        return None
    if job.host == "github":
        from .github import GitHubHost

        return GitHubHost(job, environ)
    if job.host == "gitlab":
        from .gitlab import GitLabHost

        return GitLabHost(job, environ)
    if job.host == "bitbucket":
        from .bitbucket import BitbucketHost

        return BitbucketHost(job, environ)
    if job.host == "azure":
        from .azure import AzureHost

        return AzureHost(job, environ)
    return None
