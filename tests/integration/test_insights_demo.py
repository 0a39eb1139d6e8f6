# SPDX-License-Identifier: Apache-2.0
"""A slow-down that is planted in an option is found by real runs, and its commit named."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))
from tools.insights_demo import Story, accel_here, tell  # `tools` is not installed


def test_the_commit_that_made_a_project_slow_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("ACCELERATE_CACHE_DIR", str(tmp_path / "cache"))
    project = tmp_path / "project"
    project.mkdir()
    told = tell(project, Story(targets=("cpu",), good=13, bad=9, repeats=15), accel_here)
    # Whatever else the machine did meanwhile: the time in the process is what the option changes.
    found = {
        one["metric"]: one
        for alert in told.alerts
        for one in alert["findings"]
        if one["first_bad_commit"] == told.planted
    }
    worse = found["inference_time_ms"]
    assert worse["cause_kind"] == "commit" and told.planted[:9] in worse["cause"]
    assert worse["was_measured_again"] and worse["change"] > 0.5
    assert "[again] folded on cpu" in told.printed
    assert f"accel regressions show {worse['id'][:8]}" in told.printed
