# SPDX-License-Identifier: Apache-2.0
"""Measure what the project promises: `python -m benchmarks NAME`. See docs/benchmarks.md."""
