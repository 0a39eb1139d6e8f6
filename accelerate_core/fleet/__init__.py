# SPDX-License-Identifier: Apache-2.0
"""The pure state machine over workers and jobs: events in, instructions out, no I/O."""
