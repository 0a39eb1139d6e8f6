# SPDX-License-Identifier: Apache-2.0
"""From a configuration to cells, from cells to measurements."""
