# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hypothesis

# A busy machine takes longer over an example than a deadline allows, now and then.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")
