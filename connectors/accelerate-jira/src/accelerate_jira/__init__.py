# SPDX-License-Identifier: Apache-2.0
"""JIRA issues for regressions and failed cells, found again and brought up to date."""
