# SPDX-License-Identifier: Apache-2.0
"""A browser without a GPU adapter: said in time, with its reason, and nothing is left."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from accelerate_core.errors import BackendUnavailable
from accelerate_core.protocols import Context
from accelerate_core.types import Target


async def test_no_adapter_is_said_and_nothing_is_left(context: Context, tmp_path: Path) -> None:
    # Chromium has the API and gives no adapter when neither a GPU nor software may be used.
    settings = {
        "launcher": "process",
        "launcher_settings": {"software": False},
        "args": ["--disable-gpu", "--disable-software-rasterizer"],
        "start_timeout_s": 60.0,
    }
    backend = context.plugins.create("backends", "webgpu", settings)
    with pytest.raises(BackendUnavailable, match="adapter") as caught:
        await backend.start(Target.parse("webgpu:chromium"), context)
    await backend.close()
    assert caught.value.info.where == "webgpu/ort:chromium"
    mine = [one for one in psutil.process_iter(["cmdline"]) if str(tmp_path) in _line(one)]
    assert not mine
    assert not list(context.state_dir.glob("launches/*"))


def _line(process: psutil.Process) -> str:
    return " ".join(process.info["cmdline"] or ())
