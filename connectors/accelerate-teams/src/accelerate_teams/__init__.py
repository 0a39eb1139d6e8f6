# SPDX-License-Identifier: Apache-2.0
"""Microsoft Teams: Adaptive Cards through a workflow webhook."""
