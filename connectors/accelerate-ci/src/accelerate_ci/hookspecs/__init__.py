# SPDX-License-Identifier: Apache-2.0
"""The hook family that this distribution opens: CI systems."""

from accelerate_core.hookspecs import Family

PROVIDERS = Family(
    "ci_providers",
    "accelerate_ci.providers",
    "accelerate_ci.hookspecs.provider",
    "ci_provider_create",
    "CI system",
    provides=("detect", "annotate", "summarize", "report", "host", "baseline", "pipeline"),
)

__all__ = ["PROVIDERS"]
