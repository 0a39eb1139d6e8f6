# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from accelerate_cpu import CpuPlugin

from accelerate_core.protocols import Backend, Context
from accelerate_core.testing import BackendContract, SessionContract


class TestCpu(BackendContract, SessionContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls, context: Context) -> Backend:
        return CpuPlugin().backend_create(None, context)
