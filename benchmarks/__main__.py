# SPDX-License-Identifier: Apache-2.0
"""Run benchmarks by name, or all of them; print one figure a line, as JSON."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs

from accelerate_core.cli.interrupts import stoppable
from accelerate_core.errors import AccelerateError

from ._world import Options

_ALL = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
#: Take longer than CI allows; `--soak` asks for all of them.
SOAKS = [name for name in _ALL if name.startswith("soak")]
NAMES = [name for name in _ALL if name not in SOAKS]
_INTERRUPTED = 130


def main() -> int:
    """Return 0 when every figure meets its target, 1 when one does not or could not be taken.

    130 after Ctrl-C: figures taken since then are of a part only, and say so.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join([*NAMES, *SOAKS]))
    parser.add_argument("--soak", action="store_true", help=f"run {', '.join(SOAKS)}")
    parser.add_argument(
        "--quick",
        action="store_true",
        default=os.environ.get("BENCH_QUICK") == "1",
        help="few repetitions, to see that it works (BENCH_QUICK=1)",
    )
    parser.add_argument("--minutes", type=float, help="how long a soak lasts, if it says minutes")
    parser.add_argument("--number", type=int, help="how many requests, cycles, ... it does")
    parser.add_argument(
        "--browser", action="append", default=[], help="only this one; may be given again"
    )
    given = parser.parse_args()
    if unknown := set(given.names) - {*NAMES, *SOAKS}:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    names = given.names or (SOAKS if given.soak else NAMES)
    options = Options(
        quick=given.quick,
        minutes=given.minutes,
        number=given.number,
        only=tuple(given.browser),
    )
    try:
        return asyncio.run(
            stoppable(lambda stop: _all(names, attrs.evolve(options, stop=stop)), _say)
        )
    except asyncio.CancelledError:
        return _INTERRUPTED


async def _all(names: Sequence[str], options: Options) -> int:
    are_met = True
    for name in names:
        are_met = await _run(name, options) and are_met
        if options.stop.is_set():
            return _INTERRUPTED
    return 0 if are_met else 1


async def _run(name: str, options: Options) -> bool:
    module = importlib.import_module(f"{__package__}.{name}")
    is_met = True
    try:
        async with contextlib.aclosing(module.measure(options)) as figures:
            async for figure in figures:
                if options.stop.is_set():  # a part meets no target, and misses none
                    partial = {"is_partial": True, "target": figure.target, **figure.conditions}
                    figure = attrs.evolve(figure, at_most=None, at_least=None, conditions=partial)
                print(figure.line(), flush=True)
                is_met = is_met and figure.holds is not False
    except AccelerateError as error:
        _say(f"{name}: {error}")
        return False
    return is_met


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
