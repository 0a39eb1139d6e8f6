# SPDX-License-Identifier: Apache-2.0
"""WebNN in real browsers."""
