# SPDX-License-Identifier: Apache-2.0
"""Which variant does a step: the one measured fastest on this adapter, else a guess. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from accelerate_core.errors import Unsupported

from .kernels import Device, Kernel, Variant, is_for
from .program import Step


def guess(kernel: Kernel, step: Step, device: Device) -> tuple[Variant, Mapping[str, float]]:
    """Return the first variant that can do a step, those that suit the kind of device first.

    Unsupported when none can. A guess is what is used until the adapter was measured.
    """
    able = [one for one in kernel.variants if is_for(one, step.params, device)]
    if not able:
        raise Unsupported(
            f"no variant of {kernel.operation} takes {dict(step.params)} on this device",
            where=step.label or kernel.operation,
            accepted=tuple(f"{one.name}: {one.when}" for one in kernel.variants),
        )
    kind = "hardware" if device.is_software is False else "software"
    best = min(able, key=lambda one: one.suits not in (kind, "any"))
    return best, best.constants
