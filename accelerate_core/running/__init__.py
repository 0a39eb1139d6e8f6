# SPDX-License-Identifier: Apache-2.0
"""The asyncio driver of the fleet machine: it carries out instructions and reports events."""
