# SPDX-License-Identifier: Apache-2.0
"""The native ONNX Runtime backend: embedded default and numerical reference."""
