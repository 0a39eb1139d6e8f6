# SPDX-License-Identifier: Apache-2.0
"""The device behind a worker, and the name its measurements go by. Pure."""

from __future__ import annotations

import hashlib
import json

import attrs

from accelerate_core.types import WorkerInfo

from .kernels import Device


def device_of(info: WorkerInfo) -> Device:
    """Return the device of a worker, by what the worker says of itself."""
    return Device(
        features=frozenset(info.features),
        limits=dict(info.limits),
        is_software=info.is_software,
        adapter=adapter_key(info),
    )


def adapter_key(info: WorkerInfo) -> str:
    """Return what measurements of an adapter are kept by; never the name of a browser.

    Two browsers on one adapter share it where both say the same of it. Firefox says nothing: there
    features and limits have to stand for a name.
    """
    facts = attrs.astuple(info.adapter) if info.adapter else ()
    if known := " | ".join(str(one) for one in facts if one):
        return known
    said = json.dumps([sorted(info.features), sorted(info.limits.items()), info.is_software])
    return f"unnamed adapter {hashlib.sha256(said.encode()).hexdigest()[:8]}"
