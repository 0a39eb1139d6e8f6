# SPDX-License-Identifier: Apache-2.0
"""Real browsers as workers: launchers, bridge, page runtime and the WASM backend."""
