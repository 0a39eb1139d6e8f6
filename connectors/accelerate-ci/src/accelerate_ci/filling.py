# SPDX-License-Identifier: Apache-2.0
"""Pipeline files out of their templates in `files/`. Pure but for reading those.

`@word@` stands for a value; alone on its line, for several lines, each indented as it is.
"""

from __future__ import annotations

import functools
import itertools
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from .values import Plan

_FOLDER = Path(__file__).parent / "files"
#: What measures and compares, everywhere.
_DISTRIBUTIONS = (
    "accelerate-cpu", "accelerate-models", "accelerate-duckdb", "accelerate-insights",
    "accelerate-reports", "accelerate-schedulers", "accelerate-recovery", "accelerate-ci",
)  # fmt: skip


def fill(
    name: str,
    plan: Plan,
    escape: Callable[[str], str] = lambda line: line,
    fetch: Sequence[str] = (),
) -> str:
    """Return the template `name` with what the plan says.

    Commands are escaped for the language of the file; `fetch` are more options of
    `accel ci baseline`.
    """
    distributions = dict.fromkeys((*_DISTRIBUTIONS, *plan.distributions))
    lines: dict[str, Sequence[str]] = {
        "install": plan.install or (f"python -m pip install {' '.join(distributions)}",),
        "run": (f"accel run {shlex.quote(plan.file)}",),
        "gate": gate(plan, fetch),
        "artifacts": plan.artifacts,
        "paths": tuple(f"- {one}" for one in plan.artifacts),
    }
    words = {
        "branch": plan.branch,
        # "Predefined CI/CD variables" of GitLab: CI_COMMIT_REF_SLUG of that branch.
        "slug": re.sub(r"[^a-z0-9]", "-", plan.branch.lower())[:63].strip("-"),
        "command": plan.command,
        "database": plan.database,
        "artifact_list": ",".join(plan.artifacts),
        "shell_artifacts": shlex.join(plan.artifacts),
    }
    text = (_FOLDER / name).read_text(encoding="utf-8")
    for word, several in lines.items():
        text = re.sub(
            rf"^(.*?)@{word}@$",
            functools.partial(_indented, [escape(one) for one in several]),
            text,
            flags=re.MULTILINE,
        )
    return re.sub(r"@(\w+)@", lambda match: words[match[1]], text)


def opening(text: str) -> list[str]:
    """Return what the comment at the top of a pipeline file says, without how it was made."""
    marked = itertools.takewhile(lambda line: line.startswith(("#", "//")), text.splitlines())
    return [line.lstrip("#/ ") for line in marked][1:]


def _indented(lines: Sequence[str], match: re.Match[str]) -> str:
    return "\n".join(match[1] + one for one in lines)


def gate(plan: Plan, fetch: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the commands that compare with the branch: exit code 1 where something is slower."""
    database, branch = shlex.quote(plan.database), shlex.quote(plan.branch)
    options = shlex.join(("--output", "baseline.duckdb", *fetch))
    return (
        f"run=$(accel ci baseline --branch {branch} --database {database} {options})",
        'if [ -n "$run" ]; then',
        "  verdict=0",
        '  accel compare "$run" latest --db baseline.duckdb'
        f" --db-b {database} --markdown comparison.md || verdict=$?",
        "  if [ -f comparison.md ]; then accel ci comment comparison.md; fi",
        '  test "$verdict" = 0',
        "fi",
    )
