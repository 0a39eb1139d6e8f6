# SPDX-License-Identifier: Apache-2.0
"""Choose codes for a model's matrices by what they do to its answers."""
