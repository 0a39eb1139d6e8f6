# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from accelerate_wgpu import WgpuPlugin

from accelerate_core.protocols import Backend, Context
from accelerate_core.testing import BackendContract, SessionContract


class TestWgpu(BackendContract, SessionContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, context: Context) -> Backend:
        return WgpuPlugin().backend_create(None, context)
