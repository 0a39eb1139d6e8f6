# SPDX-License-Identifier: Apache-2.0
"""Sessions through `Accelerator` and `AsyncAccelerator`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import accelerate_core
from accelerate_core import Accelerator, AsyncAccelerator
from accelerate_core.errors import AccelerateError, ConfigError, ModelError, SessionLost
from accelerate_core.testing import models

DATA = Path(accelerate_core.__file__).parent / "data"
RECURRENT = f"file:{DATA / 'tiny_recurrent.onnx'}"
STATE = {"h_in": "h_out"}
STEPS = models.recurrent_inputs(5)
EXPECTED = [one["y"] for one in models.expected_recurrent(STEPS)]


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    return {"cache_dir": tmp_path / "cache", "state_dir": tmp_path / "state"}


def test_a_session_blocks_and_remembers(options: dict[str, Any]) -> None:
    with Accelerator(**options) as accelerator:
        model = accelerator.accelerate_model(RECURRENT)
        with accelerator.session(model, state=STATE) as session:
            for inputs, right in zip(STEPS[:3], EXPECTED, strict=False):
                np.testing.assert_array_equal(session(inputs)["y"], right)
            saved = session.checkpoint()
            assert (session.runs, session.moves) == (3, 0)
        with pytest.raises(SessionLost):
            session(STEPS[3])
        with accelerator.session(model, state=STATE, checkpoint=saved) as session:
            np.testing.assert_array_equal(session(STEPS[3])["y"], EXPECTED[3])


async def test_a_session_on_a_backend_that_wants_sizes_gets_them(options: dict[str, Any]) -> None:
    async with AsyncAccelerator(**options) as accelerator:
        model = await accelerator.accelerate_model(RECURRENT)
        accelerator._backends["cpu"].needs_static_shapes = True
        async with accelerator.session(model, state=STATE, state_sync_runs=2) as session:
            for inputs, right in zip(STEPS, EXPECTED, strict=True):
                np.testing.assert_array_equal((await session(inputs))["y"], right)
            assert session._live._work is not None
            assert session._live._work.options.dimensions == {"batch": 2}


@pytest.mark.parametrize(
    ("wrong", "error", "match"),
    [
        ({}, ModelError, "carries no state"),
        ({"state": {"h_in": "nothing"}}, ModelError, "no input and output"),
        ({"state": STATE, "checkpoint": b"junk"}, ModelError, "no checkpoint"),
        ({"state": STATE, "state_sync_interval": -1.0}, ConfigError, "not allowed"),
        ({"state": STATE, "state_sync_runs": 0}, ConfigError, "not allowed"),
    ],
)
async def test_what_cannot_be_is_refused_before_it_runs(
    options: dict[str, Any], wrong: dict[str, Any], error: type[AccelerateError], match: str
) -> None:
    async with AsyncAccelerator(**options) as accelerator:
        model = await accelerator.accelerate_model(RECURRENT)
        with pytest.raises(error, match=match) as caught:
            accelerator.session(model, **wrong)
        assert caught.value.info.accepted


async def test_a_session_ends_with_its_accelerator(options: dict[str, Any]) -> None:
    async with AsyncAccelerator(**options) as accelerator:
        model = await accelerator.accelerate_model(RECURRENT)
        session = accelerator.session(model, state=STATE)
        await session(STEPS[0])
    with pytest.raises(AccelerateError, match=r"closing|closed"):
        await session(STEPS[1])
    await session.close()
    with pytest.raises(ConfigError, match="closed"):
        accelerator.session(model, state=STATE)


def test_the_page_on_sessions_is_true(
    options: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = Path(__file__).parents[2] / "docs/sessions.md"
    (example,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    (tmp_path / "recurrent.onnx").write_bytes((DATA / "tiny_recurrent.onnx").read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ACCELERATE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("ACCELERATE_STATE_DIR", str(tmp_path / "state"))
    exec(compile(example, str(page), "exec"), {})
    assert capsys.readouterr().out == "['y'] 3\n"
