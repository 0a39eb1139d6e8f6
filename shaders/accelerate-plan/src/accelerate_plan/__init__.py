# SPDX-License-Identifier: Apache-2.0
"""Compile models to plans of WGSL dispatches, and check the kernels they are made of."""
