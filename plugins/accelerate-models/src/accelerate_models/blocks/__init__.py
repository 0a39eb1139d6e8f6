# SPDX-License-Identifier: Apache-2.0
"""The parts transformers are made of, as plain ONNX operators.

Shapes are constants with 0 (keep) and -1 (rest), never computed in the graph, so that every
execution provider takes every node once batch and sequence are fixed.
"""
