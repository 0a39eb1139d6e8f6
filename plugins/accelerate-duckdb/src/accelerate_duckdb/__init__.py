# SPDX-License-Identifier: Apache-2.0
"""Every measurement, remembered in one DuckDB file."""
