# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from accelerate_recovery import ImmediatePolicy

from accelerate_core.protocols import Recovery
from accelerate_core.testing import RecoveryContract


class TestImmediate(RecoveryContract):
    @pytest.fixture
    def recovery(self) -> Recovery:
        return ImmediatePolicy()
