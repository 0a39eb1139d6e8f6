# SPDX-License-Identifier: Apache-2.0
"""`make insights-demo`: a project whose history has one real slow-down, and what accel says of it.

A git repository with a pipeline and a small model gets commit after commit, and a run after each.
One of the commits turns ONNX Runtime's graph optimisation off on the CPU: what was computed once,
at loading, is then computed in every run. Nothing is done to any number.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from accelerate_core.cli import main as accel

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".build/insights-demo"
_ACCEL = Path(sys.executable).with_name("accel")
PLANTED = "Turn graph optimisation off while looking for a bug"

_PIPELINE = """\
name = "demo"
[store]
use = "duckdb"
path = "results.duckdb"
[backends.cpu]
threads = 1
optimization = "{optimization}"
[backends.wasm]
threads = 1
[[models]]
name = "folded"
source = "file:model.onnx"
[[benchmarks]]
targets = {targets}
batch_sizes = [64]
repeats = {repeats}
warmup = 3
"""


@attrs.frozen(kw_only=True)
class Story:
    """Say what happens: so many runs before the slow-down, and from it on."""

    targets: Sequence[str] = ("cpu", "wasm:chromium-headless-shell")
    good: int = 22
    bad: int = 10
    repeats: int = 30


@attrs.frozen
class Told:
    """Hold what came of a story: the commit that was to blame, and the alerts there are."""

    planted: str
    alerts: Sequence[Any]  #: as `accel regressions --json` prints them
    printed: str  #: by all the runs

    @property
    def is_right(self) -> bool:
        """Whether the planted slow-down, and nothing else, was alerted, with its commit."""
        found = [one for alert in self.alerts for one in alert["findings"]]
        return len(self.alerts) == 1 and all(
            one["platform"] == "cpu" and one["first_bad_commit"] == self.planted for one in found
        )


def tell(folder: Path, story: Story, run: Callable[..., str]) -> Told:
    """Make the project in an empty folder, run its history, and return what was found."""
    write_model(folder / "model.onnx")
    git(folder, "init", "-q")
    (folder / ".gitignore").write_text("results.duckdb*\n*.html\n*.png\n")
    planted, printed = "", io.StringIO()
    with contextlib.chdir(folder):
        for number in range(story.good + story.bad):
            is_bad = number >= story.good
            (folder / "pipeline.toml").write_text(
                _PIPELINE.format(
                    optimization="none" if is_bad else "all",
                    targets=json.dumps(list(story.targets)),
                    repeats=story.repeats,
                )
            )
            (folder / "notes.txt").write_text(f"day {number + 1}\n")
            is_planted = number == story.good
            sha = commit(folder, PLANTED if is_planted else f"Write of day {number + 1}")
            planted = sha if is_planted else planted
            began = time.monotonic()
            printed.write(run("run", "pipeline.toml"))
            _say(f"run {number + 1:2} at {sha[:9]}: {time.monotonic() - began:.1f} s")
        alerts = json.loads(accel_here("regressions", "list", "--json"))
    return Told(planted, alerts, printed.getvalue())


def write_model(path: Path, size: int = 256, folded: int = 8, computed: int = 4) -> None:
    """Write a chain of matrix products, most of constants: they are folded when it is loaded."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = (rng.standard_normal((size, size)) / size**0.5).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", [f"c{index - 1}" if index else "w", "w"], [f"c{index}"])
        for index in range(folded)
    ]
    nodes += [
        helper.make_node(
            "MatMul",
            [f"y{index - 1}" if index else "x", "w" if index else f"c{folded - 1}"],
            [f"y{index}"],
        )
        for index in range(computed)
    ]
    graph = helper.make_graph(
        nodes,
        "folded",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", size])],
        [helper.make_tensor_value_info(f"y{computed - 1}", TensorProto.FLOAT, ["batch", size])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


def main(arguments: Sequence[str]) -> int:
    """Tell the whole story and show what users would see; 1 when it was not understood."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    folder = parser.parse_args(arguments).folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    told = tell(folder, Story(), accel_anew)
    with contextlib.chdir(folder):
        _say("\n$ accel regressions")
        print(accel_here("regressions"))
        for alert in told.alerts:
            for one in alert["findings"]:
                _say(f"$ accel regressions show {one['id'][:8]}")
                print(accel_here("regressions", "show", one["id"]))
        _say("$ accel report --days 30")
        print(accel_here("report", "--days", "30"))
        print(accel_here("report", "--days", "30", "--format", "html", "--output", "report.html"))
    _say(f"Planted in {told.planted}: {PLANTED}.")
    _say("Found, and nothing else." if told.is_right else "NOT what was planted.")
    _say(f"All of it is in {folder}.")
    return int(not told.is_right)


def accel_anew(*words: str) -> str:
    """Run a command in a process of its own, as users do: what runs left in memory is not in it."""
    done = subprocess.run([_ACCEL, *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"accel {' '.join(words)}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout + done.stderr


def accel_here(*words: str) -> str:
    """Run a command in this process, which is quicker."""
    with _printed() as out:
        code = accel(list(words))
    if code:
        raise SystemExit(f"accel {' '.join(words)}: exit code {code}\n{out.getvalue()}")
    return out.getvalue()


@contextlib.contextmanager
def _printed() -> Iterator[io.StringIO]:
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    text = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(text):
        yield text
    text.write(out.buffer.getvalue().decode())


def commit(folder: Path, message: str) -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def git(folder: Path, *words: str) -> str:
    # The user's own settings, hooks and signatures have no business here.
    environment = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    who = ("-c", "user.name=demo", "-c", "user.email=demo@example.org")
    done = subprocess.run(
        ["git", *who, *words],
        cwd=folder,
        env={**os.environ, **environment},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
