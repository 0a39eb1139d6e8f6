# SPDX-License-Identifier: Apache-2.0
"""`make connectors-demo`: one pipeline file, a real slow-down, and what everybody hears of it.

`examples/connectors.toml` runs in jobs of a pull request, commit after commit, and tells local
services. One commit turns ONNX Runtime's graph optimisation off, the last one turns it on again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import attrs

from tools.insights_demo import accel_anew, commit, git, write_model
from tools.messages import mail_page
from tools.places import WELL, WORSE, Places, Said, places

FOLDER = Path(__file__).parents[1] / ".build/connectors-demo"
PLANTED = "Turn graph optimisation off while looking for a bug"
MENDED = "Turn graph optimisation on again"
#: Where people see a regression, and the series by which Prometheus knows of it.
_PEOPLE = (
    "JIRA", "Slack", "TestRail", "Teams", "mail", "log of the job", "summary of the job",
    "pull request",
)  # fmt: skip
_SERIES = ("Pushgateway", "endpoint")
_STILL = "Still worse"


@attrs.frozen(kw_only=True)
class Story:
    """Say what happens: so many runs before the slow-down, and at most so many to find it."""

    good: int = 12
    most: int = 12
    options: Sequence[str] = ()  #: of `accel run`


@attrs.frozen(kw_only=True)
class Told:
    """Hold what was found, and what each place showed of it."""

    planted: str  #: the commit
    finding: Mapping[str, Any]  #: as `accel regressions list --json` prints it
    run_id: str  #: which found it
    found: Sequence[Said]  #: when it was found
    later: Sequence[Said]  #: a run later
    fixed: Sequence[Said]  #: when the next commit had mended it
    left: Sequence[str]  #: keys of what was not delivered
    printed: str  #: by all runs

    def wrong(self) -> list[str]:
        """Return what is not as it has to be, in words."""
        wrong = [f"not delivered: {key}" for key in self.left]
        if self.finding["first_bad_commit"] != self.planted:
            wrong.append(f"{self.finding['first_bad_commit']} is blamed, not {self.planted}")
        for said, state in ((self.found, WORSE), (self.fixed, WELL)):
            times = Counter(one.place for one in said if one.state == state)
            wrong += [
                f"{place}: {times[place]} times that it {state}"
                for place in (*_PEOPLE, *_SERIES)
                if times[place] != 1
            ]
        times = Counter(one.place for one in self.later if one.state == WORSE)
        wrong += [f"{place}: told again by the next run" for place in times if times[place] > 1]
        if not any(one.place == "pull request" and _STILL in one.text for one in self.later):
            wrong.append("pull request: the next run says nothing of what is still worse")
        numbers = f"{self.finding['before']:.4g} → {self.finding['after']:.4g} ms"
        link = f"https://reports.example.com/{self.run_id}.html"
        for one in (one for one in self.found if one.state):
            facts = ["folded", "cpu"]
            facts += [numbers] if one.place in _PEOPLE else []
            # Lines of a log stand in the job itself.
            facts += [link] if one.place in _PEOPLE and one.place != "log of the job" else []
            wrong += [f"{one.place}: nothing of {fact!r}" for fact in facts if fact not in one.text]
        return wrong


def tell(folder: Path, here: Places, story: Story, run: Callable[..., str]) -> Told:
    """Make the project in an empty folder, run its history, and return what was told of it."""
    write_model(folder / "model.onnx")
    git(folder, "init", "-q")
    (folder / ".gitignore").write_text("results.duckdb*\n")
    printed: list[str] = []

    def day(message: str, optimization: str) -> str:
        """Commit, run as the job of this commit, and return its hash."""
        number = len(printed) + 1
        (folder / "notes.txt").write_text(f"day {number}\n")
        (folder / "pipeline.toml").write_text(
            here.pipeline().replace('optimization = "all"', f'optimization = "{optimization}"')
        )
        sha, began = commit(folder, message), time.monotonic()
        with environment(here.job(f"{number:02}", sha)):
            printed.append(run("run", "pipeline.toml", *story.options))
            if "not delivered yet" in printed[-1]:  # a busy machine had no time for it
                run("outbox", "send", "pipeline.toml")
        _say(f"run {number:2} at {sha[:9]}: {time.monotonic() - began:.1f} s")
        return sha

    def said() -> list[Said]:
        return [*here.said(), *_annotations(printed)]

    with contextlib.chdir(folder):
        for number in range(story.good):
            day(f"Write of day {number + 1}", "all")
        planted = day(PLANTED, "none")
        while not (alerts := json.loads(run("regressions", "list", "--json"))):
            if len(printed) >= story.good + story.most:
                raise SystemExit(f"{story.most} runs after the slow-down nobody was told of it")
            day("Look for the bug", "none")
        ((finding,),) = (alert["findings"] for alert in alerts)
        found = said()
        day("Look for the bug", "none")
        later = said()
        run("regressions", "fix", finding["id"])
        day(MENDED, "all")
        outbox = json.loads(run("outbox", "list", "--all", "--json"))
    keys = {one["key"] for one in outbox}
    (run_id,) = (key.split(":")[1] for key in keys if key.endswith(f":{finding['id']}:open"))
    return Told(
        planted=planted,
        finding=finding,
        run_id=run_id,
        found=found,
        later=later,
        fixed=said(),
        left=[f"{one['connector']} {one['key']}" for one in outbox if one["state"] != "delivered"],
        printed="".join(printed),
    )


def keep(folder: Path, told: Told) -> None:
    """Write what each place shows of the regression as it came, and the mail as a page."""
    for one in told.found:
        if one.state:
            (folder / one.file).write_bytes(one.data)
    (folder / "mail.html").write_text(mail_page((folder / "mail.eml").read_bytes()))


def main(arguments: Sequence[str]) -> int:
    """Tell the whole story and show what each place shows; 1 when one does not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    folder = parser.parse_args(arguments).folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("services", "project"):
        (folder / name).mkdir(parents=True)
    with places(folder / "services") as here:
        told = tell(folder / "project", here, Story(), accel_anew)
    keep(folder, told)
    for said, state in ((told.found, WORSE), (told.fixed, WELL)):
        _say(f"\nWhere it is said that it {state}:")
        for one in said:
            if one.state == state:
                line = next(line for line in one.text.splitlines() if state in line)
                _say(f"{one.place:18}  {one.what:26}  {line}")
    for text in (wrong := told.wrong()):
        _say(f"WRONG: {text}")
    _say(f"\nMail, card, issue and all else as it came: {folder}")
    return int(bool(wrong))


@contextlib.contextmanager
def environment(more: Mapping[str, str]) -> Iterator[None]:
    """Have these variables for a while."""
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _annotations(printed: Sequence[str]) -> Iterator[Said]:
    """Yield what GitHub shows of the lines of the jobs' logs."""
    for text in printed:
        for line in text.splitlines():
            if line.startswith(("::error ", "::warning ", "::notice ")):
                said = unquote(line)  # as GitHub reads it
                place = "log of the job"
                yield Said(
                    place=place, what="annotation", text=said, file="log.txt", data=line.encode()
                )


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
