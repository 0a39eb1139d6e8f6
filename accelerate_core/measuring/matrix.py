# SPDX-License-Identifier: Apache-2.0
"""From benchmarks and what is available to a list of cells. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product

import attrs

from ..config import BenchmarkConfig, Config, ModelConfig
from ..errors import BackendUnavailable, ConfigError
from ..types import Availability, Cell, Target


@attrs.frozen(kw_only=True)
class Planned:
    """Hold a cell that is going to be measured, or why it cannot be."""

    cell: Cell
    model: ModelConfig
    benchmark: BenchmarkConfig
    is_required: bool
    missing: BackendUnavailable | None = None


def plan(config: Config, available: Mapping[str, Sequence[Availability]]) -> tuple[Planned, ...]:
    """Return every cell of a configuration, target by target, so that workers are reused.

    `available` holds each backend's discoveries. `*` becomes every browser found; one that is
    missing and could be had becomes a cell that says how.
    """
    planned: dict[Cell, Planned] = {}
    for benchmark in config.benchmarks:
        scenarios = benchmark.scenarios()
        names = benchmark.models or tuple(model.name for model in config.models)
        for target, missing in _targets(benchmark, available):
            required = any(asked.covers(target) for asked in benchmark.required)
            for name in names:
                for precision in benchmark.precisions:
                    for batch_size, scenario in product(benchmark.batch_sizes, scenarios):
                        cell = Cell(
                            model=name,
                            target=target,
                            precision=precision,
                            batch_size=batch_size,
                            sequence_length=benchmark.sequence_length,
                            scenario=scenario,
                        )
                        planned.setdefault(
                            cell,
                            Planned(
                                cell=cell,
                                model=config.model(name),
                                benchmark=benchmark,
                                is_required=required,
                                missing=missing,
                            ),
                        )
    return tuple(planned.values())


def select(planned: Iterable[Planned], only: Sequence[str]) -> tuple[Planned, ...]:
    """Return the cells whose description contains one of the words; ConfigError if none does."""
    planned = tuple(planned)
    if not only:
        return planned
    chosen = tuple(one for one in planned if any(word in str(one.cell) for word in only))
    if not chosen:
        raise ConfigError(
            f"no cell matches {', '.join(only)}",
            where="--only",
            accepted=tuple(dict.fromkeys(str(one.cell.target) for one in planned)),
        )
    return chosen


def concrete(
    target: Target, available: Sequence[Availability], prefer: str | None = None
) -> Target:
    """Return `target` with a browser where the backend needs one: preferred, else first found."""
    if target.browser not in (None, "*"):
        return target
    found = [one.target for one in available if one.is_available and _serves(one, target)]
    for one in found:
        if prefer is not None and one.browser == prefer:
            return attrs.evolve(one, engine=target.engine)
    if found:
        return attrs.evolve(found[0], engine=target.engine)
    raise _nothing(target, available)


def _targets(
    benchmark: BenchmarkConfig, available: Mapping[str, Sequence[Availability]]
) -> Iterable[tuple[Target, BackendUnavailable | None]]:
    for asked in benchmark.targets:
        offers = available.get(asked.backend, ())
        if not asked.is_pattern:
            yield _one(asked, offers)
            continue
        usable = [one for one in offers if one.is_available or one.remedy]
        if not usable and not any(asked.covers(needed) for needed in benchmark.required):
            yield attrs.evolve(asked, browser=None), _nothing(asked, offers)
        for one in usable:
            target = attrs.evolve(one.target, engine=asked.engine)
            yield target, None if one.is_available else _missing(target, one)
        # A required browser is never left out in silence.
        for needed in benchmark.required:
            if asked.covers(needed) and not any(_serves(one, needed) for one in usable):
                yield _one(needed, offers)


def _one(asked: Target, offers: Sequence[Availability]) -> tuple[Target, BackendUnavailable | None]:
    for offer in offers:
        if _serves(offer, asked) and offer.is_available:
            return attrs.evolve(offer.target, engine=asked.engine), None
    for offer in offers:
        if _serves(offer, asked):
            return asked, _missing(asked, offer)
    return asked, _nothing(asked, offers)


def _serves(offer: Availability, asked: Target) -> bool:
    """Whether an offer is for a target; one that names no engine is for all of a backend's."""
    return asked.covers(attrs.evolve(offer.target, engine=offer.target.engine or asked.engine))


def _missing(target: Target, offer: Availability) -> BackendUnavailable:
    return BackendUnavailable(
        offer.reason or "not found here",
        where=str(target),
        hint=f"To get it: {offer.remedy}" if offer.remedy else None,
    )


def _nothing(target: Target, offers: Sequence[Availability]) -> BackendUnavailable:
    remedies = [one.remedy for one in offers if one.remedy]
    return BackendUnavailable(
        "nothing here can run this",
        where=str(target),
        accepted=tuple(str(one.target) for one in offers if one.is_available),
        hint=f"To get one: {remedies[0]}" if remedies else None,
    )
