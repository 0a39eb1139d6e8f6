# SPDX-License-Identifier: Apache-2.0
"""The device behind a worker, and the name its measurements go by. Pure."""

from __future__ import annotations

import attrs

from accelerate_core.types import AdapterInfo, WorkerInfo

from .kernels import Device


def device_of(info: WorkerInfo) -> Device:
    """Return the device of a worker, by what the worker says of itself."""
    return Device(
        features=frozenset(info.features),
        limits=dict(info.limits),
        is_software=info.is_software,
        adapter=adapter_key(info.adapter),
    )


def adapter_key(adapter: AdapterInfo | None) -> str:
    """Return what measurements of an adapter are kept by; never the name of a browser.

    Two browsers on one adapter share it where both say the same of it.
    """
    facts = attrs.astuple(adapter) if adapter else ()
    return " | ".join(str(one) for one in facts if one) or "unknown adapter"
