# SPDX-License-Identifier: Apache-2.0
"""TestRail runs, cases and results in bulk."""
