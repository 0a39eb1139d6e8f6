# SPDX-License-Identifier: Apache-2.0
"""Short real runs of the faults that matter most: nothing lost, wrong or doubled, nothing left."""

from __future__ import annotations

import attrs
import pytest
from accelerate_chaos import experiment, turns
from accelerate_chaos.checker import Checker, Rule
from accelerate_chaos.experiment import Plan, run
from accelerate_chaos.fleet import FleetPlan
from accelerate_chaos.workload import slow

from accelerate_core.fleet.settings import FleetSettings
from accelerate_core.host import Host
from accelerate_core.types import Target

SHELL = Target("wasm", None, "chromium-headless-shell")
FLEET = FleetPlan(
    targets=(SHELL,),
    strategy="immediate",
    settings=FleetSettings(max_workers=3, min_workers=2, is_adaptive=True),
    backends={"threads": 1},
)


@pytest.mark.parametrize("scenario", ["browser_crash", "renderer_hang", "connection_lost"])
async def test_requests_survive(host: Host, scenario: str) -> None:
    # One fault in the middle. The deadline leaves room for a loaded machine, not for a loss.
    plan = Plan(scenario=scenario, fleet=FLEET, requests=24, rate=6.0, deadline_s=60.0, every_s=4.0)
    row = await run(host, plan, await slow(host, 96))
    assert row.reason is None
    assert row.findings == ()
    assert row.answered == len(row.requests) == 24
    assert row.faults == len(row.struck) == 1
    assert (row.processes_left, row.folders_left) == (0, 0)
    assert row.verdict == "held"


async def test_crash_after_crash_leaves_nothing_behind(host: Host) -> None:
    """A thousand of them are `python -m benchmarks soak_cycles`."""
    settings = FleetSettings(max_workers=2, min_workers=1, hot_spares=1)
    fleet = attrs.evolve(FLEET, settings=settings)
    plan = Plan(scenario="browser_crash", fleet=fleet, requests=5, deadline_s=60.0)
    row = await turns.run(host, plan, await slow(host, 128))
    assert [one.seen is not None for one in row.struck] == [True] * 5, row.struck
    assert row.recoveries_ms, "no run was under way: each may end before its browser does"
    assert row.findings == ()
    assert row.answered == len(row.requests)
    assert (row.processes_left, row.folders_left) == (0, 0)


async def test_a_scenario_that_cannot_apply_is_a_row_that_says_why(host: Host) -> None:
    plan = Plan(scenario="device_lost", fleet=FLEET, requests=5)
    row = await run(host, plan, await slow(host, 64))
    assert row.reason == "wasm holds no GPU device"
    assert row.verdict == "does not apply"


async def test_what_a_fleet_gets_wrong_breaks_a_real_row(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checker fails in place, not only on its own: the reference is planted wrong."""
    asked = Checker.asked

    def planted(self: Checker, request: str, expected: object) -> None:
        wrong = {name: -value for name, value in expected.items()}  # type: ignore[attr-defined]
        asked(self, request, wrong if request == "r2" else expected)  # type: ignore[arg-type]

    monkeypatch.setattr(experiment.Checker, "asked", planted)
    plan = Plan(scenario="connection_lost", fleet=FLEET, requests=4, rate=20.0, deadline_s=60.0)
    row = await run(host, plan, await slow(host, 64))
    assert [(one.rule, one.about) for one in row.findings] == [(Rule.WRONG, "r2")]
    assert row.verdict == "broken"
