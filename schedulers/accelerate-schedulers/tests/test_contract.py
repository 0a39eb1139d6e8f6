# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from accelerate_schedulers import AffinityPolicy, PerformancePolicy, RoundRobinPolicy

from accelerate_core.protocols import Scheduler
from accelerate_core.testing import SchedulerContract


class TestRoundRobin(SchedulerContract):
    @pytest.fixture
    def scheduler(self) -> Scheduler:
        return RoundRobinPolicy()


class TestAffinity(SchedulerContract):
    @pytest.fixture
    def scheduler(self) -> Scheduler:
        return AffinityPolicy({"vision": "chromium", "audio": "firefox"})


class TestPerformance(SchedulerContract):
    @pytest.fixture
    def scheduler(self) -> Scheduler:
        return PerformancePolicy()
