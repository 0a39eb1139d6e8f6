# SPDX-License-Identifier: Apache-2.0
from accelerate_plan.testing import KernelContract


class TestQuads(KernelContract):
    plugin = "quads"
