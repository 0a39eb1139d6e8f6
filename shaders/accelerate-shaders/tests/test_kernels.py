# SPDX-License-Identifier: Apache-2.0
"""The ladder: every case of every kernel, natively (naga)."""

from __future__ import annotations

from accelerate_plan.testing import KernelContract


class TestNative(KernelContract):
    plugin = "shaders"
