# SPDX-License-Identifier: Apache-2.0
from pathlib import Path


def remedy(browser: str, cache_dir: Path) -> str | None:
    return None


def installed_shell(cache_dir: Path) -> Path | None:
    return None
