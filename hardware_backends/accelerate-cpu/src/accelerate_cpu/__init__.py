# SPDX-License-Identifier: Apache-2.0
"""The native ONNX Runtime backend: embedded default and numerical reference."""

from __future__ import annotations

from typing import Literal

import attrs

from accelerate_core import hookimpl
from accelerate_core.protocols import Backend, Context

__all__ = ["CpuPlugin", "CpuSettings"]


@attrs.frozen(kw_only=True)
class CpuSettings:
    """Configure native ONNX Runtime."""

    #: Threads that share one run. Unset: one for each physical core this process may use, divided
    #: by the workers there are when one is started: each of several with threads for all cores
    #: would wait for the others' threads, and several be slower than one.
    threads: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.ge(1))
    )
    #: How far ONNX Runtime rewrites the graph when it loads a model.
    optimization: Literal["none", "basic", "extended", "all"] = "all"


class CpuPlugin:
    """Offer the target `cpu`."""

    name = "cpu"
    settings = CpuSettings

    @hookimpl
    def backend_create(self, settings: CpuSettings | None, ctx: Context) -> Backend:
        """Return the backend; imports no ONNX Runtime yet."""
        from .backend import CpuBackend

        return CpuBackend(settings or CpuSettings())
