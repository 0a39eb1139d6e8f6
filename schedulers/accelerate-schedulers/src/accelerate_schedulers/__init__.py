# SPDX-License-Identifier: Apache-2.0
"""Schedulers: round_robin and affinity."""
