# SPDX-License-Identifier: Apache-2.0
"""Reports of a run: terminal, HTML, Markdown, CSV, JSON, JUnit XML."""
