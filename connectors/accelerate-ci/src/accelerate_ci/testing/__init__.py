# SPDX-License-Identifier: Apache-2.0
"""The conformance kit of CI systems.

class TestMine(ProviderContract):
    plugin = "mine"
    environments = ({"MY_CI": "true", ...},)
"""

from .providers import ProviderContract

__all__ = ["ProviderContract"]
