# SPDX-License-Identifier: Apache-2.0
"""Rules that decide who is told what and when: grouping, quiet hours, escalation, digests."""
