# SPDX-License-Identifier: Apache-2.0
"""Every family and every part of it runs in a browser, and computes what native CPU computes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from accelerate_browser.browsers import HEADLESS_SHELL, variable
from accelerate_browser.testing.shell import ensure_headless_shell

from accelerate_core.blocking import Accelerator
from accelerate_core.host import Host
from accelerate_core.measuring.numbers import relative_l2

sys.path.insert(0, str(Path(__file__).parents[2]))
from tools import families  # what also makes docs/models.md; `tools` is not installed

sys.path.pop(0)

CHECKPOINTS = families.checkpoints()
LIMIT = 1e-3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


@pytest.fixture(scope="module")
def accelerator(folder: Path) -> Iterator[Accelerator]:
    """One browser for all of this module, and native CPU beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(variable(HEADLESS_SHELL), str(ensure_headless_shell()))
        with Accelerator(
            cache_dir=folder / "cache",
            state_dir=folder / "state",
            backends={"wasm": {"engine_settings": {"threads": 1}}},
        ) as accelerator:
            yield accelerator


@pytest.fixture(scope="module")
def host(folder: Path) -> Host:
    return Host(cache_dir=folder / "cache", state_dir=folder / "state")


def test_every_builder_has_a_checkpoint() -> None:
    assert len(families.builders()) >= 15
    assert set(families.builders()) <= set(CHECKPOINTS)


@pytest.mark.browser("chromium-headless-shell")
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_family_computes_in_a_browser_what_it_computes_natively(
    name: str, accelerator: Accelerator, host: Host, folder: Path
) -> None:
    CHECKPOINTS[name](folder / name)
    for reference, spec in families.parts(host, folder / name):
        inputs = families.inputs_of(host, reference, spec)
        native, browser = (
            accelerator.accelerate_model(reference, platform=platform, browser=browser)(inputs)
            for platform, browser in (("cpu", None), ("wasm", "chromium-headless-shell"))
        )
        assert native.keys() == {tensor.name for tensor in spec.outputs}
        assert relative_l2(browser, native) < LIMIT, reference
    assert accelerator.get_health_status()["workers_lost"] == 0
    targets = sorted(str(one.target) for one in accelerator.get_health_status().workers)
    assert targets == ["cpu", "wasm/ort:chromium-headless-shell"]
