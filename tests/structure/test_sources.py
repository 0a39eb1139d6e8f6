# SPDX-License-Identifier: Apache-2.0
"""What every tracked file keeps to."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
from pathlib import Path
from typing import Any

SOURCES = {".py", ".ts", ".mjs", ".js", ".css", ".sql", ".wgsl", ".sh", ".html", ".j2"}
MAX_LINES = 400
MAX_BYTES = 400_000
#: Written so that this file does not hold them.
REGISTRIES = (
    "pypi" + r"\.org",
    "npm" + r"js\.org",
    "python" + "hosted",
    "deb" + r"ian\.org/debian",
)
MACHINE = (r"(?<![\w.-])/wor[k]/", r"(?<![\w.-])/roo[t]/")
LEFT_OPEN = re.compile(r"\b(TO[D]O|FIX[M]E|XX[X])\b")
#: Texts of other people, kept as they are.
NOT_OURS = {"LICENSE", "onnxruntime-LICENSE.txt", "onnxruntime-ThirdPartyNotices.txt"}


def is_source(path: Path) -> bool:
    return path.suffix in SOURCES or path.name in ("Makefile", "run")


def is_test(path: Path, root: Path) -> bool:
    return "tests" in path.relative_to(root).parts


def text_of(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def test_every_source_names_its_licence(tracked: list[Path]) -> None:
    sources = [path for path in tracked if is_source(path)]
    assert len(sources) > 200
    missing = [
        path
        for path in sources
        if "SPDX-License-Identifier: Apache-2.0" not in "\n".join(path.read_text().splitlines()[:3])
    ]
    assert not missing


def test_no_source_is_long(tracked: list[Path], root: Path) -> None:
    long = {
        str(path.relative_to(root)): lines
        for path in tracked
        if is_source(path) and not is_test(path, root)
        if (lines := len(path.read_text().splitlines())) > MAX_LINES
    }
    assert not long


def test_only_what_belongs_is_tracked(tracked: list[Path], root: Path) -> None:
    for path in tracked:
        inside = path.relative_to(root)
        assert path.stat().st_size <= MAX_BYTES or inside.parts[0] == "docs", inside
        assert not {"node_modules", "__pycache__", "dist", "static"} & set(inside.parts), inside
        assert path.suffix not in (".pyc", ".whl", ".log", ".orig", ".rej", ".duckdb"), inside
        assert path.name not in ("uv.lock", ".DS_Store"), inside
        assert not path.is_symlink(), inside
        is_script = path.read_bytes()[:2] == b"#!"
        assert os.access(path, os.X_OK) == is_script, inside


def test_no_file_names_a_registry_or_a_machine(tracked: list[Path], root: Path) -> None:
    pattern = re.compile("|".join(REGISTRIES + MACHINE))
    found = [
        f"{path.relative_to(root)}: {match[0]}"
        for path in tracked
        if path.name not in NOT_OURS
        and (text := text_of(path)) is not None
        and (match := pattern.search(text))
    ]
    assert not found


def test_nothing_is_left_open(tracked: list[Path], root: Path) -> None:
    found = [
        f"{path.relative_to(root)}: {match[0]}"
        for path in tracked
        if is_source(path) and (match := LEFT_OPEN.search(path.read_text()))
    ]
    assert not found


def test_the_lock_file_says_what_but_not_where_from(root: Path) -> None:
    page = root / "hardware_backends/accelerate-browser/page"
    packages = json.loads((page / "package-lock.json").read_text())["packages"]
    assert len(packages) > 50
    for name, package in packages.items():
        assert "resolved" not in package, name
        assert not name or "integrity" in package or package.get("link"), name


def test_public_names_are_listed(distributions: list[Any]) -> None:
    checked = 0
    for one in distributions:
        for path in one.source.rglob("*.py"):
            tree = ast.parse(path.read_text())
            listed = next(
                (
                    ast.literal_eval(node.value)
                    for node in tree.body
                    if isinstance(node, ast.Assign)
                    and any(isinstance(to, ast.Name) and to.id == "__all__" for to in node.targets)
                ),
                None,
            )
            if listed is None:
                continue
            checked += 1
            module = ".".join(path.relative_to(one.source.parent).with_suffix("").parts)
            loaded = importlib.import_module(module.removesuffix(".__init__"))
            assert [name for name in listed if not hasattr(loaded, name)] == [], path
            public = {
                node.name
                for node in tree.body
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
                and not node.name.startswith("_")
            }
            assert public <= set(listed), f"{path}: {public - set(listed)}"
    assert checked >= 8
