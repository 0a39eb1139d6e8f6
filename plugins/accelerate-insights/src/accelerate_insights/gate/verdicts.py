# SPDX-License-Identifier: Apache-2.0
"""Is the new run worse, better or the same? A verdict for every cell and metric. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import attrs

from accelerate_core.errors import ConfigError
from accelerate_core.texts import short_id
from accelerate_core.types import Cell, Measurement, RunInfo, RunSummary

from .matching import by_status, check_adapters, check_machines, notes
from .rows import ORDER, SAMPLES, Comparison, Row, Terms, Verdict
from .shift import BLOCK, Shift, of_blocks, of_samples
from .spread import MIN_RUNS, Spread

#: Nobody makes more repeats than this because a tool asks for them.
_MANY = 1000


def compare(
    old: RunSummary,
    new: RunSummary,
    terms: Terms | None = None,
    *,
    is_interleaved: bool = False,
    across_machines: bool = False,
    spreads: Mapping[tuple[str, str], Spread] | None = None,
) -> Comparison:
    """Return a verdict for every cell that both runs have.

    Each of n tests has the error rate alpha / n (Bonferroni), so that all together keep alpha.
    Holm's procedure rejects something exactly when this does; it would only add further rows to
    those that fail already, and would part verdicts from intervals. `is_interleaved` says that
    samples were taken in turns (A B B A). `spreads` says how much runs differ among themselves, by
    series key of either and metric; no interval of separate runs is narrower, and where it is not
    known, the start of a process may be all the difference: undecided. ConfigError when the runs
    have no cell in common, or are of different machines or adapters.
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
            check_adapters(before[cell], after[cell])
    rows: list[Row] = []
    tests: list[tuple[Cell, str]] = []
    for cell in common:
        row = by_status(before[cell], after[cell])
        if row is not None:
            rows.append(row)
        else:
            tests += [(cell, metric) for metric in terms.metrics]
    rows += [
        _row(
            before[cell],
            after[cell],
            metric,
            terms,
            terms.alpha / len(tests),
            is_interleaved,
            _spread(spreads or {}, metric, before[cell], after[cell]),
        )
        for cell, metric in tests
    ]
    rows.sort(key=lambda row: ORDER.index(row.verdict))
    return Comparison(
        old=old.run,
        new=new.run,
        terms=terms,
        is_interleaved=is_interleaved,
        rows=tuple(rows),
        only_old=tuple(cell for cell in before if cell not in after),
        only_new=tuple(cell for cell in after if cell not in before),
        notes=notes([(before[cell], after[cell]) for cell in common]),
    )


def _by_cell(summary: RunSummary) -> dict[Cell, Measurement]:
    found: dict[Cell, Measurement] = {}
    for one in summary.measurements:
        found.setdefault(one.cell, one)
    return found


def _name(run: RunInfo) -> str:
    return run.name or short_id(run.id)


def _spread(
    spreads: Mapping[tuple[str, str], Spread], metric: str, *either: Measurement
) -> Spread | None:
    known = (spreads.get((one.series_key, metric)) for one in either)
    return next((one for one in known if one is not None), None)


def _row(
    old: Measurement,
    new: Measurement,
    metric: str,
    terms: Terms,
    alpha: float,
    is_interleaved: bool,
    spread: Spread | None,
) -> Row:
    before: Sequence[float] = getattr(old, SAMPLES[metric])
    after: Sequence[float] = getattr(new, SAMPLES[metric])
    # Only streams take turns at single requests.
    is_interleaved &= old.cell.scenario.name == "single_stream"
    if is_interleaved:
        # What one side left out as its warm-up, the other leaves out; blocks begin with A.
        left_out = [len(one.sampling.warmup_ms) if one.sampling else 0 for one in (old, new)]
        begin = math.ceil(max(left_out) / BLOCK) * BLOCK
        before, after = before[begin - left_out[0] :], after[begin - left_out[1] :]
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
    widest = 0.0
    if spread is not None and not is_interleaved:
        widest = spread.half_width(alpha)
        row = attrs.evolve(row, runs=spread.runs)
    is_by_runs = shift.is_known and shift.half_width <= widest
    shift = shift.at_least(widest)
    row = attrs.evolve(row, p=shift.p, inflation=shift.inflation, change=shift.ratio - 1)
    if shift.is_known:
        row = attrs.evolve(row, low=shift.low - 1, high=shift.high - 1)
    if spread is None and not is_interleaved:
        note = f"not enough runs: from {MIN_RUNS} earlier ones on it is known how much they differ"
        return attrs.evolve(row, note=note)
    if (verdict := _verdict(shift, terms)) is not Verdict.UNDECIDED:
        return attrs.evolve(row, verdict=verdict)
    more = _more(shift, terms, count)
    if is_by_runs:
        how = f"by up to {math.expm1(widest):.1%}" if shift.is_known else "too much"
        return attrs.evolve(row, note=f"runs differ {how} among themselves: run both in turns")
    said = f"about {more} more repeats are needed, {count + more} in all"
    if more > _MANY:
        said = f"more than {_MANY:,} more repeats are needed"
    return attrs.evolve(row, more=more, note=f"not enough data: {said}")


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
        # Either zero or the smallest change of interest has to be left out of the interval.
        room = away if away >= margin else margin - away
        times = (shift.half_width / max(room, margin / 10)) ** 2
    return max(BLOCK, math.ceil(count * (times - 1)))
