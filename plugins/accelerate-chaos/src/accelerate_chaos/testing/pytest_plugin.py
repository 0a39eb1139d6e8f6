# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin `accelerate_chaos`: the fixture `chaos`. Imports nothing heavy."""
