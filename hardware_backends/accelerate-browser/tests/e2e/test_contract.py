# SPDX-License-Identifier: Apache-2.0
"""The backend `wasm` and its engine keep their contracts, in Chromium."""

import pytest
from accelerate_browser.backend import WasmPlugin
from accelerate_browser.testing.engine import EngineContract

from accelerate_core.protocols import Backend, Context


@pytest.mark.browser("chromium")
class TestWasmInChromium(EngineContract):
    target = "wasm:chromium"

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, context: Context) -> Backend:
        return WasmPlugin().backend_create(None, context)
