# SPDX-License-Identifier: Apache-2.0
"""The contract of CI systems: each knows its own jobs, and writes what hurts nobody."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from accelerate_core.errors import Unsupported
from accelerate_core.events import RunFinished
from accelerate_core.host import Host
from accelerate_core.serial import from_plain, to_plain
from accelerate_core.testing import samples
from accelerate_core.testing.contract import Contract

from ..detecting import provider
from ..hookspecs.provider import Provider
from ..rendering import findings, shown
from ..values import File, Line, Output, Plan

_PLAN = Plan(
    file="a dir/bench.toml",
    database="results.duckdb",
    artifacts=("results.duckdb", "report.html"),
    branch="trunk",
    command="accel ci init",
)


class ProviderContract(Contract):
    """What every CI system keeps. Name the installed `plugin` and environments of its jobs."""

    plugin: ClassVar[str]
    environments: ClassVar[tuple[Mapping[str, str], ...]]

    @pytest.fixture(scope="class")
    @classmethod
    def system(cls, tmp_path_factory: pytest.TempPathFactory) -> Provider:
        """Return the CI system, made as a user's would be."""
        folder: Path = tmp_path_factory.mktemp("system")
        return provider(Host(cache_dir=folder / "cache", state_dir=folder / "state"), cls.plugin)

    def test_it_has_a_title_and_a_place_for_its_file(self, system: Provider) -> None:
        assert system.title and system.path and not Path(system.path).is_absolute()

    def test_it_knows_its_jobs_and_no_others(self, system: Provider) -> None:
        assert system.detect({}) is None and system.detect({"CI": "true"}) is None
        for environ in self.environments:
            job = system.detect(environ)
            assert job is not None and job.provider == self.plugin

    def test_runs_can_keep_what_it_knows(self, system: Provider) -> None:
        for environ in self.environments:
            job = system.detect(environ)
            assert job is not None
            kept = job.metadata()
            assert from_plain(to_plain(kept), dict) == kept

    @pytest.mark.parametrize("text", samples.HOSTILE)
    def test_what_it_writes_is_lines_and_files(self, system: Provider, text: str) -> None:
        event = next(one for one in samples.every_event(text) if isinstance(one, RunFinished))
        told = shown(event, [])
        for environ in self.environments:
            outputs: list[Output] = [
                *system.annotate(findings(event), environ),
                *system.summarize(told.markdown, told.key, environ),
                *system.report(told, environ),
            ]
            for one in outputs:
                if isinstance(one, Line):
                    assert len(one.text.splitlines()) == 1, "a line ends early"
                else:
                    assert isinstance(one, File)
                    one.text.encode()  # a lone surrogate fails here

    def test_its_pipeline_file_measures_and_compares(self, system: Provider) -> None:
        text = system.pipeline(_PLAN)
        for command in ("accel run", "accel ci baseline", "accel compare", "accel ci comment"):
            assert command in text
        assert "trunk" in text
        assert not {"@run@", "@gate@", "@install@"} & set(text.split())

    def test_what_it_cannot_do_is_said(self, system: Provider, tmp_path: Path) -> None:
        job = system.detect(self.environments[0])
        assert job is not None
        file = tmp_path / "kept"
        file.write_text("")
        if type(system).upload is Provider.upload:
            with pytest.raises(Unsupported) as caught:
                system.upload(job, self.environments[0], [file])
            assert caught.value.info.hint
