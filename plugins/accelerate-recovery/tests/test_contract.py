# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from accelerate_recovery import (
    CoordinatedPolicy,
    FailoverPolicy,
    ImmediatePolicy,
    ParallelPolicy,
    ProgressivePolicy,
    RestartPolicy,
    RetryPolicy,
)

from accelerate_core.protocols import Recovery
from accelerate_core.testing import RecoveryContract


class TestImmediate(RecoveryContract):
    @pytest.fixture
    def recovery(self) -> Recovery:
        return ImmediatePolicy()


class TestCoordinated(RecoveryContract):
    @pytest.fixture
    def recovery(self) -> Recovery:
        return CoordinatedPolicy()


class TestRetry(RecoveryContract):
    @pytest.fixture
    def recovery(self) -> Recovery:
        return RetryPolicy()


class TestRestart(RecoveryContract):
    @pytest.fixture
    def recovery(self) -> Recovery:
        return RestartPolicy()


class TestFailover(RecoveryContract):
    @pytest.fixture
    def recovery(self) -> Recovery:
        return FailoverPolicy()


class TestProgressive(RecoveryContract):
    @pytest.fixture
    def recovery(self) -> Recovery:
        return ProgressivePolicy()


class TestParallel(RecoveryContract):
    @pytest.fixture
    def recovery(self) -> Recovery:
        return ParallelPolicy()
