# SPDX-License-Identifier: Apache-2.0
"""The servers that all tests here share."""

from __future__ import annotations

from .servers import _pushgateway, alertmanager, endpoint, prometheus, pushgateway

__all__ = ["_pushgateway", "alertmanager", "endpoint", "prometheus", "pushgateway"]
