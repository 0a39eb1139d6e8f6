# SPDX-License-Identifier: Apache-2.0
"""The conformance kit of detectors.

class TestMine(DetectorContract):
    plugin = "mine"
"""

from .detectors import DetectorContract

__all__ = ["DetectorContract"]
