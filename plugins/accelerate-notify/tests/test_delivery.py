# SPDX-License-Identifier: Apache-2.0
"""Rules among connectors: through the outbox of a real store, and through processes that die."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
from accelerate_duckdb.store import DuckDbStore

from accelerate_core import hookimpl
from accelerate_core.assembly import assemble, make_host
from accelerate_core.config import parse
from accelerate_core.delivering import tending
from accelerate_core.events import Attachment, Event, Notification, Regression
from accelerate_core.protocols import Context, Store
from accelerate_core.testing import samples

from .office import Recorder, regression

VICTIM = Path(__file__).with_name("victim.py")


class Painter:
    """Draws regressions."""

    name = "painter"

    @hookimpl
    def event_attachments(self, event: Event, store: Store) -> Sequence[Attachment]:
        if not isinstance(event, Regression):
            return ()
        return (Attachment(name="x.png", media_type="image/png", data=b"", description=event.id),)


def run(
    tmp_path: Path, batches: Sequence[Sequence[Event]], *rules: dict[str, Any], **file: Any
) -> tuple[Recorder, list[str]]:
    """Tell a configured run's connectors of batches of events; return who was told, and of what."""
    recorder = Recorder()

    class RecorderPlugin:
        name = "recorder"

        @hookimpl
        def connector_create(self, settings: None, ctx: Context) -> Recorder:
            return recorder

    config = parse(
        {
            # Before the rules: whom they tell is idle already when they do.
            "connectors": [
                {"use": "recorder", "id": "slack", "on": ["notification"]},
                {"use": "notify", "rules": [{"to": ["slack"], **rule} for rule in rules]},
            ],
            **file,
        }
    )
    host = make_host(config, cache_dir=tmp_path / "cache", state_dir=tmp_path / "state")
    host.add("connectors", "recorder", RecorderPlugin)
    host.add("listeners", "painter", Painter)
    with assemble(config, host) as assembly:
        for batch in batches:
            assembly.dispatcher.storing(lambda batch=batch: batch)
            assembly.dispatcher.settle()
        return recorder, assembly.dispatcher.problems()


@pytest.mark.parametrize("is_stored", [False, True])
def test_what_a_run_finds_at_once_is_one_message_for_each_cause(
    tmp_path: Path, empty: Path, is_stored: bool
) -> None:
    path = shutil.copy(empty, tmp_path / "r.duckdb")
    store = {"store": {"use": "duckdb", "path": str(path)}} if is_stored else {}
    found = [regression(f"r-{n}", cause_id=f"c-{n % 3}", cause=f"cause {n % 3}") for n in range(12)]
    found[7] = attrs.evolve(found[7], severity="critical")
    recorder, problems = run(tmp_path, [found[:9], found[9:]], {"throttle": "1h"}, **store)
    told = [one for one in recorder.told if isinstance(one, Notification)]
    assert [one.title for one in told] == [f"3 regressions: cause {n}" for n in range(3)]
    assert not problems and len(told) == len(recorder.told)
    # The worst of each message is shown first.
    assert recorder.shown == (["r-0", "r-7", "r-2"] if is_stored else [])


def test_a_run_that_ends_leaves_what_waits_to_the_next(tmp_path: Path, empty: Path) -> None:
    path = shutil.copy(empty, tmp_path / "r.duckdb")
    store = {"store": {"use": "duckdb", "path": str(path)}}
    rule = {"wait": "24h"}
    for name in ("a", "b"):
        recorder, problems = run(tmp_path, [[regression(name)]], rule, **store)
        assert recorder.told == [] and not problems
    # A day later: what is due is told by whichever process comes next.
    with contextlib.closing(DuckDbStore.open(path)) as opened:
        waiting = tending.deliveries(opened, ("waiting",))
        assert [one.connector for one in waiting] == ["notify"]
        tending.retry(opened, waiting, datetime.now(UTC))
    recorder, _ = run(tmp_path, [[]], rule, **store)
    (message,) = recorder.told
    assert isinstance(message, Notification) and message.title.startswith("2 regressions")


def test_hostile_words_reach_people_as_words(tmp_path: Path) -> None:
    events: list[Event] = []
    for number, text in enumerate(samples.HOSTILE):
        for event in samples.every_event(text):
            if isinstance(event, Regression):
                event = attrs.evolve(
                    event, id=f"r-{number}", label=text, model=text, cause=text, cause_id=text
                )
                events += [event, attrs.evolve(event, id=f"more-{number}")]
    recorder, problems = run(tmp_path, [events], {"on": ["regression"]})
    assert len(recorder.told) == len(samples.HOSTILE) and not problems
    for text, message in zip(samples.HOSTILE, recorder.told, strict=True):
        assert isinstance(message, Notification)
        assert "\n" not in message.title and "49" not in message.title
        assert message.title.startswith("2 regressions: ")
        assert text.split()[0].strip("\x1b\x07") in message.title


def test_processes_that_are_killed_lose_and_double_nothing(tmp_path: Path, empty: Path) -> None:
    path = shutil.copy(empty, tmp_path / "r.duckdb")
    log = tmp_path / "log"
    # Killed when the first event has joined, when the second cause is told, when it escalates.
    lives = ("1", "5", "3", "0")
    done = subprocess.run(
        [sys.executable, VICTIM, path, log, *lives],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [*["-9"] * 3, "0"]
    # The log is none that can be asked for earlier items: a line may be there twice.
    messages = {tuple(map(str, json.loads(line))) for line in log.read_text().splitlines()}
    first = [one for one in messages if not one[0].endswith(".escalated")]
    assert len(first) == 2 and len(messages) == 4
    assert len({one[0] for one in messages}) == 4
    told = sorted(key for one in first for key in json.loads(one[2].replace("'", '"')))
    assert told == [f"regression:run-1:{name}:open" for name in "abc"]
