# SPDX-License-Identifier: Apache-2.0
"""Commands of accelerate-insights: words in, tables out."""
