# SPDX-License-Identifier: Apache-2.0
"""Pictures of many runs, and reports about them."""
