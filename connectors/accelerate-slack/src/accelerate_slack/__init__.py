# SPDX-License-Identifier: Apache-2.0
"""Slack messages: a thread per run, brought up to date in place, with pictures."""
