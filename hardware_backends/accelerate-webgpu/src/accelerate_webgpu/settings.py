# SPDX-License-Identifier: Apache-2.0
"""Settings that the engines on WebGPU share."""

from __future__ import annotations

from typing import Literal

import attrs


@attrs.frozen(kw_only=True)
class WebGpuEngineSettings:
    """Configure an engine on WebGPU."""

    #: Poll the queue while a readback waits, without which Firefox answers every 100 ms only.
    #: "auto": in Firefox.
    readback_poll: bool | Literal["auto"] = "auto"
    #: Which adapter to ask for where there are several. Unset: as the browser likes.
    power_preference: Literal["high-performance", "low-power"] | None = None
