# SPDX-License-Identifier: Apache-2.0
"""Settings that all browser backends share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

_positive = attrs.validators.gt(0.0)


@attrs.frozen(kw_only=True)
class BrowserSettings:
    """Configure how browsers are started and watched."""

    #: What starts browsers: the name of a launcher.
    launcher: str = "auto"
    #: Settings of that launcher.
    launcher_settings: Mapping[str, Any] = attrs.field(factory=dict)
    #: Run browsers without a window.
    headless: bool = True
    #: Arguments added to the browser's command line.
    args: tuple[str, ...] = ()
    #: What runs models in the page: the engine `<engine>-<backend>`. A target may name another.
    engine: str = "ort"
    #: Settings of that engine.
    engine_settings: Mapping[str, Any] = attrs.field(factory=dict)
    #: Seconds from starting a browser until its page has connected and its engine is ready.
    start_timeout_s: float = attrs.field(default=90.0, validator=_positive)
    #: Seconds between two questions for a sign of life.
    heartbeat_s: float = attrs.field(default=0.1, validator=_positive)
    #: Seconds without a sign of life after which a page is lost.
    heartbeat_timeout_s: float = attrs.field(default=10.0, validator=_positive)
    #: Seconds a cancelled request has to stop before the page's compute thread is replaced.
    cancel_grace_s: float = attrs.field(default=2.0, validator=attrs.validators.ge(0))
