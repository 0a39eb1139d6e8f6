# SPDX-License-Identifier: Apache-2.0
"""Plans on the GPU without a browser: the backend `wgpu`."""

from __future__ import annotations

from typing import Literal

import attrs

from accelerate_core.markers import hookimpl
from accelerate_core.protocols import Backend, Context

__all__ = ["WgpuPlugin", "WgpuSettings"]


@attrs.frozen(kw_only=True)
class WgpuSettings:
    """Configure the choice of an adapter."""

    #: Part of the adapter's name, where there are several. Unset: the one `power` prefers.
    adapter: str = ""
    #: Which kind of GPU to prefer: discrete ones or integrated ones. A real one goes before a
    #: software adapter.
    power: Literal["high-performance", "low-power"] = "high-performance"
    #: Which of the system's graphics interfaces to use. Unset: any.
    api: Literal["vulkan", "metal", "d3d12"] | None = None


class WgpuPlugin:
    """Offer the target `wgpu`."""

    name = "wgpu"
    settings = WgpuSettings

    @hookimpl
    def backend_create(self, settings: WgpuSettings | None, ctx: Context) -> Backend:
        """Return the backend; imports no wgpu yet."""
        from .backend import WgpuBackend

        return WgpuBackend(settings or WgpuSettings())
