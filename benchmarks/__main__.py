# SPDX-License-Identifier: Apache-2.0
"""Run benchmarks by name, or all of them; print one figure a line, as JSON."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import sys
from pathlib import Path

from accelerate_core.errors import AccelerateError

from ._world import Options

#: Takes longer than the others together; `--soak` asks for it.
SOAK = "soak"
NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py") if path.stem != SOAK)


def main() -> int:
    """Return 0 when every figure meets its target, 1 when one does not or could not be taken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join([*NAMES, SOAK]))
    parser.add_argument("--soak", action="store_true", help="what takes longer than CI allows")
    parser.add_argument(
        "--quick",
        action="store_true",
        default=os.environ.get("BENCH_QUICK") == "1",
        help="few repetitions, to see that it works (BENCH_QUICK=1)",
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="how long the soak lasts")
    parser.add_argument(
        "--browser", action="append", default=[], help="only this one; may be given again"
    )
    given = parser.parse_args()
    if unknown := set(given.names) - {*NAMES, SOAK}:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    options = Options(
        quick=given.quick, is_soak=given.soak, minutes=given.minutes, only=tuple(given.browser)
    )
    names = given.names or ([SOAK] if given.soak else NAMES)
    results = [asyncio.run(_run(name, options)) for name in names]
    return 0 if all(results) else 1


async def _run(name: str, options: Options) -> bool:
    module = importlib.import_module(f"{__package__}.{name}")
    is_met = True
    try:
        async for figure in module.measure(options):
            print(figure.line(), flush=True)
            is_met = is_met and figure.holds is not False
    except AccelerateError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return False
    return is_met


if __name__ == "__main__":
    sys.exit(main())
