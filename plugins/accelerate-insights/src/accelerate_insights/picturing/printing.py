# SPDX-License-Identifier: Apache-2.0
"""A page as PDF, printed by a browser that is here: what people see is what is printed."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from accelerate_browser.browsers import BrowserFound, find_browser

from accelerate_core.errors import BackendUnavailable

#: Those that print without a window. chromium-headless-shell is none of them: its builds know no
#: --print-to-pdf, and wait for ever.
_PRINTERS = ("chromium", "chrome", "edge")
_TIMEOUT_S = 60


def find_printer(cache_dir: Path) -> BrowserFound:
    """Return a browser that prints; BackendUnavailable where there is none."""
    for name in _PRINTERS:
        found = find_browser(name, cache_dir)
        if isinstance(found, BrowserFound):
            return found
    raise BackendUnavailable(
        "a PDF is printed by a browser of Chromium's family, and none is here",
        where="output_format",
        accepted=_PRINTERS,
        hint="Install Chromium; or take the format html, and print that.",
    )


def printed(page: bytes, printer: BrowserFound) -> bytes:
    """Return the page as PDF, once its plots are drawn; BackendUnavailable when that fails."""
    with tempfile.TemporaryDirectory(prefix="accel-print-") as folder:
        source, target = Path(folder, "page.html"), Path(folder, "page.pdf")
        source.write_bytes(page)
        sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        command = [
            str(printer.path),
            "--headless",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            *sandbox,
            f"--user-data-dir={Path(folder, 'profile')}",
            "--no-pdf-header-footer",
            # Time of the page, not of the clock: it prints when the scripts have nothing to do.
            "--virtual-time-budget=20000",
            f"--print-to-pdf={target}",
            source.as_uri(),
        ]
        try:
            done = subprocess.run(
                command,
                env={**os.environ, **printer.environment},
                capture_output=True,
                timeout=_TIMEOUT_S,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _failed(printer, str(error)) from error
        if not target.is_file():
            raise _failed(printer, done.stderr.decode(errors="replace").strip()[-300:])
        return target.read_bytes()


def _failed(printer: BrowserFound, why: str) -> BackendUnavailable:
    return BackendUnavailable(
        f"{printer.browser} printed nothing: {why}",
        where="output_format",
        hint="Take the format html, and print that.",
    )
