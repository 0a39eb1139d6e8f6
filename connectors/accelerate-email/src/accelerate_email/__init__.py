# SPDX-License-Identifier: Apache-2.0
"""E-mail: text and HTML with inline pictures, over TLS, with digests."""
