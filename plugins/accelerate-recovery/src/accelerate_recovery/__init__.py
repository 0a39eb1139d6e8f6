# SPDX-License-Identifier: Apache-2.0
"""Recovery strategies for failed attempts."""
