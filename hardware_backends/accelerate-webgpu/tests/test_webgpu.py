# SPDX-License-Identifier: Apache-2.0
"""What `webgpu` knows before anything is sent to a page."""

from __future__ import annotations

import attrs
import pytest
from accelerate_webgpu import check_load
from accelerate_webgpu.plan import compile_or_pass, compile_plan

from accelerate_core.errors import ConfigError, Unsupported
from accelerate_core.protocols import Context
from accelerate_core.testing import models
from accelerate_core.types import AdapterInfo, LoadOptions, Target, WorkerInfo

_INFO = WorkerInfo(
    target=Target("webgpu", "ort", "chromium"),
    adapter=AdapterInfo(vendor="google", architecture="swiftshader"),
)


def test_fp16_needs_shader_f16(context: Context) -> None:
    spec = attrs.evolve(models.tiny_mlp(context.assets), precision="fp16")
    with pytest.raises(Unsupported, match="google swiftshader has no shader-f16"):
        check_load(spec, LoadOptions(), _INFO)
    with pytest.raises(Unsupported, match="of this browser has no shader-f16"):
        check_load(spec, LoadOptions(), attrs.evolve(_INFO, adapter=None))
    check_load(spec, LoadOptions(), attrs.evolve(_INFO, features=("shader-f16",)))
    check_load(attrs.evolve(spec, precision="fp32"), LoadOptions(), _INFO)
    # Plans unpack 16-bit weights without it.
    check_load(attrs.evolve(spec, format="plan"), LoadOptions(), _INFO)


def test_other_formats_are_refused(context: Context) -> None:
    spec = attrs.evolve(models.tiny_mlp(context.assets), format="tflite")
    for prepare in (compile_plan, compile_or_pass):
        with pytest.raises(Unsupported, match="tflite"):
            prepare(spec, {}, _INFO, context)


async def test_webkitgtk_is_shown_as_lacking(context: Context) -> None:
    backend = context.plugins.create("backends", "webgpu")
    found = {one.target.browser: one for one in await backend.discover()}
    assert not found["webkitgtk"].is_available
    assert "WebGPU" in (found["webkitgtk"].reason or "")


@pytest.mark.parametrize(
    "settings",
    [
        {"engine_settings": {"readback_poll": "sometimes"}},
        {"engine_settings": {"no_such_setting": 1}},
        {"launcher_settings": {"no_such_setting": 1}},
    ],
)
async def test_wrong_settings_are_refused_before_a_browser_starts(
    context: Context, settings: dict[str, object]
) -> None:
    with pytest.raises(ConfigError):
        backend = context.plugins.create("backends", "webgpu", settings)
        await backend.start(Target.parse("webgpu:chromium"), context)
