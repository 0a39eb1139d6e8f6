# SPDX-License-Identifier: Apache-2.0
"""The `auto` launcher: for each browser the first launcher that can start it here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from accelerate_core.errors import BackendUnavailable
from accelerate_core.markers import hookimpl
from accelerate_core.protocols import Context

from ..browsers import BrowserFound
from ..hookspecs.launcher import Launched, Launcher, LaunchRequest, Obstacle


@attrs.frozen(kw_only=True)
class AutoSettings:
    """Settings of the `auto` launcher."""

    #: Launchers to try, best first. A process needs no driver and is ready sooner.
    order: tuple[str, ...] = ("process", "selenium")
    #: Settings of those launchers, by name.
    launchers: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)


class AutoPlugin:
    """Plugin `auto`."""

    name = "auto"
    settings = AutoSettings

    @hookimpl
    def launcher_create(self, settings: AutoSettings | None, ctx: Context) -> Launcher:
        """Return the launcher, with those it chooses from."""
        settings = settings or AutoSettings()
        return AutoLauncher(
            [
                ctx.plugins.create(
                    "launchers",
                    name,
                    settings.launchers.get(name),
                    where=f"launchers.auto.launchers.{name}",
                )
                for name in settings.order
            ]
        )


class AutoLauncher(Launcher):
    """Starts each browser through the first of several launchers that can."""

    def __init__(self, launchers: Sequence[Launcher]) -> None:
        self._launchers = launchers

    def choose(self, browser: BrowserFound) -> Launcher | None:
        """Return the launcher that would start `browser`, or None."""
        return next((one for one in self._launchers if one.supports(browser)), None)

    def obstacle(self, browser: BrowserFound) -> Obstacle | None:
        """Return what the first launcher lacks when none can start `browser`."""
        if self.choose(browser):
            return None
        obstacles = (one.obstacle(browser) for one in self._launchers)
        return next(filter(None, obstacles), Obstacle(reason="no launcher is configured"))

    async def launch(self, request: LaunchRequest) -> Launched:
        """Start the browser; see `Launcher.launch`."""
        launcher = self.choose(request.browser)
        if launcher is None:
            self.require(request.browser)
            raise BackendUnavailable("no launcher is configured", where=request.browser.browser)
        return await launcher.launch(request)
