# SPDX-License-Identifier: Apache-2.0
import pytest
from accelerate_example_scheduler import LastIdle

from accelerate_core.testing import SchedulerContract


class TestLastIdle(SchedulerContract):
    @pytest.fixture
    def scheduler(self):
        return LastIdle()
