# SPDX-License-Identifier: Apache-2.0
"""What holds for every test of this repository."""

from __future__ import annotations

import signal

import hypothesis

# A busy machine takes longer over an example than a deadline allows, now and then.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")

# Whoever runs the suite in the background of a shell without job control has it ignore Ctrl-C, and
# so would each process that a test starts, and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
