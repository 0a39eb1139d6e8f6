# SPDX-License-Identifier: Apache-2.0
"""How a fleet is, read from what its machine knows. Pure; nothing is changed or asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import attrs

from ..types import Target
from .breaker import BreakerState
from .breakers import Circuit
from .health import condition
from .index import Fleet
from .state import WorkerState

Verdict = Literal["healthy", "degraded", "unhealthy", "closed"]

#: A worker that was lost longer ago is made up for.
RECENT_NS = 60_000_000_000

_DOUBTS = {"suspect": "silent", "quarantined": "in quarantine"}


@attrs.frozen(kw_only=True)
class WorkerHealth:
    """Say how one worker is."""

    id: str
    state: str  #: a word of `health.Condition`: "ready", "busy", "suspect", ...
    target: Target
    epoch: int  #: counts how often it was started or mended
    models: tuple[str, ...] = ()  #: loaded ones
    jobs: int = 0  #: placed here, those that wait for a model included
    slots: int = 1  #: jobs it runs at once
    doing: str = ""  #: what it says of a model it loads
    age_s: float = 0.0


class ByName:
    """Let the fields of an attrs class be read as those of a mapping, too: `status["workers"]`."""

    def __getitem__(self, name: str) -> Any:
        """Return a field; KeyError for one that is not there."""
        if name not in {field.name for field in attrs.fields(type(self))}:  # type: ignore[arg-type]
            raise KeyError(name)
        return getattr(self, name)


@attrs.frozen(kw_only=True)
class HealthStatus(ByName):
    """Say how a fleet is; `status` in one word, `reasons` why it is not healthy."""

    status: Verdict
    reasons: tuple[str, ...] = ()
    workers: tuple[WorkerHealth, ...] = ()
    #: Circuit breakers that are not closed: "open" or "half_open", by target or model and target.
    breakers: Mapping[str, str] = attrs.field(factory=dict)
    jobs_pending: int = 0  #: accepted, and not dispatched yet
    workers_lost: int = 0  #: since the beginning
    plugin_problems: tuple[str, ...] = ()


def workers(
    fleet: Fleet, now_ns: int, name_of: Callable[[str], str] = str
) -> tuple[WorkerHealth, ...]:
    """Return every worker of a fleet, in order of starting."""
    return tuple(_worker(one, now_ns, name_of) for one in list(fleet.workers.values()))


def breakers(
    states: Mapping[Circuit, BreakerState], name_of: Callable[[str], str] = str
) -> dict[str, str]:
    """Return the circuit breakers that are not closed, as users call them."""
    return {
        f"{name_of(model)} on {target}" if model is not None else str(target): str(state)
        for (model, target), state in states.items()
        if state is not BreakerState.CLOSED
    }


def verdict(
    known: Sequence[WorkerHealth],
    *,
    tripped: Mapping[str, str],
    pending: int,
    lost: int,
    lost_ns: int | None,
    now_ns: int,
    plugin_problems: tuple[str, ...] = (),
) -> HealthStatus:
    """Return how a fleet is. `lost_ns` is when it lost its last worker, of `lost` in all.

    `tripped` are the circuit breakers that are not closed. It is unhealthy when jobs wait and no
    worker is there or comes, degraded when a worker is in doubt or was lost lately, a breaker is
    not closed, or a plugin was skipped.
    """
    reasons: list[str] = []
    usable = [one for one in known if one.state in ("starting", "ready", "busy")]
    is_stuck = pending > 0 and not usable
    if is_stuck:
        reasons.append(f"{pending} jobs wait, and no worker is there or comes")
    reasons += [f"{one.id} is {_DOUBTS[one.state]}" for one in known if one.state in _DOUBTS]
    reasons += [f"{circuit}: its circuit breaker is {how}" for circuit, how in tripped.items()]
    if lost_ns is not None and now_ns - lost_ns < RECENT_NS:
        reasons.append(f"a worker was lost {(now_ns - lost_ns) / 1e9:.0f} s ago")
    reasons += plugin_problems
    return HealthStatus(
        status="unhealthy" if is_stuck else "degraded" if reasons else "healthy",
        reasons=tuple(reasons),
        workers=tuple(known),
        breakers=dict(tripped),
        jobs_pending=pending,
        workers_lost=lost,
        plugin_problems=plugin_problems,
    )


def utilisation(known: Sequence[WorkerHealth]) -> float | None:
    """Return the part of all slots that is taken now; None without workers."""
    slots = sum(one.slots for one in known if one.state in ("ready", "busy", "suspect"))
    return min(1.0, sum(one.jobs for one in known) / slots) if slots else None


def _worker(one: WorkerState, now_ns: int, name_of: Callable[[str], str]) -> WorkerHealth:
    slots = one.info.slots if one.info is not None else 1
    return WorkerHealth(
        id=one.id,
        state=str(condition(one)),
        target=one.info.target if one.info is not None else one.target,
        epoch=one.epoch,
        models=tuple(sorted({name_of(key) for key in tuple(one.models)})),
        jobs=len(one.jobs),
        slots=slots,
        doing=one.doing,
        age_s=round(max(0, now_ns - one.started_ns) / 1e9, 3),
    )
