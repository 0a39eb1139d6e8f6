# SPDX-License-Identifier: Apache-2.0
"""Backends that run in browser pages: one class, told apart by what they know; and `wasm`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from accelerate_core.errors import BackendUnavailable, did_you_mean
from accelerate_core.markers import hookimpl
from accelerate_core.protocols import Backend, Context, Worker
from accelerate_core.types import BROWSERS, Availability, Target

from .hookspecs import LAUNCHERS
from .settings import BrowserSettings
from .traits import Traits

if TYPE_CHECKING:
    from .browsers import BrowserFound
    from .hookspecs.launcher import Launcher
    from .hub import Hub


_ANOTHER = "Use another browser; `accel browsers list` shows what is here."


class BrowserBackend(Backend):
    """Start a browser page for a target, and say which browsers are here."""

    def __init__(self, traits: Traits, settings: BrowserSettings, ctx: Context) -> None:
        self.needs_static_shapes = traits.needs_static_shapes
        self._traits = traits
        self._settings = settings
        self._ctx = ctx
        self._hub: Hub | None = None
        self._made_launcher: Launcher | None = None

    def loads_for_sizes(self, target: Target) -> bool:
        """Whether models are prepared, or shapes static, for the sizes given at load."""
        from .starting import engine_module

        if self.needs_static_shapes:
            return True
        concrete = attrs.evolve(target, engine=target.engine or self._settings.engine)
        return engine_module(self._ctx, concrete, self._settings).prepare is not None

    async def discover(self) -> Sequence[Availability]:
        """Say for each known browser whether it could be started; starts none."""
        import asyncio

        launcher = self._launcher()
        return await asyncio.to_thread(lambda: [self._look(name, launcher) for name in BROWSERS])

    async def start(self, target: Target, ctx: Context) -> Worker:
        """Start a browser on a page of ours and wait until its engine has proved itself."""
        import asyncio

        from .starting import start_worker

        launcher = self._launcher()
        found = await asyncio.to_thread(self._choose, target, launcher)
        concrete = attrs.evolve(
            target, browser=found.browser, engine=target.engine or self._settings.engine
        )
        return await start_worker(
            self._joined(), launcher, self._traits, self._settings, self._ctx, concrete, found
        )

    async def close(self) -> None:
        """Leave what all browser backends share; the last one frees it."""
        if self._hub is not None:
            hub, self._hub = self._hub, None
            await hub.leave()

    def _joined(self) -> Hub:
        from .hub import Hub

        if self._hub is None:
            self._hub = Hub.join(self._ctx)
        return self._hub

    # --- which browser ------------------------------------------------------------------------

    def _look(self, browser: str, launcher: Launcher) -> Availability:
        from .browsers import BrowserFound, BrowserMissing, find_browser
        from .hookspecs.launcher import Obstacle

        target = Target(self._traits.name, None, browser)
        found = find_browser(browser, self._ctx.cache_dir)
        obstacle: BrowserMissing | Obstacle | None
        if isinstance(found, BrowserMissing):
            obstacle = found
        elif reason := self._traits.lacking.get(browser):
            obstacle = Obstacle(reason=reason)
        else:
            obstacle = launcher.obstacle(found)
        return Availability(
            target=target,
            is_available=obstacle is None,
            version=found.version if isinstance(found, BrowserFound) else None,
            reason=obstacle.reason if obstacle else None,
            remedy=obstacle.remedy if obstacle else None,
        )

    def _choose(self, target: Target, launcher: Launcher) -> BrowserFound:
        """Return the browser a target names, else the first one that could do it."""
        from .browsers import BrowserMissing, find_browser

        name = self._traits.name
        if target.backend != name or target.is_pattern:
            raise BackendUnavailable(
                f"{target} is no target of the backend {name!r}",
                accepted=tuple(f"{name}:{browser}" for browser in BROWSERS),
                hint=_ANOTHER,
            )
        browser = target.browser or self._first(launcher)
        if browser not in BROWSERS:
            raise BackendUnavailable(
                f"no browser is called {browser!r}",
                where=str(target),
                accepted=BROWSERS,
                hint=did_you_mean(browser, BROWSERS) or _ANOTHER,
            )
        found = find_browser(browser, self._ctx.cache_dir)
        if isinstance(found, BrowserMissing):
            raise BackendUnavailable(
                f"{browser}: {found.reason}",
                where=str(target),
                hint=f"To get it: {found.remedy}" if found.remedy else _ANOTHER,
            )
        if reason := self._traits.lacking.get(browser):
            raise BackendUnavailable(reason, where=str(target), hint=_ANOTHER)
        launcher.require(found)
        return found

    def _first(self, launcher: Launcher) -> str:
        looks = [self._look(browser, launcher) for browser in BROWSERS]
        for look in looks:
            if look.is_available and look.target.browser:
                return look.target.browser
        remedies = [look.remedy for look in looks if look.remedy]
        raise BackendUnavailable(
            f"no browser for the backend {self._traits.name!r} was found",
            where=self._traits.name,
            hint=f"To get one: {remedies[0]}" if remedies else None,
        )

    def _launcher(self) -> Launcher:
        from .hub import create

        if self._made_launcher is None:
            self._made_launcher = create(
                self._ctx,
                LAUNCHERS,
                self._settings.launcher,
                self._settings.launcher_settings,
                f"{self._traits.name}.launcher_settings",
            )
        return self._made_launcher


@attrs.frozen(kw_only=True)
class WasmSettings(BrowserSettings):
    """Configure the backend `wasm`."""

    #: Threads that share one run. Unset: chosen in the page by a short measurement.
    threads: int | None = attrs.field(
        default=None, validator=attrs.validators.optional(attrs.validators.ge(1))
    )


class WasmPlugin:
    """Offer the backend `wasm`: WebAssembly on the processor, in any browser."""

    name = "wasm"
    settings = WasmSettings

    @hookimpl
    def backend_create(self, settings: WasmSettings | None, ctx: Context) -> Backend:
        """Return the backend; starts no browser."""
        settings = settings or WasmSettings()
        if settings.threads is not None:
            engine_settings = {"threads": settings.threads, **settings.engine_settings}
            settings = attrs.evolve(settings, engine_settings=engine_settings)
        return BrowserBackend(Traits(name=self.name), settings, ctx)
