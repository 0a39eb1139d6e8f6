# SPDX-License-Identifier: Apache-2.0
"""A scenario and a seed make one schedule."""

from __future__ import annotations

import pytest
from accelerate_chaos import scenarios

from accelerate_core.errors import ConfigError

FAULTS = ("browser_crash", "renderer_hang", "connection_lost")


def _schedule(name: str, **more: int) -> list[tuple[float, str, int]]:
    options = {"seconds": 7.0, "every_s": 2.0, "seed": 1, "browsers": 2, **more}
    made = scenarios.schedule(name, FAULTS, **options)  # type: ignore[arg-type]
    return [(round(one.at_s, 2), one.fault, one.group) for one in made]


def test_a_fault_comes_once_a_round() -> None:
    assert _schedule("browser_crash") == [
        (1.0, "browser_crash", 0),
        (3.0, "browser_crash", 1),
        (5.0, "browser_crash", 2),
    ]


def test_a_cascade_hits_three_workers_a_round() -> None:
    first = [(fault, group) for _, fault, group in _schedule("cascade")[:3]]
    assert first == [("browser_crash", 0), ("renderer_crash", 0), ("connection_lost", 0)]


def test_every_browser_dies_at_the_same_moment() -> None:
    assert _schedule("multi_browser")[:2] == [(1.0, "browser_crash", 0)] * 2


def test_staggered_faults_overlap() -> None:
    made = scenarios.schedule("staggered", FAULTS, seconds=7.0, every_s=2.0, seed=1, browsers=1)
    assert made[0].at_s + made[0].lasts_s > made[1].at_s
    assert len({one.fault for one in made}) == 4


def test_a_seed_decides_what_is_random() -> None:
    assert _schedule("random") == _schedule("random")
    schedules = {tuple(_schedule("random", seed=seed)) for seed in range(8)}
    assert len(schedules) > 4


def test_what_cannot_be_run_says_why() -> None:
    assert "two kinds" in (scenarios.obstacle("multi_browser", 1, 4) or "")
    assert "three workers" in (scenarios.obstacle("cascade", 1, 2) or "")
    assert scenarios.obstacle("browser_crash", 1, 1) is None


def test_a_scenario_nobody_knows_is_refused() -> None:
    with pytest.raises(ConfigError, match="browser_crush") as refused:
        scenarios.check("browser_crush", FAULTS)
    assert refused.value.info.hint == "Did you mean 'browser_crash'?"
