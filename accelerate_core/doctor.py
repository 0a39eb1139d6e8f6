# SPDX-License-Identifier: Apache-2.0
"""Find out what works here by trying it: every backend on every browser runs a tiny model."""

from __future__ import annotations

import asyncio
import enum
import logging
import os
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from . import __version__, inventory
from .errors import (
    AccelerateError,
    BackendUnavailable,
    ConfigError,
    ErrorInfo,
    JobTimeout,
    NumericalError,
    Unsupported,
)
from .host import Host
from .measuring.numbers import TOLERANCE, bind_dimensions, relative_l2
from .protocols import Backend, Context, DoctorFinding, Worker
from .running.failures import typed
from .types import Availability, LoadOptions, Target, WorkerInfo

if TYPE_CHECKING:
    from .types import Array

_log = logging.getLogger("accelerate.doctor")

#: From starting a worker to its answer. The slowest honest start known takes about 15 s.
PROBE_TIMEOUT_S = 90.0
CLOSE_TIMEOUT_S = 20.0
#: Models, profiles and browsers need room; with less, runs begin to fail.
LEAST_FREE_BYTES = 1 << 30


class State(enum.StrEnum):
    REAL = "real"  #: ran on what was asked
    SOFTWARE = "software"  #: ran, with a CPU in place of the accelerator
    SIMULATED = "simulated"  #: the fake backend
    MISSING = "missing"  #: not installed, or not offered by this browser or machine
    BROKEN = "broken"  #: installed, and does not work


@attrs.frozen(kw_only=True)
class Probe:
    """Say what came of trying one target."""

    target: Target
    state: State
    version: str | None = None
    worker: WorkerInfo | None = None  #: None when none started
    took_ms: float | None = None  #: from start to the compared answer
    relative_l2: float | None = None
    error: ErrorInfo | None = None  #: why not; `hint` says how to get or mend it


@attrs.frozen(kw_only=True)
class Diagnosis:
    """Hold everything `accel doctor` found."""

    versions: Mapping[str, str]
    probes: tuple[Probe, ...]
    findings: tuple[DoctorFinding, ...]

    @property
    def is_healthy(self) -> bool:
        """Whether nothing that is installed is broken, and something really runs a model."""
        broken = any(probe.state is State.BROKEN for probe in self.probes)
        works = any(probe.state in (State.REAL, State.SOFTWARE) for probe in self.probes)
        return works and not broken and all(finding.is_ok for finding in self.findings)


Tell = Callable[[str], None]


async def examine(
    host: Host,
    *,
    only: Sequence[str] = (),
    is_fixing: bool = False,
    tell: Tell = lambda text: None,
) -> Diagnosis:
    """Look at plugins, folders and backends, and run a model on every target there is.

    `only` keeps the targets that contain one of the words; `tell` hears what is being tried.
    """
    tell("plugins")
    backends: dict[str, Backend] = {}
    probes: list[Probe] = []
    for name in host.names("backends"):
        try:
            backends[name] = host.create("backends", name)
        except AccelerateError as error:
            probes.append(Probe(target=Target(name), state=State.BROKEN, error=error.info))
    findings = [*plugin_findings(host), *folder_findings(host.context)]
    # Before trying: what is mended now works below.
    findings += await check_findings(host, is_fixing=is_fixing, tell=tell)
    try:
        offers: list[tuple[Backend, Availability]] = []
        for name, backend in backends.items():
            try:
                offers += [(backend, offer) for offer in await backend.discover()]
            except Exception as error:
                info = typed(error, name).info
                probes.append(Probe(target=Target(name), state=State.BROKEN, error=info))
        for backend, offer in _chosen(offers, only):
            if offer.is_available:
                tell(str(offer.target))
            probes.append(await probe(backend, offer, host.context))
    finally:
        for name, backend in backends.items():
            try:
                await backend.close()
            except Exception:
                _log.exception("backend %s did not close cleanly", name)
    return Diagnosis(versions=versions(), probes=tuple(probes), findings=tuple(findings))


async def probe(backend: Backend, offer: Availability, ctx: Context) -> Probe:
    """Start a worker, run a tiny model on it, compare its numbers, and stop it."""
    target = offer.target
    if not offer.is_available:
        missing = BackendUnavailable(
            offer.reason or "not found here", where=str(target), hint=offer.remedy
        )
        return Probe(target=target, state=State.MISSING, version=offer.version, error=missing.info)
    started = time.perf_counter()
    workers: list[Worker] = []
    distance: float | None = None
    error: AccelerateError | None = None
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            workers.append(await backend.start(target, ctx))
            distance = await _run_tiny(workers[0], backend.needs_static_shapes, ctx)
    except TimeoutError:
        error = JobTimeout(f"no answer within {PROBE_TIMEOUT_S:g} s", where=str(target))
    except Exception as caught:
        error = typed(caught, str(target))
    finally:
        took_ms = (time.perf_counter() - started) * 1e3
        for worker in workers:
            await _close(worker, is_broken=error is not None)
    info = workers[0].info if workers else None
    return Probe(
        target=info.target if info else target,
        state=_state(info, error),
        version=(info.browser_version if info else None) or offer.version,
        worker=info,
        took_ms=took_ms,
        relative_l2=distance,
        error=error.info if error else None,
    )


async def check_findings(host: Host, *, is_fixing: bool, tell: Tell) -> list[DoctorFinding]:
    """Run the checks of the loaded backends; one that raises is a finding."""
    findings: list[DoctorFinding] = []
    try:
        checks = host.doctor_checks()
    except Exception as error:
        return [DoctorFinding(name="doctor checks", is_ok=False, detail=str(error))]
    for check in checks:
        name = type(check).__name__
        tell(f"check {name}")
        try:
            findings += await asyncio.to_thread(check.run, fix=is_fixing)
        except Exception as error:
            _log.exception("check %s failed", name)
            detail = f"{type(error).__name__}: {error}"
            findings.append(DoctorFinding(name=name, is_ok=False, detail=detail))
    return findings


def plugin_findings(host: Host) -> list[DoctorFinding]:
    """Load every plugin; return a finding for each that cannot be used, else one for all."""
    findings: list[DoctorFinding] = []
    plugins = inventory.installed()
    for plugin in plugins:
        try:
            if plugin.problem is not None:
                raise plugin.problem
            inventory.details(host, plugin)
        except AccelerateError as error:
            findings.append(
                DoctorFinding(
                    name=f"plugin {plugin.key}",
                    is_ok=False,
                    detail=error.info.message,
                    remedy=error.info.hint,
                )
            )
    unique = list(dict.fromkeys(findings))
    if not unique:
        unique.append(DoctorFinding(name="plugins", is_ok=True, detail=f"{len(plugins)} load"))
    return unique


def folder_findings(ctx: Context) -> list[DoctorFinding]:
    """Return whether the folders can be written and have room."""
    findings: list[DoctorFinding] = []
    for name, folder in (("cache folder", ctx.cache_dir), ("state folder", ctx.state_dir)):
        there = next(one for one in (folder, *folder.parents) if one.exists())
        free = shutil.disk_usage(there).free
        detail = f"{folder}: {_size(_used(folder))} used, {_size(free)} free"
        remedy = None
        if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
            detail, remedy = f"{there} cannot be written", f"chmod u+rwx {there}"
        elif free < LEAST_FREE_BYTES:
            remedy = f"Free some space; less than {_size(LEAST_FREE_BYTES)} is too little."
        findings.append(
            DoctorFinding(name=name, is_ok=remedy is None, detail=detail, remedy=remedy)
        )
    return findings


def versions() -> dict[str, str]:
    """Return the versions of the core, of everything that brings a plugin, and of Python."""
    own = {"accelerate-core": __version__}
    others = {one.found.distribution: one.found.version for one in inventory.installed()}
    system = {"python": platform.python_version(), "system": platform.platform(terse=True)}
    return own | dict(sorted(others.items())) | system


def _chosen(
    offers: Sequence[tuple[Backend, Availability]], only: Sequence[str]
) -> Sequence[tuple[Backend, Availability]]:
    if not only:
        return offers
    chosen = [pair for pair in offers if any(word in str(pair[1].target) for word in only)]
    if not chosen:
        raise ConfigError(
            f"no target matches {', '.join(only)}",
            where="--only",
            accepted=tuple(str(offer.target) for _, offer in offers),
        )
    return chosen


async def _run_tiny(worker: Worker, needs_static_shapes: bool, ctx: Context) -> float | None:
    """Run the model and return the distance to the exact answer; None for simulated ones."""
    from .testing.models import expected_matmul, matmul_input, tiny_matmul

    spec = await asyncio.to_thread(tiny_matmul, ctx.assets)
    inputs = matmul_input()
    sizes = bind_dimensions(spec, inputs) if needs_static_shapes else {}
    model = await worker.load(spec, LoadOptions(dimensions=sizes))
    result = await worker.run(model, inputs)
    if worker.info.is_simulated:
        return None
    outputs: dict[str, Array] = dict(result.outputs)  # type: ignore[arg-type]
    distance = relative_l2(outputs, expected_matmul(inputs))
    if distance > TOLERANCE["fp32"]:
        raise NumericalError(
            f"a 2x2 product differs from the exact one by {distance:.1e} (relative L2)",
            where=str(worker.info.target),
        )
    return distance


async def _close(worker: Worker, *, is_broken: bool) -> None:
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await worker.close(kill=is_broken)
    except Exception:
        _log.exception("%s did not close cleanly", worker.info.target)


def _state(info: WorkerInfo | None, error: AccelerateError | None) -> State:
    # It did not even start: this browser or machine does not offer it, and nothing is broken.
    if info is None and isinstance(error, BackendUnavailable | Unsupported):
        return State.MISSING
    if error is not None or info is None:
        return State.BROKEN
    if info.is_simulated:
        return State.SIMULATED
    return State.SOFTWARE if info.is_software else State.REAL


def _used(folder: Path) -> int:
    """Return the bytes a folder holds; what vanishes meanwhile counts nothing."""
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            try:
                total += Path(root, name).lstat().st_size
            except OSError:
                continue
    return total


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:.1f} GiB" if size_bytes >= 2**30 else f"{size_bytes >> 20} MiB"
