# SPDX-License-Identifier: Apache-2.0
"""Models from ONNX files and Hugging Face directories, without torch."""
