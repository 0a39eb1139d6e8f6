# SPDX-License-Identifier: Apache-2.0
"""The hook family this distribution opens: builders, one per model type."""

from accelerate_core.hookspecs import Family

BUILDERS = Family(
    "builders",
    "accelerate_models.builders",
    "accelerate_models.hookspecs.builder",
    "builder_create",
    "model builder",
)
