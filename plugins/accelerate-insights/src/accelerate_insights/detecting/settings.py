# SPDX-License-Identifier: Apache-2.0
"""What a user may choose about changes."""

from __future__ import annotations

import attrs
from attrs import validators


@attrs.frozen(kw_only=True)
class Settings:
    """Configure what counts as a change."""

    #: Least change that matters, relative: smaller ones are not looked for.
    min_effect: float = attrs.field(
        default=0.05, validator=[validators.ge(0.005), validators.le(1.0)]
    )
