# SPDX-License-Identifier: Apache-2.0
"""What stored measurements mean: changes, comparisons, recommendations, pictures."""
