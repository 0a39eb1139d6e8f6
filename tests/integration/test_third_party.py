# SPDX-License-Identifier: Apache-2.0
"""A stranger's plugins: built, installed outside the workspace, found by name, used, tested."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/plugins/accelerate-example-scheduler"
FAMILY = ROOT / "examples/plugins/accelerate-example-family"
KERNEL = ROOT / "examples/plugins/accelerate-example-kernel"
OTAVA = ROOT / "examples/plugins/accelerate-otava"
#: Packages that only Otava is to see.
OTAVA_PACKAGES = ROOT / ".build/otava/lib" / f"python3.{sys.version_info.minor}" / "site-packages"

USE = """
from pathlib import Path
import sys
from accelerate_core.fleet.policy import JobView, Placement
from accelerate_core.host import Host
from accelerate_core.testing.fleets import WatchedFleet
from accelerate_core.types import Target
import accelerate_example_scheduler

assert Path(accelerate_example_scheduler.__file__).is_relative_to(sys.prefix)
host = Host(cache_dir=Path(sys.argv[1]), state_dir=Path(sys.argv[1]))
assert "last_idle" in host.names("schedulers")
fleet = WatchedFleet()
for name in ("first", "second"):
    fleet.add(name, "cpu")
job = JobView(id="job", model="a" * 64, targets=(Target("cpu"),))
assert host.create("schedulers", "last_idle").pick(job, fleet) == Placement(("second",))
print("placed")
"""


TUNE = """
from pathlib import Path
import asyncio, sys
from accelerate_core.host import Host
from accelerate_core.types import Target
from accelerate_plan.catalogue import load_catalogue
from accelerate_plan.choosing import choice, guess
from accelerate_plan.devices import device_of
from accelerate_plan.tuning import speed_workloads, tune
from accelerate_plan.tuning_book import Book
import accelerate_example_kernel

assert Path(accelerate_example_kernel.__file__).is_relative_to(sys.prefix)

async def main():
    host = Host(cache_dir=Path(sys.argv[1]), state_dir=Path(sys.argv[1]))
    catalogue = load_catalogue(host)
    kernel = catalogue.kernel("cast_f32")
    assert [one.name for one in kernel.variants] == ["elements", "quads/vec4"]
    backend = host.create("backends", "wgpu")
    worker = await backend.start(Target("wgpu"), host.context)
    device = device_of(worker.info)
    try:
        works = list(speed_workloads(catalogue, ["cast_f32"]))
        book = Book(device.adapter)
        async for tuned in tune(worker, catalogue, works, host.context):
            book = book.with_entries(tuned.entries)
    finally:
        await worker.close()
    step = works[0].step()
    assert guess(kernel, step, device)[0].name == "elements"
    print("measured:", choice(book, kernel, step, device).variant.name)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the interpreter of a fresh environment with the built plugins installed."""
    return _environment(tmp_path_factory.mktemp("third-party"), [EXAMPLE, FAMILY, KERNEL])


def _environment(folder: Path, plugins: Sequence[Path], packages: Sequence[Path] = ()) -> Path:
    """Return the interpreter of an environment with plugins of its own.

    It sees other packages through a .pth file: those named, then this environment's.
    """
    venv.create(folder, symlinks=True)
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--no-compile"]
    _run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            *offline,
            f"--prefix={folder}",
            *map(str, plugins),
        ]
    )
    interpreter = folder / "bin" / "python"
    site = _run([str(interpreter), "-c", "import site; print(site.getsitepackages()[0])"])
    # addsitedir, not a bare path: the workspace's own editable installs are .pth files, too.
    places = [*map(str, packages), sysconfig.get_path("purelib")]
    lines = "".join(f"import site; site.addsitedir({place!r})\n" for place in places)
    (Path(site.strip()) / "workspace.pth").write_text(lines)
    return interpreter


def _run(command: list[str], *, cwd: Path = ROOT) -> str:
    environment = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_is_found_by_name_and_used(python: Path, tmp_path: Path) -> None:
    assert _run([str(python), "-c", USE, str(tmp_path)], cwd=tmp_path).strip() == "placed"


def test_a_faster_kernel_is_chosen_once_it_was_measured(python: Path, tmp_path: Path) -> None:
    """Theirs takes four elements at a time: 4 to 10 times faster on lavapipe."""
    said = _run([str(python), "-c", TUNE, str(tmp_path)], cwd=tmp_path)
    assert said.strip() == "measured: quads/vec4"


@pytest.mark.parametrize("plugin", [EXAMPLE, FAMILY, KERNEL], ids=lambda path: path.name)
def test_passes_its_own_tests(
    plugin: Path, python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_CACHE_DIR", str(tmp_path / "cache"))
    options = ["-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    out = _run([str(python), "-m", "pytest", *options, str(plugin / "tests")], cwd=tmp_path)
    assert " passed" in out and "skipped" not in out


def test_otava_finds_changes_with_packages_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (OTAVA_PACKAGES / "otava").is_dir(), "run the tests with make, which installs it"
    interpreter = _environment(tmp_path / "environment", [OTAVA], [OTAVA_PACKAGES])
    monkeypatch.setenv("ACCELERATE_CACHE_DIR", str(tmp_path / "cache"))
    options = ["-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    tests = str(OTAVA / "tests")
    out = _run([str(interpreter), "-m", "pytest", *options, tests], cwd=tmp_path)
    assert " passed" in out and "skipped" not in out


@pytest.mark.parametrize("plugin", [EXAMPLE, KERNEL], ids=lambda path: path.name)
def test_is_as_short_as_promised(plugin: Path) -> None:
    (module,) = (plugin / "src").rglob("*.py")
    lines = [line.strip() for line in module.read_text().splitlines()]
    code = [line for line in lines if line and not line.startswith(("#", '"""'))]
    assert len(code) <= 15
    assert len((plugin / "pyproject.toml").read_text().strip().splitlines()) <= 8
