# SPDX-License-Identifier: Apache-2.0
"""Watching runs as they end: what they changed, who was told, what became of it."""
