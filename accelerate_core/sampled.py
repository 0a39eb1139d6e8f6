# SPDX-License-Identifier: Apache-2.0
"""How requests arrived, and how sure what was sampled is: part of `types`, frozen like those."""

from __future__ import annotations

from collections.abc import Mapping

import attrs


@attrs.frozen(kw_only=True)
class Scenario:
    """Say how requests arrive, in the words of MLPerf Inference (Reddi et al. 2020, section IV).

    `single_stream`: one after the other. `multi_stream`: groups of `streams` at once, one group
    after the other. `server`: at random times, `rate` a second on average. `offline`: all at once.
    """

    name: str = "single_stream"
    streams: int | None = None  #: multi_stream only
    rate: float | None = None  #: server only; None there: the highest that keeps the bound
    bound_ms: float | None = None  #: server only: how late an answer may be

    @property
    def is_stream(self) -> bool:
        """Whether each sample begins when the one before has ended."""
        return self.name in ("single_stream", "multi_stream")

    def __str__(self) -> str:
        if self.name == "server":
            rate = "max" if self.rate is None else f"{self.rate:g}/s"
            return f"server {rate} within {self.bound_ms:g} ms"
        return f"{self.name} {self.streams}" if self.streams else self.name


SINGLE_STREAM = Scenario()
SCENARIOS = ("single_stream", "multi_stream", "server", "offline")


@attrs.frozen(kw_only=True)
class Estimate:
    """A number out of samples, and the 95 % interval around it; None where they are too few."""

    value: float
    low: float | None = None
    high: float | None = None


@attrs.frozen(kw_only=True)
class Trial:
    """Say how one rate of a server scenario went."""

    rate: float  #: requests a second, as asked
    within: Estimate  #: share of the requests that were answered within the bound, 0 to 1
    count: int  #: requests
    holds: bool


@attrs.frozen(kw_only=True)
class Noise:
    """Say what else the machine did while a cell was measured. Unknown is None."""

    cores: int
    other_cores: float | None = None  #: cores that other processes than ours kept busy
    stolen_cores: float | None = None  #: cores that the host gave to others (virtual machines)
    throttled_s: float | None = None  #: time the cgroup was held back at its limit
    slowed_count: int | None = None  #: times a core was slowed because it was hot


@attrs.frozen(kw_only=True)
class Sampling:
    """Say how a measurement's samples were taken, and how sure they are."""

    #: "p50", "p90", "p95", "p99" of the samples; those that are not known are left out.
    percentiles: Mapping[str, Estimate] = attrs.field(factory=dict)
    effective_count: float = 0.0  #: independent samples that would say as much about the median
    spread: float | None = None  #: width of their middle half, relative to the median
    #: What ended them: "repeats" or "interval" as asked, "budget", or "count": too many.
    ended_by: str = "repeats"
    interval: float | None = None  #: asked: 0.02 for the median ±2 %
    reached: float | None = None  #: how far the median's interval goes; None where unknown
    #: Samples left out at the beginning, because they were slower than what followed.
    warmup_ms: tuple[float, ...] = ()
    #: A change of level that is left in the samples, relative: they are not steady.
    level_change: float | None = None
    duration_s: float | None = None  #: from the first request to the last answer
    workers: int = 1  #: that answered
    rate: float | None = None  #: server: requests a second that the samples are of
    within: Estimate | None = None  #: server: share of them answered within the bound
    trials: tuple[Trial, ...] = ()  #: server: rates tried, in order
    noise: Noise | None = None
