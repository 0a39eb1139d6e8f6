# SPDX-License-Identifier: Apache-2.0
"""What to use, by what was measured: history, trends, recommendations, settings."""
