# SPDX-License-Identifier: Apache-2.0
"""Start one browser page: lease, launch, wait, or undo all of it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Any, TypeVar

import attrs
import msgspec

from accelerate_core.errors import BackendUnavailable, WorkerLost
from accelerate_core.protocols import Context
from accelerate_core.types import AdapterInfo, Target, WorkerInfo

from .bridge import Connection, Invitation
from .browsers import BrowserFound
from .hookspecs import ENGINES
from .hookspecs.engine import EngineModule
from .hookspecs.launcher import Gone, Launched, Launcher, LaunchRequest
from .hub import Hub, create, opened
from .launchers import graphics
from .messages import Hello, Ready
from .settings import BrowserSettings
from .slots import SlotLease
from .traits import Traits
from .worker import BrowserWorker, Parts

T = TypeVar("T")


async def start_worker(
    hub: Hub,
    launcher: Launcher,
    traits: Traits,
    settings: BrowserSettings,
    ctx: Context,
    target: Target,
    found: BrowserFound,
) -> BrowserWorker:
    """Return a worker for a concrete target whose engine is ready.

    BackendUnavailable when the browser does not start, its page does not connect in time, or the
    engine finds no device. Whatever was started is stopped again when this raises.
    """
    module = engine_module(ctx, target, settings)
    async with contextlib.AsyncExitStack() as undo:
        lease = await hub.lease(found.browser)
        undo.callback(lease.release)
        bridge = await hub.bridge(lease.slot)
        bridge.serve_engine(module)
        invitation = bridge.invite(module, str(target))
        undo.callback(bridge.uninvite, invitation)
        begin = time.perf_counter()
        launched = await _launch(launcher, settings, lease, found, invitation)
        undo.push_async_callback(launched.close, kill=True)
        connection, ready = await _arrive(invitation, launched, settings, target, traits.remedy)
        undo.callback(connection.lose, "the start was given up")
        launch_ms = (time.perf_counter() - begin) * 1e3
        hello, ready = connection.said_hello.result(), _judged(ready, module)
        details = {
            "launcher": launched.launcher or settings.launcher,
            "slot": lease.slot_id,
            "port": lease.port,
        }
        info = _info(target, found, hello, ready, details, launch_ms)
        undo.pop_all()
        parts = Parts(hub=hub, lease=lease, bridge=bridge, launched=launched, connection=connection)
        return BrowserWorker(info, parts, settings, ctx, module, traits.check_load)


def engine_module(ctx: Context, target: Target, settings: BrowserSettings) -> EngineModule:
    """Return the module of a target's engine; BackendUnavailable when no plugin has it."""
    name = f"{target.engine}-{target.backend}"
    known = opened(ctx, ENGINES).names(ENGINES.name)
    if name not in known:
        engines = [one.removesuffix(f"-{target.backend}") for one in known]
        raise BackendUnavailable(
            f"no engine {target.engine!r} for the backend {target.backend!r} is installed",
            where=str(target),
            accepted=[one for one, full in zip(engines, known, strict=True) if one != full],
            hint=f"An engine is a plugin of the group {ENGINES.group}, called {name!r}.",
        )
    where = f"{target.backend}.engine_settings"
    module: EngineModule = create(ctx, ENGINES, name, settings.engine_settings, where)
    return module


async def _launch(
    launcher: Launcher,
    settings: BrowserSettings,
    lease: SlotLease,
    found: BrowserFound,
    invitation: Invitation,
) -> Launched:
    request = LaunchRequest(
        browser=found,
        url=invitation.url,
        profile=lease.profile,
        headless=settings.headless,
        timeout_s=settings.start_timeout_s,
        extra_args=settings.args,
    )
    try:
        return await launcher.launch(request)
    except WorkerLost as error:
        raise BackendUnavailable(
            f"{found.browser} did not start: {error.info.message}",
            where=invitation.where,
            hint=error.info.hint,
        ) from error


async def _arrive(
    invitation: Invitation,
    launched: Launched,
    settings: BrowserSettings,
    target: Target,
    remedy: str | None,
) -> tuple[Connection, Ready]:
    """Wait until the page connected and its engine is ready, the browser ended, or time is up."""
    gone = asyncio.create_task(launched.wait_gone())
    step = "its page did not connect"
    try:
        async with asyncio.timeout(settings.start_timeout_s):
            connection = await _unless_gone(invitation.connection, gone, target)
            step = "its page connected, but the engine did not become ready"
            return connection, await _unless_gone(connection.ready, gone, target)
    except TimeoutError:
        await launched.close(kill=True)
        words = (await gone).stderr
        raise BackendUnavailable(
            f"{target.browser} started, but {step} within {settings.start_timeout_s:g} s"
            + (f"; it wrote:\n{words}" if words else ""),
            where=str(target),
            hint="On a slow machine raise start_timeout_s; else try another browser or launcher.",
        ) from None
    except BackendUnavailable as error:
        if error.info.hint is not None:
            raise
        raise BackendUnavailable(error.info.message, where=str(target), hint=remedy) from error
    except WorkerLost as error:
        raise BackendUnavailable(
            f"{target.browser}'s page went away while it started: {error.info.message}",
            where=str(target),
        ) from error
    finally:
        gone.cancel()


async def _unless_gone(wanted: asyncio.Future[T], gone: asyncio.Future[Gone], target: Target) -> T:
    waited: list[asyncio.Future[Any]] = [wanted, gone]
    await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
    if wanted.done():
        return wanted.result()
    error = gone.result().to_error()
    raise BackendUnavailable(
        f"{target.browser} ended before its page was ready: {error.info.message}",
        where=str(target),
        hint=error.info.hint,
    )


def _judged(ready: Ready, module: EngineModule) -> Ready:
    """Add what a page cannot see: where the system has no GPU, its adapter is software."""
    if not module.needs_gpu or ready.is_software is not None:
        return ready
    if not graphics.use_software("auto", graphics.look()):
        return ready
    return msgspec.structs.replace(ready, is_software=True, device_type="cpu")


def _info(
    target: Target,
    found: BrowserFound,
    hello: Hello,
    ready: Ready,
    details: Mapping[str, Any],
    launch_ms: float,
) -> WorkerInfo:
    adapter = ready.adapter or {}
    fields = [field.name for field in attrs.fields(AdapterInfo)]
    return WorkerInfo(
        target=target,
        browser_version=found.version,
        engine_version=ready.engine_version,
        adapter=AdapterInfo(**{field: adapter.get(field) or None for field in fields})
        if ready.adapter is not None
        else None,
        features=tuple(sorted(ready.features)),
        limits=dict(ready.limits),
        is_software=ready.is_software,
        device_type=ready.device_type,
        threads=ready.threads,
        launch_ms=launch_ms,
        details={
            **ready.details,
            "user_agent": hello.user_agent,
            "cross_origin_isolated": hello.cross_origin_isolated,
            "hardware_concurrency": hello.hardware_concurrency,
            "has": dict(hello.has),
            **details,
        },
    )
