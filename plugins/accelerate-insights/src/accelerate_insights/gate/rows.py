# SPDX-License-Identifier: Apache-2.0
"""What a comparison is asked and what it says: terms, verdicts, rows. Frozen values."""

from __future__ import annotations

import enum

import attrs

from accelerate_core.errors import ConfigError, did_you_mean
from accelerate_core.types import Cell, RunInfo

#: Metrics that a run keeps samples of: only these can be tested.
SAMPLES = {"latency_ms": "samples_ms", "inference_time_ms": "inference_samples_ms"}
#: In place of a metric where one of the two was not measured.
STATUS = "status"


class Verdict(enum.StrEnum):
    WORSE = "worse"
    BETTER = "better"
    SAME = "same"
    UNDECIDED = "undecided"


#: What is looked at first comes first.
ORDER = (Verdict.WORSE, Verdict.UNDECIDED, Verdict.BETTER, Verdict.SAME)


@attrs.frozen(kw_only=True)
class Terms:
    """Say when a difference counts."""

    #: Chance that anything at all is called worse when nothing became slower.
    alpha: float = 0.01
    #: Smallest change of interest: 0.05 is 5 % slower.
    min_effect: float = 0.05
    metrics: tuple[str, ...] = ("latency_ms",)

    def __attrs_post_init__(self) -> None:
        if not 0 < self.alpha <= 0.2:
            raise ConfigError("not a rate of errors", where="alpha", accepted=("0 < alpha <= 0.2",))
        if not 0 < self.min_effect < 10:
            raise ConfigError(
                "not a change of interest", where="min-effect", accepted=("0 < min-effect < 10",)
            )
        for name in self.metrics:
            if name not in SAMPLES:
                raise ConfigError(
                    f"{name!r} cannot be compared: runs keep no samples of it",
                    where="metric",
                    accepted=tuple(SAMPLES),
                    hint=did_you_mean(name, SAMPLES),
                )


@attrs.frozen(kw_only=True)
class Row:
    """Hold what came of one metric of one cell. Changes are new / old - 1; unknown is None."""

    cell: Cell
    metric: str  #: "status" where one of the two was not measured
    verdict: Verdict
    old: float | None = None  #: median
    new: float | None = None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    samples: int = 0  #: of the smaller side
    inflation: float | None = None  #: so many samples tell as much as one alone
    more: int | None = None  #: repeats that are missing for a verdict, about; None where unknown
    runs: int | None = None  #: earlier runs that say how much runs differ; None where unknown
    note: str = ""


@attrs.frozen(kw_only=True)
class Comparison:
    """Hold all rows, the most important first, and what they are about."""

    old: RunInfo
    new: RunInfo
    terms: Terms
    is_interleaved: bool
    rows: tuple[Row, ...]
    only_old: tuple[Cell, ...] = ()
    only_new: tuple[Cell, ...] = ()
    notes: tuple[str, ...] = ()

    def count(self, verdict: Verdict) -> int:
        """Return how many rows have a verdict."""
        return sum(row.verdict is verdict for row in self.rows)

    @property
    def verdict(self) -> Verdict:
        """The verdict on the whole: that of its worst row."""
        return self.rows[0].verdict


def intervals(comparison: Comparison) -> tuple[Row, ...]:
    """Return the rows that have an interval, for a picture: the most important first."""
    return tuple(row for row in comparison.rows if row.low is not None)
