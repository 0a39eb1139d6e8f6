# SPDX-License-Identifier: Apache-2.0
"""The faults of this distribution."""
