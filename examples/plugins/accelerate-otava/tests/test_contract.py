# SPDX-License-Identifier: Apache-2.0
"""Otava keeps the contract of detectors."""

from accelerate_insights.testing import DetectorContract


class TestOtava(DetectorContract):
    plugin = "otava"
