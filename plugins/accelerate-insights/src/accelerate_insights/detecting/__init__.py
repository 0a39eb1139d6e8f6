# SPDX-License-Identifier: Apache-2.0
"""Changes of level in series of measurements, and what they mean."""
