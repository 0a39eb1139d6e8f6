# SPDX-License-Identifier: Apache-2.0
"""Is the new run worse, better or the same? A verdict for every cell and metric. Pure."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from accelerate_core.errors import ConfigError, did_you_mean
from accelerate_core.types import Cell, CellStatus, Measurement, RunInfo, RunSummary

from .shift import BLOCK, Shift, of_blocks, of_samples

#: Metrics that a run keeps samples of: only these can be tested.
SAMPLES = {"latency_ms": "samples_ms", "inference_time_ms": "inference_samples_ms"}
_STATUS = "status"
#: Nobody makes more repeats than this because a tool asks for them.
_MANY = 1000


class Verdict(enum.StrEnum):
    WORSE = "worse"
    BETTER = "better"
    SAME = "same"
    UNDECIDED = "undecided"


#: What is looked at first comes first.
_ORDER = (Verdict.WORSE, Verdict.UNDECIDED, Verdict.BETTER, Verdict.SAME)


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


def compare(
    old: RunSummary,
    new: RunSummary,
    terms: Terms | None = None,
    *,
    is_interleaved: bool = False,
    across_machines: bool = False,
) -> Comparison:
    """Return a verdict for every cell that both runs have.

    Each of n tests has the error rate alpha / n (Bonferroni), so that all together keep alpha.
    Holm's procedure rejects something exactly when this does; it would only add further rows to
    those that fail already, and would part verdicts from intervals. `is_interleaved` says that
    samples were taken in turns (A B B A). ConfigError when the runs have no cell in common, or are
    of different machines or adapters.
    """
    terms = terms or Terms()
    before, after = _by_cell(old), _by_cell(new)
    common = [cell for cell in before if cell in after]
    if not common:
        raise ConfigError(
            "the two have no cell in common",
            where=f"{_name(old.run)} and {_name(new.run)}",
            accepted=tuple(str(cell) for cell in [*before, *after][:6]),
            hint="A cell is a model by name, target, precision, batch size and length.",
        )
    if not across_machines:
        check_machines(old.run.host, new.run.host)
        for cell in common:
            _check_adapters(before[cell], after[cell])
    rows: list[Row] = []
    tests: list[tuple[Cell, str]] = []
    for cell in common:
        row = _by_status(before[cell], after[cell])
        if row is not None:
            rows.append(row)
        else:
            tests += [(cell, metric) for metric in terms.metrics]
    rows += [
        _row(before[cell], after[cell], metric, terms, terms.alpha / len(tests), is_interleaved)
        for cell, metric in tests
    ]
    rows.sort(key=lambda row: _ORDER.index(row.verdict))
    return Comparison(
        old=old.run,
        new=new.run,
        terms=terms,
        is_interleaved=is_interleaved,
        rows=tuple(rows),
        only_old=tuple(cell for cell in before if cell not in after),
        only_new=tuple(cell for cell in after if cell not in before),
        notes=_notes([(before[cell], after[cell]) for cell in common]),
    )


def check_machines(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Refuse hosts that are not alike: ConfigError names what differs."""
    for name in ("system", "processor", "cores"):
        if old.get(name) != new.get(name):
            raise ConfigError(
                f"the two were measured on different machines: {name} is {old.get(name)!r} "
                f"and {new.get(name)!r}",
                hint="Measure both here, or compare all the same with --across-machines.",
            )


def _by_cell(summary: RunSummary) -> dict[Cell, Measurement]:
    found: dict[Cell, Measurement] = {}
    for one in summary.measurements:
        found.setdefault(one.cell, one)
    return found


def _name(run: RunInfo) -> str:
    return run.name or run.id[:12]


def _check_adapters(old: Measurement, new: Measurement) -> None:
    if old.worker is None or new.worker is None or old.fell_back_from != new.fell_back_from:
        return
    if (one := _adapter(old)) != (other := _adapter(new)):
        raise ConfigError(
            f"measured on different adapters: {one} and {other}",
            where=str(old.cell),
            hint="Measure both on one, or compare all the same with --across-machines.",
        )


def _adapter(measurement: Measurement) -> str:
    worker = measurement.worker
    if worker is None:
        return "none"
    parts = [worker.adapter.vendor, worker.adapter.architecture] if worker.adapter else []
    kind = "software" if worker.is_software else "hardware" if worker.is_software is False else ""
    said = " ".join(part for part in (*parts, kind, "simulated" * worker.is_simulated) if part)
    return said or "unknown"


def _by_status(old: Measurement, new: Measurement) -> Row | None:
    """Return the row of a cell whose numbers cannot be compared; None where they can."""
    was, now = old.status is CellStatus.OK, new.status is CellStatus.OK
    if was and now:
        if old.fell_back_from == new.fell_back_from:
            return None
        side, fallen = ("new", new) if new.fell_back_from else ("old", old)
        is_lost = fallen is new and new.is_required
        verdict = Verdict.WORSE if is_lost else Verdict.UNDECIDED
        ran = fallen.worker.target if fallen.worker else "another target"
        return Row(cell=old.cell, metric=_STATUS, verdict=verdict, note=f"the {side} ran on {ran}")
    broke = was and new.is_failure and new.status is not CellStatus.SKIPPED
    mended = now and old.status in (CellStatus.MISMATCH, CellStatus.FAILED)
    verdict = Verdict.WORSE if broke else Verdict.BETTER if mended else Verdict.UNDECIDED
    error = new.error or old.error
    note = f"{old.status} before, {new.status} now" + (f": {error.message}" if error else "")
    return Row(cell=old.cell, metric=_STATUS, verdict=verdict, note=note)


def _row(
    old: Measurement,
    new: Measurement,
    metric: str,
    terms: Terms,
    alpha: float,
    is_interleaved: bool,
) -> Row:
    before: Sequence[float] = getattr(old, SAMPLES[metric])
    after: Sequence[float] = getattr(new, SAMPLES[metric])
    count = min(len(before), len(after))
    row = Row(
        cell=old.cell,
        metric=metric,
        verdict=Verdict.UNDECIDED,
        old=getattr(old, metric),
        new=getattr(new, metric),
        samples=count,
    )
    if not count:
        return attrs.evolve(row, note="no samples were kept")
    if not all(math.isfinite(one) and one > 0 for one in (*before, *after)):
        return attrs.evolve(row, note="a sample is not above 0: this clock is too coarse")
    shift = (of_blocks if is_interleaved else of_samples)(before, after, alpha)
    row = attrs.evolve(row, p=shift.p, inflation=shift.inflation, change=shift.ratio - 1)
    if shift.is_known:
        row = attrs.evolve(row, low=shift.low - 1, high=shift.high - 1)
    if (verdict := _verdict(shift, terms)) is not Verdict.UNDECIDED:
        return attrs.evolve(row, verdict=verdict)
    more = _more(shift, terms, count)
    said = f"more than {_MANY:,}" if more > _MANY else f"about {more}"
    return attrs.evolve(row, more=more, note=f"not enough data: {said} more repeats are needed")


def _verdict(shift: Shift, terms: Terms) -> Verdict:
    margin = 1 + terms.min_effect
    if shift.low > 1 and shift.ratio >= margin:
        return Verdict.WORSE
    if shift.high < 1 and shift.ratio <= 1 / margin:
        return Verdict.BETTER
    if shift.low > 1 / margin and shift.high < margin:
        return Verdict.SAME
    return Verdict.UNDECIDED


def _more(shift: Shift, terms: Terms, count: int) -> int:
    """Return how many repeats more would decide, if they are like those that were made."""
    if not shift.is_known:
        times = shift.needed / shift.independent if shift.independent else shift.needed * BLOCK
    else:
        margin, away = math.log1p(terms.min_effect), abs(math.log(shift.ratio))
        half = max(math.log(shift.high / shift.ratio), math.log(shift.ratio / shift.low))
        # Either zero or the smallest change of interest has to be left out of the interval.
        room = away if away >= margin else margin - away
        times = (half / max(room, margin / 10)) ** 2
    return max(BLOCK, math.ceil(count * (times - 1)))


def _notes(pairs: Sequence[tuple[Measurement, Measurement]]) -> tuple[str, ...]:
    """Return what else differs between the two, and what such numbers are worth."""
    found: dict[str, None] = {}
    for old, new in pairs:
        if old.worker is None or new.worker is None:
            continue
        for what in ("browser_version", "engine_version", "device_type", "threads"):
            was, now = getattr(old.worker, what), getattr(new.worker, what)
            if was != now:
                found[f"{new.cell.target}: {what.replace('_', ' ')} {was} -> {now}"] = None
        if old.worker.is_simulated or new.worker.is_simulated:
            found[f"{new.cell.target}: SIMULATED, these are no measurements"] = None
        if _adapter(old) != _adapter(new):
            found[f"{new.cell.target}: adapter {_adapter(old)} -> {_adapter(new)}"] = None
    return tuple(found)
