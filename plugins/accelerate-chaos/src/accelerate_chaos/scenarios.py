# SPDX-License-Identifier: Apache-2.0
"""What happens when: a scenario and a seed make a schedule of faults. Pure."""

from __future__ import annotations

import random
from collections.abc import Sequence

import attrs

from accelerate_core.errors import ConfigError, did_you_mean

#: Seconds after which a fault that lasts is lifted; others are over at once.
LASTS_S = {
    "renderer_hang": 4.0,
    "component_timeout": 2.0,
    "partition": 2.0,
    "network_latency": 2.0,
    "network_instability": 2.0,
    "memory_pressure": 2.0,
    "cpu_throttling": 2.0,
}
#: Scenarios of several faults.
COMPOUND = {
    "cascade": "a browser dies, then two more workers while the fleet recovers",
    "multi_browser": "a browser of every kind dies at the same moment",
    "staggered": "faults of several kinds, each while the one before still lasts",
    "random": "any fault, anywhere",
}
#: Not done to a worker, but to the process that runs the fleet.
HOST_CRASH = "host_crash"

_CASCADE = ("browser_crash", "renderer_crash", "connection_lost")
_CASCADE_GAP_S = 0.15
_STAGGERED = ("renderer_hang", "partition", "browser_crash", "network_instability")


@attrs.frozen(kw_only=True)
class Strike:
    """Ask for one fault. Strikes of one group hit different workers."""

    at_s: float  #: since the first request
    fault: str
    lasts_s: float = 0.0
    group: int = 0


def names(faults: Sequence[str]) -> tuple[str, ...]:
    """Return every scenario there is with these faults."""
    return (*faults, *COMPOUND, HOST_CRASH)


def check(scenario: str, faults: Sequence[str]) -> None:
    """Refuse a scenario nobody knows: ConfigError."""
    known = names(faults)
    if scenario not in known:
        raise ConfigError(
            f"no scenario is called {scenario!r}",
            where="chaos",
            accepted=("all", *known),
            hint=did_you_mean(scenario, known),
        )


def schedule(
    scenario: str,
    faults: Sequence[str],
    *,
    seconds: float,
    every_s: float,
    seed: int,
    browsers: int,
) -> tuple[Strike, ...]:
    """Return the strikes of a scenario in `seconds`, one round each `every_s`."""
    chance = random.Random(seed)
    strikes: list[Strike] = []
    at_s, group = every_s / 2, 0
    while at_s < seconds:
        for offset_s, fault in _round(scenario, faults, chance, group, browsers):
            lasts_s = LASTS_S.get(fault, 0.0)
            strikes.append(Strike(at_s=at_s + offset_s, fault=fault, lasts_s=lasts_s, group=group))
        group += 1
        at_s += every_s * (0.5 if scenario == "staggered" else 1.0)
    return tuple(strikes)


def _round(
    scenario: str, faults: Sequence[str], chance: random.Random, number: int, browsers: int
) -> list[tuple[float, str]]:
    match scenario:
        case "cascade":
            return [(index * _CASCADE_GAP_S, fault) for index, fault in enumerate(_CASCADE)]
        case "multi_browser":
            return [(0.0, "browser_crash")] * browsers
        case "staggered":
            return [(0.0, _STAGGERED[number % len(_STAGGERED)])]
        case "random":
            return [(0.0, chance.choice(faults))]
        case _:
            return [(0.0, scenario)]


def obstacle(scenario: str, browsers: int, workers: int) -> str | None:
    """Return why a scenario cannot be run with so many browsers and workers, or None."""
    if scenario == "multi_browser" and browsers < 2:
        return "needs two kinds of browser; name another with --browser"
    if scenario == "cascade" and workers < 3:
        return f"needs three workers; there are {workers}"
    return None
