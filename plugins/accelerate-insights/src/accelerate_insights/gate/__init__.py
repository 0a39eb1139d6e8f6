# SPDX-License-Identifier: Apache-2.0
"""The gate: is what is new slower than what was? Shifts with intervals, verdicts, exit codes."""
