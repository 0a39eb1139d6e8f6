# SPDX-License-Identifier: Apache-2.0
"""The two pluggy markers: `hookspec` for families, `hookimpl` for plugins."""

import pluggy

PROJECT = "accelerate"

#: Version of the hook contract. Arguments are only ever added.
API = 1

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
