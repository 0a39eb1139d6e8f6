# SPDX-License-Identifier: Apache-2.0
"""Conformance kits for the hook families of this distribution."""
