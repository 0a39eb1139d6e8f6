# SPDX-License-Identifier: Apache-2.0
"""The hook family that this distribution opens: what finds changes in a series."""

from accelerate_core.hookspecs import Family

DETECTORS = Family(
    "detectors",
    "accelerate_insights.detectors",
    "accelerate_insights.hookspecs.detector",
    "detector_create",
    "detector",
    provides=("detect", "detect_many"),
)

__all__ = ["DETECTORS"]
