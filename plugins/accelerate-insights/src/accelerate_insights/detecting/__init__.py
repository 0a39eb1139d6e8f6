# SPDX-License-Identifier: Apache-2.0
"""Changes of level in series of measurements, and what they mean: `find`.

Imported late: numpy comes with it.
"""

from .finding import find
from .settings import Settings

__all__ = ["Settings", "find"]
