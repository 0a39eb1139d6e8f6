# SPDX-License-Identifier: Apache-2.0
"""The commands of the engine: `accel kernels`, `accel plan`, `accel models compile`."""
