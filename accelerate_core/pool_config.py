# SPDX-License-Identifier: Apache-2.0
"""`[pool]` of a pipeline file, which is also what `Accelerator(...)` takes; and what both may say
in other words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs
from attrs.validators import ge, gt, le, optional

from .errors import ConfigError, Unsupported
from .fleet.settings import BreakerSettings, FleetSettings, Window
from .settings import Seconds, Size
from .types import BROWSERS, Target

Task = Literal["text_embedding", "vision", "audio", "text_generation", "multimodal"]
Precision = Literal["fp32", "fp16", "int8", "int4", "int3", "int2"]
Browser = Literal[
    "chrome", "chromium", "chromium-headless-shell", "edge", "firefox", "safari", "webkitgtk"
]
assert Browser.__args__ == BROWSERS  # type: ignore[attr-defined]

#: Options users know whose part is not built yet: refused by name, never ignored.
NOT_BUILT = (
    "compute_shaders",
    "enable_tensor_sharing",
    "enable_ultra_low_precision",
    "mixed_precision",
    "parallel_loading",
)

#: Words users know, and ours.
SYNONYMS = {"recovery_strategy": "recovery", "failover_strategy": "recovery"}


_USUAL = FleetSettings()
_USUAL_BREAKER = BreakerSettings()
#: Longer than nothing: for times after which something is ended or begun again.
_some_time = ge(Seconds(0.001))


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


def _ns_or_none(seconds: float | None) -> int | None:
    return None if seconds is None else _ns(seconds)


def _s(ns: int) -> Seconds:
    return Seconds(ns / 1e9)


@attrs.frozen(kw_only=True)
class BreakerConfig:
    """Set when a worker, or a model on a target, is tried no more for a while.

    A circuit breaker as in resilience4j, with times fit for browsers.
    """

    #: Which attempts are looked at: the last `window` ("count"), or those of the last `window`
    #: seconds ("time").
    window_kind: Window = _USUAL_BREAKER.window_kind
    #: How many attempts or seconds these are (sliding window size).
    window: int = attrs.field(default=_USUAL_BREAKER.window, validator=ge(1))
    #: With fewer attempts in the window than this, nothing is judged.
    minimum_calls: int = attrs.field(default=_USUAL_BREAKER.minimum_calls, validator=ge(1))
    #: Part of the attempts that failed, 0 to 1, from which on the breaker opens.
    failure_rate: float = attrs.field(default=_USUAL_BREAKER.failure_rate, validator=[gt(0), le(1)])
    #: Part of the attempts that were slow, 0 to 1, from which on the breaker opens.
    slow_call_rate: float = attrs.field(
        default=_USUAL_BREAKER.slow_call_rate, validator=[gt(0), le(1)]
    )
    #: An attempt is slow that takes longer than this. Unset: longer than `slow_call_factor` times
    #: the median of its model on its target, as far as that is known.
    slow_call_duration: Seconds | None = attrs.field(default=None, validator=optional(_some_time))
    #: How many medians make an attempt slow where `slow_call_duration` is unset.
    slow_call_factor: float = attrs.field(default=_USUAL_BREAKER.slow_call_factor, validator=ge(1))
    #: How long the breaker stays open before it lets probes through.
    wait_open: Seconds = attrs.field(default=_s(_USUAL_BREAKER.open_ns), validator=_some_time)
    #: Attempts let through, half open, to see whether it is well again.
    probes: int = attrs.field(default=_USUAL_BREAKER.probes, validator=ge(1))

    def __attrs_post_init__(self) -> None:
        if self.window_kind is Window.COUNT and self.minimum_calls > self.window:
            raise ValueError(
                f"minimum_calls is {self.minimum_calls}, and only {self.window} are looked at "
                "(window)"
            )

    def settings(self) -> BreakerSettings:
        """Return the same in the machine's units."""
        return BreakerSettings(
            window_kind=self.window_kind,
            window=self.window,
            minimum_calls=self.minimum_calls,
            failure_rate=self.failure_rate,
            slow_call_rate=self.slow_call_rate,
            slow_call_ns=_ns_or_none(self.slow_call_duration),
            slow_call_factor=self.slow_call_factor,
            open_ns=_ns(self.wait_open),
            probes=self.probes,
        )


@attrs.frozen(kw_only=True)
class HealthConfig:
    """Set when an attempt is late, when a worker hangs, and when it is kept apart.

    What is usual is measured: p95 of an attempt's model on its target, or more where the whole
    fleet has slowed down.
    """

    #: An attempt that takes longer than this many times what is usual is done by another worker
    #: as well; the first answer counts.
    overdue_factor: float = attrs.field(default=_USUAL.overdue_factor, validator=ge(1))
    #: No attempt is late earlier than this.
    overdue_floor: Seconds = attrs.field(default=_s(_USUAL.overdue_ns), validator=_some_time)
    #: A worker that makes no progress for longer than this many times what is usual hangs, and is
    #: ended.
    hung_factor: float = attrs.field(default=_USUAL.hung_factor, validator=ge(1))
    #: No worker hangs earlier than this.
    hung_floor: Seconds = attrs.field(default=_s(_USUAL.hung_ns), validator=_some_time)
    #: Failures in a row after which a worker is kept apart (quarantine), and then started anew.
    quarantine_after: int = attrs.field(default=_USUAL.quarantine_after, validator=ge(1))
    #: How long the first time; each time twice as long.
    quarantine_time: Seconds = attrs.field(default=_s(_USUAL.quarantine_ns), validator=_some_time)
    #: Never longer; and a worker that did well for so long begins with `quarantine_time` again.
    quarantine_longest: Seconds = attrs.field(
        default=_s(_USUAL.quarantine_max_ns), validator=_some_time
    )

    def __attrs_post_init__(self) -> None:
        for shorter, longer in (
            ("overdue_floor", "hung_floor"),
            ("overdue_factor", "hung_factor"),
            ("quarantine_time", "quarantine_longest"),
        ):
            if getattr(self, shorter) > getattr(self, longer):
                raise ValueError(
                    f"{shorter} is {getattr(self, shorter):g}, and {longer} only "
                    f"{getattr(self, longer):g}"
                )


@attrs.frozen(kw_only=True)
class PoolConfig:
    """Set how many workers there are, who decides about them, and what follows a failure."""

    #: Workers alive at once, native ones included.
    max_connections: int = attrs.field(default=4, validator=ge(1))
    #: Workers kept for each target in use, however idle.
    min_connections: int = attrs.field(default=0, validator=ge(0))
    #: Idle workers kept ready for each target in use, with its hottest models loaded.
    hot_spares: int = attrs.field(default=0, validator=ge(0))
    #: Give a target more workers while its jobs wait long and the machine has cores to spare, and
    #: stop those it no longer needs. Otherwise it has one, or `min_connections`.
    adaptive_scaling: bool = True
    #: A worker idle for longer is stopped, down to `min_connections`.
    idle_timeout: Seconds = Seconds(300.0)
    #: A worker older than this is replaced by a new one. Unset: never.
    max_age: Seconds | None = attrs.field(default=None, validator=optional(_some_time))
    #: A worker that did so many jobs is replaced by a new one. Unset: never.
    max_jobs_per_worker: int | None = attrs.field(default=None, validator=optional(ge(1)))
    #: What all workers may hold together. Unset: what the machine or its cgroup allows.
    memory_limit: Size | None = attrs.field(default=None, validator=optional(ge(Size(1))))
    #: A worker that grows by more than this after its last load is replaced by a new one: it
    #: leaks. Unset: never.
    max_growth: Size | None = attrs.field(default=None, validator=optional(ge(Size(1))))
    #: Which browser a task prefers: `{ vision = "chrome" }`.
    browser_preferences: Mapping[Task, Browser] = attrs.field(factory=dict)
    #: Plugin that chooses the worker for a job. Default: affinity where it is installed.
    scheduler: str | None = None
    #: Plugin that decides what follows a failed attempt. Default: immediate where installed.
    #: `recovery_strategy` and `failover_strategy` mean the same.
    recovery: str | None = None
    #: Whether failed attempts are recovered at all. Otherwise the first failure is the answer.
    enable_fault_tolerance: bool = True
    #: How long a job may be recovered, from its first failed attempt. Unset: until its timeout.
    recovery_timeout: Seconds | None = None
    #: Workers that do each request side by side; an answer counts when most of them agree.
    redundancy_factor: int = attrs.field(default=1, validator=ge(1))
    #: How old the last checkpoint of a session may get, while it runs, before another is taken.
    state_sync_interval: Seconds = Seconds(10.0)
    #: Write each request down before it is dispatched: it outlives this process.
    durable: bool = False
    #: Targets that requests may use, in order, when the asked one cannot. The answer says so.
    #: Benchmarks have a key of their own.
    fallback: tuple[Target, ...] = ()
    #: Precisions that requests may use, in order, when the asked one cannot run. The answer says
    #: so. Benchmarks measure what they ask for.
    degrade: tuple[Precision, ...] = ()
    #: Whether browsers show no window.
    headless: bool = True
    #: Run each model once at load, so that the first request pays no compilation.
    precompile_shaders: bool = False
    #: How long a job may take from submission to result.
    job_timeout: Seconds = attrs.field(default=Seconds(120.0), validator=_some_time)
    #: Jobs that may wait; one more is refused at once.
    max_queue: int = attrs.field(default=10_000, validator=ge(1))
    #: Refuse a job at once that cannot be done within its timeout, as far as is known.
    refuse_late: bool = False
    #: When something that keeps failing is left alone.
    breaker: BreakerConfig = BreakerConfig()
    #: When a worker is doubted.
    health: HealthConfig = HealthConfig()

    def __attrs_post_init__(self) -> None:
        for name in ("min_connections", "hot_spares", "redundancy_factor"):
            if getattr(self, name) > self.max_connections:
                raise ValueError(
                    f"{name} is {getattr(self, name)}, and max_connections only "
                    f"{self.max_connections}"
                )
        if self.recovery is not None and not self.enable_fault_tolerance:
            raise ValueError(
                f"recovery is {self.recovery!r}, and enable_fault_tolerance is false: leave one out"
            )

    def fleet_settings(self) -> FleetSettings:
        """Return what the fleet's machine has to know, in its units."""
        return FleetSettings(
            max_workers=self.max_connections,
            min_workers=self.min_connections,
            hot_spares=self.hot_spares,
            is_adaptive=self.adaptive_scaling,
            idle_ns=_ns(self.idle_timeout),
            max_age_ns=_ns_or_none(self.max_age),
            max_jobs_per_worker=self.max_jobs_per_worker,
            memory_limit_bytes=self.memory_limit,
            max_growth_bytes=self.max_growth,
            max_queue=self.max_queue,
            refuses_late=self.refuse_late,
            breaker=self.breaker.settings() if self.enable_fault_tolerance else None,
            overdue_factor=self.health.overdue_factor,
            overdue_ns=_ns(self.health.overdue_floor),
            hung_factor=self.health.hung_factor,
            hung_ns=_ns(self.health.hung_floor),
            quarantine_after=self.health.quarantine_after,
            quarantine_ns=_ns(self.health.quarantine_time),
            quarantine_max_ns=_ns(self.health.quarantine_longest),
        )


def refuse_unbuilt(options: Mapping[str, Any], *, where: str) -> None:
    """Raise Unsupported for an option whose part does not exist yet."""
    for name in NOT_BUILT:
        if name in options:
            raise Unsupported(
                f"{name} is not built yet",
                where=where,
                hint="Leave it out; the changelog will say when it comes.",
            )


def in_our_words(pool: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Return a `[pool]` with our words for those users know; ConfigError for two of one meaning."""
    refuse_unbuilt(pool, where=f"{where} [pool]")
    ours: dict[str, Any] = {}
    said: dict[str, str] = {}
    for key, value in pool.items():
        name = SYNONYMS.get(key, key)
        if name in ours and ours[name] != value:
            raise ConfigError(
                f"{said[name]} and {key} mean the same, and say {ours[name]!r} and {value!r}",
                where=f"{where} key pool.{key}",
                hint=f"Keep one: {name}.",
            )
        ours[name], said[name] = value, key
    return ours
