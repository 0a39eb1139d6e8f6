# SPDX-License-Identifier: Apache-2.0
"""`accel doctor`: it runs what it says it ran, and one broken part spoils no other."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from accelerate_core import doctor, hookimpl, inventory
from accelerate_core.doctor import State
from accelerate_core.errors import BackendUnavailable, ModelError
from accelerate_core.host import Host
from accelerate_core.protocols import Backend, Context, DoctorFinding, Worker
from accelerate_core.types import (
    Availability,
    LoadOptions,
    ModelHandle,
    ModelSpec,
    Result,
    Target,
    WorkerInfo,
)

Accel = Callable[..., subprocess.CompletedProcess[str]]
Install = Callable[..., Path]


def test_the_cpu_is_real(accel: Accel) -> None:
    done = accel("doctor", "--only", "cpu", "--json")
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout)
    assert found["is_healthy"]
    (cpu,) = found["probes"]
    assert (cpu["target"], cpu["state"]) == ("cpu", "real")
    assert cpu["relative_l2"] == 0
    assert cpu["worker"]["engine_version"].startswith("onnxruntime ")
    assert {one["name"] for one in found["findings"]} >= {"plugins", "cache folder"}
    assert found["versions"]["accelerate-cpu"]
    assert "trying cpu" in done.stderr


def test_what_is_missing_comes_with_a_remedy(accel: Accel) -> None:
    done = accel("doctor", "--only", "cpu", "--only", "safari", COLUMNS="80")
    assert done.returncode == 0, done.stdout
    assert "(none: native)" in done.stdout
    assert "safari exists only on macOS" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    # The same for every backend, so it is said once.
    assert done.stdout.count("safari exists only on macOS") == 1


def test_only_must_match_something(accel: Accel) -> None:
    done = accel("doctor", "--only", "opera")
    assert done.returncode == 2
    assert "no target matches opera" in done.stderr


def test_a_broken_plugin_and_a_failed_check_are_found(
    accel: Accel, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = """
    from accelerate_core import hookimpl
    from accelerate_core.protocols import Backend, DoctorFinding


    class Empty(Backend):
        async def discover(self):
            return ()


    class Check:
        is_mended = False

        def run(self, *, fix=False):
            Check.is_mended = Check.is_mended or fix
            return [DoctorFinding(name="rust", is_ok=Check.is_mended, detail="on a hinge",
                                  can_fix=True)]


    class Plugin:
        name = "rusty"

        @hookimpl
        def backend_create(self, settings, ctx):
            return Empty()

        @hookimpl
        def doctor_checks(self, ctx):
            return [Check()]
    """
    entries = """\
    [accelerate_core.backends]
    rusty = acme_rusty:Plugin
    [accelerate_core.reports]
    gone = acme_rusty:Gone
    """
    monkeypatch.syspath_prepend(install("acme-rusty", code, entries))
    done = accel("doctor", "--only", "cpu")
    assert done.returncode == 1
    assert "fail plugin reports.gone: plugin 'gone' cannot be imported" in done.stdout
    assert "fail rust: on a hinge" in done.stdout
    assert "accel doctor --fix mends it" in done.stdout
    assert "real" in done.stdout
    mended = accel("doctor", "--only", "cpu", "--fix").stdout
    assert "ok   rust: on a hinge" in mended


@attrs.define
class Odd(Backend, Worker):
    """A backend that is its own worker and goes wrong in one chosen way."""

    fault: str = ""
    closed: list[bool] = attrs.field(factory=list)
    info: WorkerInfo = WorkerInfo(target=Target("odd"))

    async def discover(self) -> Sequence[Availability]:
        if self.fault == "discover":
            raise OSError("no list")
        return [Availability(target=Target("odd"), is_available=True)]

    async def start(self, target: Target, ctx: Context) -> Worker:
        if self.fault == "absent":
            raise BackendUnavailable("no adapter", hint="Buy one.")
        self.info = WorkerInfo(target=target, is_software=self.fault == "software")
        return self

    async def load(self, spec: ModelSpec, options: LoadOptions | None = None) -> ModelHandle:
        if self.fault == "load":
            raise ModelError("no such operator")
        return ModelHandle(id="1", spec=spec)

    async def run(self, model: ModelHandle, inputs: Any, **_: Any) -> Result:
        if self.fault == "hang":
            await asyncio.sleep(60)
        answer = inputs["x"] @ [[1, 2], [3, 4]]
        return Result(outputs={"y": answer + (self.fault == "wrong")})

    async def close(self, *, kill: bool = False) -> None:
        self.closed.append(kill)


@pytest.mark.parametrize(
    ("fault", "state", "told"),
    [
        ("", State.REAL, None),
        ("software", State.SOFTWARE, None),
        ("absent", State.MISSING, "no adapter"),
        ("discover", State.BROKEN, "failed with OSError: no list"),
        ("load", State.BROKEN, "no such operator"),
        ("wrong", State.BROKEN, "differs from the exact one"),
        ("hang", State.BROKEN, "no answer within 0.2 s"),
    ],
)
async def test_each_state_is_what_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, state: State, told: str | None
) -> None:
    monkeypatch.setattr(doctor, "PROBE_TIMEOUT_S", 0.2 if fault == "hang" else 30)
    odd = Odd(fault)

    class Plugin:
        name = "odd"

        @hookimpl
        def backend_create(self, settings: None, ctx: Context) -> Backend:
            return odd

    host = Host(cache_dir=tmp_path / "cache", state_dir=tmp_path / "state")
    host.add("backends", "odd", Plugin)
    monkeypatch.setattr(inventory, "installed", lambda: ())
    monkeypatch.setattr(host, "names", lambda family: ("odd",) if family == "backends" else ())
    found = await doctor.examine(host)
    (probe,) = found.probes
    assert probe.state is state
    assert (probe.error.message if probe.error else None) == told or (
        told is not None and probe.error is not None and told in probe.error.message
    )
    assert found.is_healthy is (state in (State.REAL, State.SOFTWARE))
    # Stopped once as a worker (killed where it failed), once as a backend.
    started = fault not in ("absent", "discover")
    assert odd.closed == [state is State.BROKEN] * started + [False]


async def test_a_check_that_raises_is_a_finding(tmp_path: Path) -> None:
    class Check:
        def run(self, *, fix: bool = False) -> Sequence[DoctorFinding]:
            raise OSError("no tools")

    class Plugin:
        name = "odd"

        @hookimpl
        def backend_create(self, settings: None, ctx: Context) -> Backend:
            return Odd()

        @hookimpl
        def doctor_checks(self, ctx: Context) -> Sequence[Check]:
            return [Check()]

    host = Host(cache_dir=tmp_path, state_dir=tmp_path)
    host.add("backends", "odd", Plugin)
    (finding,) = await doctor.check_findings(host, is_fixing=False, tell=lambda text: None)
    assert not finding.is_ok
    assert finding.detail == "OSError: no tools"


def test_folders_that_cannot_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x" * 5000)
    (tmp_path / "file").chmod(0o755)
    context = Host(cache_dir=tmp_path / "file" / "cache", state_dir=tmp_path).context
    cache, state = doctor.folder_findings(context)
    assert not cache.is_ok and "cannot be written" in cache.detail
    assert state.is_ok and "0 MiB used" in state.detail
    monkeypatch.setattr(doctor, "LEAST_FREE_BYTES", 1 << 60)
    _, state = doctor.folder_findings(context)
    assert not state.is_ok and state.remedy is not None and "Free some space" in state.remedy
