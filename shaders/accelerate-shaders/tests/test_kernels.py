# SPDX-License-Identifier: Apache-2.0
"""The ladder: every case of every kernel natively, then in each real browser with WebGPU."""

from __future__ import annotations

import pytest
from accelerate_plan.testing import KernelContract


class TestNative(KernelContract):
    plugin = "shaders"


@pytest.mark.browser("chromium")
class TestChromium(KernelContract):
    plugin = "shaders"
    target = "webgpu/plan:chromium"
    is_tuned = False


@pytest.mark.browser("firefox")
class TestFirefox(KernelContract):
    plugin = "shaders"
    target = "webgpu/plan:firefox"
    is_tuned = False
