# SPDX-License-Identifier: Apache-2.0
"""What a pipeline file of a CI system is to do, out of the pipeline file that it runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from accelerate_core.config import Config, load
from accelerate_core.errors import ConfigError
from accelerate_core.host import Host

from .values import Plan

_DATABASE = "results.duckdb"
#: Others mean something to the files' languages, or to patterns of branches in them.
_BRANCH = re.compile(r"\w[\w./-]*", re.ASCII)


def plan(
    provider: str, file: Path, *, branch: str, install: Sequence[str]
) -> tuple[Plan, list[str]]:
    """Return the plan, and what people should do besides; ConfigError for a file that is none."""
    if not _BRANCH.fullmatch(branch):
        raise ConfigError(
            f"{branch!r} cannot stand for one branch in every file",
            where="--branch",
            accepted=("letters, digits, and . _ / -",),
        )
    config = load(file)
    if config.store is None:
        raise ConfigError(
            "without a database there is nothing to compare with",
            where=f"{file} [store]",
            accepted=('use = "duckdb"',),
            hint='Add [store] use = "duckdb".',
        )
    database = str(config.store.settings.get("path", _DATABASE))
    for path in (str(file), database):
        if Path(path).is_absolute() or ".." in Path(path).parts:
            raise ConfigError(
                f"{path} is outside of the folder that a job works in",
                where=str(file),
                hint="Name it by its path inside the repository, and run this there.",
            )
    reports = [str(table.settings["path"]) for table in config.reports if "path" in table.settings]
    command = ["accel", "ci", "init", provider, str(file)]
    if branch != "main":
        command += ["--branch", branch]
    install = [line for one in install for line in one.splitlines()]
    for one in install:
        command += ["--install", one]
    hints = []
    if not any(table.use == "ci" for table in config.connectors):
        hints.append(f'Add this to {file}, for results in the job:\n\n[[connectors]]\nuse = "ci"\n')
    return (
        Plan(
            file=str(file),
            database=database,
            artifacts=tuple(dict.fromkeys([database, *reports])),
            branch=branch,
            install=tuple(install),
            distributions=tuple(_distributions(config)),
            command=shlex.join(command),
        ),
        hints,
    )


def _distributions(config: Config) -> Iterator[str]:
    """Yield what has the plugins that a file names; the run says which are installed nowhere."""
    tables = {"reports": config.reports, "connectors": config.connectors}
    used = [(family, one.use) for family, several in tables.items() for one in several]
    used += [("backends", target.backend) for one in config.benchmarks for target in one.targets]
    host = Host()
    for family, name in used:
        for one in host.found(family).get(name, ()):
            if one.distribution != "accelerate-core":
                yield one.distribution
