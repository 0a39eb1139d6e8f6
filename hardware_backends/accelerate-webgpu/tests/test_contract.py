# SPDX-License-Identifier: Apache-2.0
"""The backend `webgpu` and its engines `ort` and `plan` keep their contracts, in two browsers."""

import pytest
from accelerate_browser.settings import BrowserSettings
from accelerate_browser.testing.engine import EngineContract
from accelerate_webgpu import WebGpuPlugin

from accelerate_core.protocols import Backend, Context


class _WebGpu(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, context: Context) -> Backend:
        return WebGpuPlugin().backend_create(None, context)


@pytest.mark.browser("chromium")
class TestWebGpuInChromium(_WebGpu):
    target = "webgpu:chromium"


@pytest.mark.browser("firefox")
class TestWebGpuInFirefox(_WebGpu):
    target = "webgpu:firefox"


class _Plan(EngineContract):
    engine = "plan"

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, context: Context) -> Backend:
        return WebGpuPlugin().backend_create(BrowserSettings(engine="plan"), context)


@pytest.mark.browser("chromium")
class TestPlanInChromium(_Plan):
    target = "webgpu:chromium"


@pytest.mark.browser("firefox")
class TestPlanInFirefox(_Plan):
    target = "webgpu:firefox"
