# SPDX-License-Identifier: Apache-2.0
"""Ways to start a browser: as a process, through a driver, or whichever works here."""
