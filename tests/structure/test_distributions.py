# SPDX-License-Identifier: Apache-2.0
"""Every distribution is built alike: its parts, its names, its version, its pins."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ASSETS = {"accelerate-browser", "accelerate-webgpu", "accelerate-webnn"}


def test_each_has_its_parts(distributions: list[Any]) -> None:
    missing = [
        f"{one.name}: {part}"
        for one in distributions
        for part in ("README.md", "LICENSE", "pyproject.toml")
        if not (one.folder / part).is_file()
    ]
    missing += [
        f"{one.name}: {part}"
        for one in distributions
        for part in ("__init__.py", "py.typed")
        if not (one.source / part).is_file()
    ]
    missing += [
        f"{one.name}: tests"
        for one in distributions
        if not any((one.folder / "tests").rglob("test_*.py"))
    ]
    assert not missing


def test_folder_distribution_and_package_share_one_stem(plugins: list[Any]) -> None:
    for one in plugins:
        assert one.name == one.folder.name
        assert re.fullmatch(r"accelerate-[a-z]+", one.name)
        packages = [path.name for path in (one.folder / "src").iterdir() if path.is_dir()]
        assert [name for name in packages if name != "__pycache__"] == [one.package]
        wheel = one.pyproject["tool"]["hatch"]["build"]["targets"]["wheel"]
        assert wheel["packages"] == [f"src/{one.package}"]


def test_all_have_one_version(distributions: list[Any], root: Path) -> None:
    import accelerate_core

    page = root / "hardware_backends/accelerate-browser/page"
    lock = json.loads((page / "package-lock.json").read_text())
    versions = {one.name: one.pyproject["project"]["version"] for one in distributions}
    versions["__version__"] = accelerate_core.__version__
    versions["package.json"] = json.loads((page / "package.json").read_text())["version"]
    versions["package-lock.json"] = lock["version"]
    assert len(set(versions.values())) == 1, versions


def test_they_pin_each_other_to_one_minor_version(core: Any, distributions: list[Any]) -> None:
    version = core.pyproject["project"]["version"]
    major, minor = (int(number) for number in version.split(".")[:2])
    wanted = f">={major}.{minor},<{major}.{minor + 1}"
    names = {one.name for one in distributions}
    for one in distributions:
        needed = one.pyproject["project"]["dependencies"]
        ours = {need for need in needed if need.startswith("accelerate-")}
        assert ours <= {f"{name}{wanted}" for name in names}, one.name
        assert one is core or f"{core.name}{wanted}" in ours, one.name
        extras = one.pyproject["project"].get("optional-dependencies", {})
        assert set().union(*extras.values()) <= {f"{name}=={version}" for name in names}


def test_the_workspace_knows_them_all(core: Any, distributions: list[Any]) -> None:
    tool = core.pyproject["tool"]
    assert set(tool["uv"]["sources"]) == {one.name for one in distributions}
    assert {one.package for one in distributions} <= set(tool["mypy"]["packages"])


def test_each_is_found_by_people_and_tools(distributions: list[Any]) -> None:
    for one in distributions:
        project = one.pyproject["project"]
        assert project["description"].endswith(".") and len(project["description"]) < 120
        assert project["readme"] == "README.md"
        assert "Apache-2.0" in project["license"].split()
        assert project["license-files"] == ["LICENSE"]
        assert project["requires-python"] == ">=3.11"
        assert (one.folder / "README.md").read_text().startswith("# ")


def test_copies_are_copies(distributions: list[Any], root: Path) -> None:
    texts = {(one.folder / "LICENSE").read_text() for one in distributions}
    assert len(texts) == 1
    hooks = {path.parent.name: path.read_text() for path in root.glob("*/*/hatch_build.py")}
    assert set(hooks) == ASSETS and len(set(hooks.values())) == 1


def test_page_assets_cannot_be_forgotten(plugins: list[Any]) -> None:
    for one in plugins:
        build = one.pyproject["tool"]["hatch"]["build"]
        assert ("artifacts" in build) == (one.name in ASSETS)
        if one.name in ASSETS:
            folder = f"src/{one.package}/static"
            assert build["artifacts"] == [f"{folder}/"]
            assert build["hooks"]["custom"]["folder"] == folder
            needs = build["hooks"]["custom"]["needs"]
            # Whoever carries onnxruntime-web carries its licence texts.
            carries = any(name.endswith(".wasm") for name in needs)
            assert ("onnxruntime-ThirdPartyNotices.txt" in needs) == carries
            assert ("MIT" in one.pyproject["project"]["license"]) == carries


def test_folders_of_the_repository_are_no_packages(root: Path) -> None:
    """An editable install that put the repository on the path would make them so."""
    folders = [path.name for path in root.iterdir() if path.is_dir() and path.name.isidentifier()]
    assert {"plugins", "tests", "accelerate_core"} <= set(folders)
    code = (
        "import importlib.util, sys;"
        "print(*[name for name in sys.argv[1:] if importlib.util.find_spec(name)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *folders], cwd="/", capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["accelerate_core"]
