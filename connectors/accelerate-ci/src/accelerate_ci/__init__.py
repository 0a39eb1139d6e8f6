# SPDX-License-Identifier: Apache-2.0
"""CI systems: where a run runs, and how its results are shown there."""
