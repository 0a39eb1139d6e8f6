# SPDX-License-Identifier: Apache-2.0
"""Hooks of the `ci_providers` family: one CI system each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate_core.errors import Unsupported
from accelerate_core.markers import hookspec
from accelerate_core.protocols import Context

from ..values import Finding, Job, Output, Plan, Shown

if TYPE_CHECKING:
    from ..hosts import Host


class Provider:
    """One CI system. What it reads is the environment, and files that the environment names."""

    title = ""  #: as people call it: "GitHub Actions"
    path = ""  #: where its pipeline file lies in a repository

    def detect(self, environ: Mapping[str, str]) -> Job | None:
        """Return the job that this process runs in; None where that is not this system."""
        raise Unsupported("this CI system does not say how it is known")

    def annotate(self, findings: Iterable[Finding], environ: Mapping[str, str]) -> list[Output]:
        """Return what shows findings beside the log; pure."""
        return []

    def summarize(self, text: str, key: str, environ: Mapping[str, str]) -> list[Output]:
        """Return what shows Markdown on the page of the job, once for each key; pure."""
        return []

    def report(self, shown: Shown, environ: Mapping[str, str]) -> list[Output]:
        """Return what makes every cell a test, where the system reads tests; pure."""
        return []

    def host(self, job: Job, environ: Mapping[str, str]) -> Host | None:
        """Return who has the pull request and the commit; None where nobody can be asked."""
        from ..hosts import host_of

        return host_of(job, environ)

    def baseline(
        self, job: Job, environ: Mapping[str, str], branch: str, name: str, output: Path
    ) -> bool:
        """Write the database `name` of a branch's last good run to `output`; False: there is none.

        ConnectorError where it may not be had, with the right that is missing.
        """
        raise Unsupported(
            f"{self.title} keeps no files of other jobs",
            hint="Keep the database in its cache, as the file of `accel ci init` does.",
        )

    def upload(self, job: Job, environ: Mapping[str, str], files: Iterable[Path]) -> list[Output]:
        """Keep files, or return what makes the system keep them."""
        raise Unsupported(
            f"{self.title} takes no files from inside a job",
            hint="Its pipeline file says what is kept; `accel ci init` writes one that does.",
        )

    def pipeline(self, plan: Plan) -> str:
        """Return a pipeline file that measures, compares, and keeps what it found; pure."""
        raise Unsupported(f"nobody wrote a pipeline file for {self.title}")


@hookspec(firstresult=True)
def ci_provider_create(settings: Any, ctx: Context) -> Provider:  # type: ignore[empty-body]
    """Return the CI system; nothing is asked yet."""
