# SPDX-License-Identifier: Apache-2.0
"""Which variant does a step: the one measured fastest on this adapter, else a guess. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from accelerate_core.errors import Unsupported

from .assemble import Choose
from .kernels import Device, Kernel, Variant, grid_of, is_for
from .program import Step
from .tuning_book import Book

#: What is faster by less is not worth a pipeline of its own; noise is as large, too.
_MARGIN = 0.1


@attrs.frozen
class Choice:
    """Say which variant does a step, and how that is known."""

    variant: Variant
    constants: Mapping[str, float]
    measured_ms: float | None = None  #: None for a guess


def guess(kernel: Kernel, step: Step, device: Device) -> tuple[Variant, Mapping[str, float]]:
    """Return the first variant that can do a step, those that suit the kind of device first.

    Unsupported when none can. A guess is what is used until the adapter was measured.
    """
    kind = "hardware" if device.is_software is False else "software"
    able = [one for one in kernel.variants if is_for(one, step.params, device)]
    if not able:
        raise Unsupported(
            f"no variant of {kernel.operation} takes {dict(step.params)} on this device",
            where=step.label or kernel.operation,
            accepted=tuple(f"{one.name}: {one.when}" for one in kernel.variants),
        )
    best = min(able, key=lambda one: one.suits not in (kind, "any"))
    return best, best.constants


def choice(book: Book, kernel: Kernel, step: Step, device: Device) -> Choice:
    """Return what does a step, and why; Unsupported when nothing can.

    The guess stays unless another is faster by a margin: each further pipeline must be compiled.
    """
    guessed = guess(kernel, step, device)
    variants = {one.name: one for one in kernel.variants}
    known = [
        Choice(variants[one.variant], one.constants, one.best_ms)
        for one in book.near(kernel, step.params)
        if can(attrs.evolve(variants[one.variant], constants=one.constants), step, device)
    ]
    if not known:
        return Choice(*guessed)
    best = known[0]
    for one in known:
        if (one.variant, one.constants) == guessed and _ms(best) > (1 - _MARGIN) * _ms(one):
            return one
    return best


def _ms(one: Choice) -> float:
    assert one.measured_ms is not None
    return one.measured_ms


def chooser(book: Book) -> Choose:
    """Return a function that chooses by what was measured, for `assemble`."""

    def choose(kernel: Kernel, step: Step, device: Device) -> tuple[Variant, Mapping[str, float]]:
        made = choice(book, kernel, step, device)
        return made.variant, made.constants

    return choose


def candidates(kernel: Kernel, step: Step, device: Device) -> Iterator[Choice]:
    """Yield what is worth measuring: each variant as it is, then each other value it names."""
    for variant in kernel.variants:
        others = ((name, value) for name, values in variant.tune.items() for value in values)
        changes = [{}, *({name: one} for name, one in others if variant.constants[name] != one)]
        for change in changes:
            constants = {**variant.constants, **change}
            if can(attrs.evolve(variant, constants=constants), step, device):
                yield Choice(variant, constants)


def can(variant: Variant, step: Step, device: Device) -> bool:
    """Whether a variant, with the constants it has, does a step within a device's limits."""
    if not is_for(variant, step.params, device):
        return False
    try:
        grid_of(variant, step.params, variant.constants, device)
    except Unsupported:
        return False
    return True
