# SPDX-License-Identifier: Apache-2.0
"""The CI systems, a module each; where one is a module's name, its plugin is there."""

from __future__ import annotations

import re
from collections.abc import Mapping

#: What artifacts are called wherever they have a name.
ARTIFACT = "accelerate"
_AT_GITHUB = re.compile(r"github[^/:]*[/:]([\w.-]+/[\w.-]+?)(?:\.git)?(?:/pull/\d+)?/?$")


def github_name(url: str, environ: Mapping[str, str]) -> str | None:
    """Return GitHub's name of a repository or of a pull request's, where a token is set for it."""
    match = _AT_GITHUB.search(url)
    return match[1] if match and environ.get("GITHUB_TOKEN") else None
