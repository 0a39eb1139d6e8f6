# SPDX-License-Identifier: Apache-2.0
"""What is written about the project agrees with it."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from accelerate_browser.hookspecs import ENGINES, LAUNCHERS
from accelerate_chaos.hookspecs import FAULTS
from accelerate_ci.hookspecs import PROVIDERS
from accelerate_insights.hookspecs import DETECTORS
from accelerate_plan.hookspecs import KERNELS

from accelerate_core.hookspecs import CORE_FAMILIES, Family
from accelerate_core.host import Host

FAMILIES = (*CORE_FAMILIES, LAUNCHERS, ENGINES, KERNELS, FAULTS, DETECTORS, PROVIDERS)
HOOKS = [
    (family, name)
    for family in FAMILIES
    for name, function in vars(importlib.import_module(family.specs)).items()
    if hasattr(function, "accelerate_spec")
]


def test_pages_made_from_the_source_are_fresh(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.docs", "--check"], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("family", "hook"), HOOKS, ids=[name for _, name in HOOKS])
def test_hooks_say_what_they_are_for(family: Family, hook: str, root: Path) -> None:
    spec = getattr(importlib.import_module(family.specs), hook)
    assert spec.__doc__ and spec.__doc__.strip().endswith(".")
    assert f"### `{hook}(" in (root / "docs/hooks.md").read_text()


def test_every_family_is_documented(root: Path) -> None:
    text = (root / "docs/hooks.md").read_text()
    assert len(HOOKS) >= 20
    for family in FAMILIES:
        assert f"`{family.group}`" in text


def test_every_model_family_has_rows_from_a_run(root: Path) -> None:
    points = tomllib.loads((root / "plugins/accelerate-models/pyproject.toml").read_text())
    builders = points["project"]["entry-points"]["accelerate_models.builders"]
    text = (root / "docs/models.md").read_text()
    for family in builders:
        assert f"\n| `{family}` | `" in text, f"{family} has no row: make families"
    assert "**wrong**" not in text
    # The prose is written beside the tool that runs the families.
    before, after = (root / "tools/models.md").read_text().split("<!-- table -->")
    assert text.startswith(before) and text.endswith(after), "the page is stale: make families"


def test_the_page_of_the_engine_is_fresh(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(root))
    engine = importlib.import_module("tools.engine")
    text = engine.PAGE.read_text()
    measured = engine.measured_in(text)
    made = engine.page(engine.TEMPLATE.read_text(), measured, Host())
    assert text == made, "docs/engine.md is stale: python -m tools.engine --lists"
    for model, part in engine.MODELS:
        row = f"\n| `{model}` | `{part}` |"
        assert row in measured["table"], f"{model} has no row: make engine"
    assert "**wrong**" not in measured["table"]
    assert "speed cases" in measured["tuning"]


def test_the_changelog_knows_this_version(root: Path) -> None:
    from accelerate_core import __version__

    text = (root / "CHANGELOG.md").read_text()
    assert f"## {__version__}" in text or "## Unreleased" in text
    for path in (root / "changelog.d").glob("*.md"):
        if path.name == "README.md":
            continue
        assert re.fullmatch(r"[\w.-]+\.(added|changed|fixed|removed|security)\.md", path.name)
        assert path.read_text().strip().endswith(".")
