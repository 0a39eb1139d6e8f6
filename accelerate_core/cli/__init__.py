# SPDX-License-Identifier: Apache-2.0
"""The `accel` command.

Nothing here is imported before it is needed: `accel --help` loads neither Typer nor a plugin.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def main(words: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 1 failed, 2 usage or config, 130 interrupted."""
    given = list(sys.argv[1:] if words is None else words)
    # Anywhere on the line, so that a failed command is repeated with one word more.
    is_debug = "--debug" in given
    given = [word for word in given if word != "--debug"]
    try:
        code = _run(given, is_debug)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        # Also while modules are imported, which takes seconds on a busy machine.
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read has gone (`accel ... | head`). The flush at exit must find no pipe either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(words: list[str], is_debug: bool) -> int:
    if words in ([], ["-h"], ["--help"]):
        from .overview import overview

        print(overview())
        return 0
    if words == ["--version"]:
        from .overview import version

        print(version())
        return 0
    from .commands import invoke

    return invoke(words, is_debug=is_debug)
