# SPDX-License-Identifier: Apache-2.0
"""Which settings of a pipeline file measurements speak for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias, TypeVar

import attrs

from accelerate_core.config import BenchmarkConfig, Config
from accelerate_core.types import Target

from .gains import Gain, Measurements, winner
from .recommending import number

Key: TypeAlias = tuple[str | int, ...]
Option = TypeVar("Option", bound=Hashable)

#: What a browser's backend uses where the file says nothing.
_USUAL_ENGINE = "ort"
#: Backends with a setting `threads`.
_THREADED = ("cpu", "wasm")


@attrs.frozen(kw_only=True)
class Row:
    """One measurement with the versions that are here now."""

    model: str
    task: str | None
    sequence_length: int | None
    scenario: str
    target: Target  #: that it ran on
    precision: str
    batch_size: int
    is_software: bool | None
    threads: int | None
    run_id: str
    is_wrong: bool
    latency_ms: float | None
    throughput: float | None


@attrs.frozen(kw_only=True)
class Proposal:
    """Say which key should be what, and why."""

    key: Key
    before: Any  #: None: not set
    after: Any
    gain: Gain
    against: str  #: what the gain is over
    unit: str

    @property
    def where(self) -> str:
        """The key as messages name it."""
        text = ""
        for part in self.key:
            text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
        return text

    @property
    def why(self) -> str:
        """What was measured, in one line."""
        gain = self.gain
        low, high = gain.times.low or 0.0, gain.times.high or 0.0
        runs = f"{gain.runs[0]} and {gain.runs[1]} runs"
        return (
            f"{number(gain.before)} -> {number(gain.after)} {self.unit} over {self.against}:"
            f" {gain.times.value:.2f} [{low:.2f}, {high:.2f}] times as fast,"
            f" {runs}{' side by side' if gain.is_paired else ''}, {gain.context}"
        )


def proposals(config: Config, rows: Sequence[Row]) -> list[Proposal]:
    """Return what to change, for the cells that the file measures.

    A change has to be a gain of 5 % at least somewhere, with an interval that excludes none, and
    a loss nowhere. Ways that gave wrong outputs are left out.
    """
    usable = [one for one in rows if any(_is_asked(one, each) for each in config.benchmarks)]
    return [
        *_threads(config, usable),
        *_engines(config, usable),
        *_browsers(config, usable),
        *_orders(config, usable),
        *_batches(config, usable),
    ]


def _is_asked(row: Row, benchmark: BenchmarkConfig) -> bool:
    return (
        (not benchmark.models or row.model in benchmark.models)
        and row.precision in benchmark.precisions
        and row.batch_size in benchmark.batch_sizes
        and row.sequence_length in (None, benchmark.sequence_length)
        and row.scenario in map(str, benchmark.scenarios())
        and any(row.target.backend == one.backend for one in benchmark.targets)
    )


def _grouped(
    rows: Iterable[Row],
    option: Callable[[Row], Option | None],
    context: Callable[[Row], tuple[Any, ...]],
    value: Callable[[Row], float | None] = lambda row: row.latency_ms,
) -> Measurements[Option]:
    """Return values by option, context and run; options that were wrong once are left out.

    A context is a model on one kind of adapter, and what else has to be alike.
    """
    grouped: dict[Option, dict[str, dict[str, float]]] = {}
    wrong = set()
    for row in rows:
        chosen, measured = option(row), value(row)
        if chosen is None or measured is None:
            continue
        if row.is_wrong:
            wrong.add(chosen)
        words = [row.model, *(str(part) for part in context(row) if part is not None)]
        if row.sequence_length:
            words.append(f"x{row.sequence_length}")
        if row.scenario != "single_stream":
            words.append(row.scenario)
        if row.is_software:
            words.append("(software adapter)")
        grouped.setdefault(chosen, {}).setdefault(" ".join(words), {})[row.run_id] = measured
    return {chosen: values for chosen, values in grouped.items() if chosen not in wrong}


def _batch(row: Row) -> str:
    return f"batch {row.batch_size}"


def _threads(config: Config, rows: Sequence[Row]) -> Iterator[Proposal]:
    for backend in _THREADED:
        theirs = [one for one in rows if one.target.backend == backend and one.threads]
        if not theirs:
            continue
        said = config.backends.get(backend, {}).get("threads")
        current = said or theirs[-1].threads
        measured = _grouped(
            theirs,
            lambda row: row.threads,
            lambda row: (row.target, row.precision, _batch(row)),
        )
        if (best := winner(measured, current)) is not None:
            yield Proposal(
                key=("backends", backend, "threads"),
                before=said,
                after=best[0],
                gain=best[1],
                against=f"{current} threads",
                unit="ms",
            )


def _engine(config: Config, target: Target) -> str | None:
    """Return what runs a target's models; None of a backend without engines."""
    if target.engine or target.browser is None:
        return target.engine
    return str(config.backends.get(target.backend, {}).get("engine", _USUAL_ENGINE))


def _engines(config: Config, rows: Sequence[Row]) -> Iterator[Proposal]:
    open_ones = {
        one.backend
        for benchmark in config.benchmarks
        for one in benchmark.targets
        if one.engine is None and one.browser is not None
    }
    for backend in sorted(open_ones):
        measured = _grouped(
            (one for one in rows if one.target.backend == backend),
            lambda row: row.target.engine,
            lambda row: (row.target.browser, row.precision, _batch(row)),
        )
        said = config.backends.get(backend, {}).get("engine")
        current = said or _USUAL_ENGINE
        if (best := winner(measured, current)) is not None:
            yield Proposal(
                key=("backends", backend, "engine"),
                before=said,
                after=best[0],
                gain=best[1],
                against=current,
                unit="ms",
            )


def _browsers(config: Config, rows: Sequence[Row]) -> Iterator[Proposal]:
    tasks = {model.name: model.task for model in config.models}
    by_task: dict[str, list[Row]] = {}
    for row in rows:
        task = tasks.get(row.model) or row.task
        if task is not None and row.target.engine == _engine(
            config, attrs.evolve(row.target, engine=None)
        ):
            by_task.setdefault(task, []).append(row)
    for task, theirs in sorted(by_task.items()):
        measured = _grouped(
            theirs,
            lambda row: row.target.browser,
            lambda row: (attrs.evolve(row.target, browser=None), row.precision, _batch(row)),
        )
        said = dict(config.pool.browser_preferences).get(task)  # type: ignore[call-overload]
        if (best := winner(measured, said)) is not None:
            yield Proposal(
                key=("pool", "browser_preferences", task),
                before=said,
                after=best[0],
                gain=best[1],
                against=said or "the next best browser",
                unit="ms",
            )


def _orders(config: Config, rows: Sequence[Row]) -> Iterator[Proposal]:
    """Yield lists of targets that should begin with another: order is preference."""
    lists: list[tuple[Key, tuple[Target, ...]]] = [(("pool", "fallback"), config.pool.fallback)]
    for index, benchmark in enumerate(config.benchmarks):
        lists += [
            (("benchmarks", index, "targets"), benchmark.targets),
            (("benchmarks", index, "fallback"), benchmark.fallback),
        ]
    for key, targets in lists:
        if len(targets) < 2 or targets[0].is_pattern:
            continue
        measured = _grouped(
            rows,
            lambda row, among=targets: _covering(config, among, row.target),  # type: ignore[misc]
            lambda row: (row.precision, _batch(row)),
        )
        if (best := winner(measured, targets[0])) is not None:
            yield Proposal(
                key=key,
                before=[str(one) for one in targets],
                after=[str(best[0]), *(str(one) for one in targets if one != best[0])],
                gain=best[1],
                against=str(targets[0]),
                unit="ms",
            )


def _covering(config: Config, targets: Sequence[Target], ran: Target) -> Target | None:
    for one in targets:
        if not one.is_pattern and one.covers(ran) and ran.engine == _engine(config, one):
            return one
    return None


def _batches(config: Config, rows: Sequence[Row]) -> Iterator[Proposal]:
    for index, benchmark in enumerate(config.benchmarks):
        sizes = benchmark.batch_sizes
        measured = _grouped(
            (one for one in rows if _is_asked(one, benchmark)),
            lambda row: row.batch_size,
            lambda row: (row.target, row.precision),
            lambda row: row.throughput,
        )
        best = winner(measured, sizes[0], is_lower_better=False)
        if best is not None:
            yield Proposal(
                key=("benchmarks", index, "batch_sizes"),
                before=list(sizes),
                after=[best[0], *(one for one in sizes if one != best[0])],
                gain=best[1],
                against=f"batch {sizes[0]}",
                unit="items/s",
            )
