# SPDX-License-Identifier: Apache-2.0
"""WebGPU in real browsers."""
