# SPDX-License-Identifier: Apache-2.0
"""Every strategy under every fault: a real machine in virtual time. docs/recovery.md shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .simulation import FAULTS, STRATEGIES, Outcome, simulate, simulate_all, table

PAGE = Path(__file__).parents[3] / "docs/recovery.md"
_CELL = re.compile(r"(\d+)%(?:, (\d+) / (\d+) ms)?")


@pytest.fixture(scope="module")
def outcomes() -> dict[tuple[str, str], Outcome]:
    return {(one.strategy, one.fault): one for one in simulate_all()}


def test_every_strategy_recovers_what_faults_hit(
    outcomes: dict[tuple[str, str], Outcome],
) -> None:
    for (strategy, fault), one in outcomes.items():
        assert one.hit >= 5, (strategy, fault)
        if strategy != "none":
            assert one.lost == 0 and one.share == 1, (strategy, fault)


def test_without_a_strategy_every_failure_is_final(
    outcomes: dict[tuple[str, str], Outcome],
) -> None:
    for fault in ("killed", "device lost", "broken page", "overloaded"):
        assert outcomes["none", fault].recovered == 0


def test_strategies_differ_in_what_they_are_for(
    outcomes: dict[tuple[str, str], Outcome],
) -> None:
    def median(strategy: str, fault: str) -> float:
        return outcomes[strategy, fault].percentile_ms(50)

    assert median("retry", "killed") > median("immediate", "killed"), "it waits"
    assert median("parallel", "stopped") < median("immediate", "stopped"), "it hedges"
    assert outcomes["immediate", "device lost"].restarts == 0, "a new device is enough"
    restarts = {name: outcomes[name, "device lost"].restarts for name in STRATEGIES}
    assert 0 < restarts["progressive"] < restarts["restart"]
    hit = {name: outcomes[name, "broken page"].hit for name in STRATEGIES}
    assert hit["progressive"] < hit["immediate"] / 2, "it mends what fails another job"


def test_hedging_does_not_double_an_overload(
    outcomes: dict[tuple[str, str], Outcome],
) -> None:
    hedged, plain = outcomes["parallel", "overloaded"], outcomes["immediate", "overloaded"]
    assert hedged.attempts < 1.1 * plain.attempts


def test_a_run_can_be_repeated() -> None:
    assert simulate("progressive", "device lost") == simulate("progressive", "device lost")
    assert simulate("retry", "killed", seed=2) != simulate("retry", "killed", seed=3)


def test_the_page_shows_this_table(outcomes: dict[tuple[str, str], Outcome]) -> None:
    """Medians may drift by half or 25 ms as the machine changes, tails by more; shares may not."""
    text = PAGE.read_text(encoding="utf-8")
    now = table(list(outcomes.values())).splitlines()
    shown = [line for line in text.splitlines() if line.startswith(("| strategy | killed", "| `"))]
    shown = shown[shown.index(now[0]) :][: 1 + len(STRATEGIES)]
    for line, wanted in zip(shown, [now[0], *now[2:]], strict=True):
        assert line.split("|")[1] == wanted.split("|")[1]
        found, cells = _CELL.findall(line), _CELL.findall(wanted)
        assert len(found) == len(cells) == (len(FAULTS) if "%" in wanted else 0)
        for old, new in zip(found, cells, strict=True):
            assert old[0] == new[0] and bool(old[1]) == bool(new[1]), f"make it anew:\n{now}"
            if new[1]:
                assert abs(int(old[1]) - int(new[1])) <= max(25, int(new[1]) / 2), wanted
