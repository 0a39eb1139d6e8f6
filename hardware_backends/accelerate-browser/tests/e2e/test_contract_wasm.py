# SPDX-License-Identifier: Apache-2.0
"""The backend `wasm` keeps the contract of backends, in Chromium."""

import pytest
from accelerate_browser.backend import WasmPlugin
from accelerate_core.protocols import Backend, Context
from accelerate_core.testing.backend import BackendContract


@pytest.mark.browser("chromium")
class TestWasmInChromium(BackendContract):
    target = "wasm:chromium"

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, context: Context) -> Backend:
        return WasmPlugin().backend_create(None, context)
