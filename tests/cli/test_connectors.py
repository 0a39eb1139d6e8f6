# SPDX-License-Identifier: Apache-2.0
"""`accel connectors` and `accel outbox`, and that no secret is in anything a run leaves."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest
from accelerate_duckdb.store import DuckDbStore

from accelerate_core.config import load
from accelerate_core.delivering.outbox import OutboxPlugin, StoredOutbox
from accelerate_core.errors import ErrorInfo
from accelerate_core.events import Regression
from accelerate_core.host import Host
from accelerate_core.serial import to_plain
from accelerate_core.testing import samples

from .conftest import TINY, Done

Accel = Callable[..., Done]
Install = Callable[..., Path]

CANARY = "canary-4711-do-not-show"

PAGER = """
import logging
import os
import signal
import threading
import attrs
from accelerate_core import hookimpl
from accelerate_core.errors import ConnectorError
from accelerate_core.secrets import Secret

@attrs.frozen(kw_only=True)
class Settings:
    #: Who may page.
    token: Secret
    #: What it answers.
    answer: str = "yes"

class Pager:
    name = "pager"
    settings = Settings
    @hookimpl
    def connector_create(self, settings):
        return Connector(settings)

released = threading.Event()

class Connector:
    kinds = ("run_finished", "run_failed", "regression", "measurement_stored")
    def __init__(self, settings):
        self.settings = settings
    def ask(self):
        token = self.settings.token.reveal()
        logging.getLogger("pager").debug("POST /page?token=%s", token)
        if self.settings.answer == "bug":
            raise ValueError(f"no such pager {token} in {self.settings}")
        if self.settings.answer != "yes":
            raise ConnectorError(
                f"GET https://pager.example/?token={token} answered {self.settings.answer}",
                where=f"pager {token}",
                hint=f"Is {token} right?",
                retryable=self.settings.answer == "503",
            )
    def deliver(self, event):
        self.ask()
    def check(self):
        if self.settings.answer == "wrong":
            return [f"the token {self.settings.token.reveal()} lacks the right pager:write"]
        if self.settings.answer == "silence":
            os.kill(os.getpid(), signal.SIGINT)
            released.wait(60)
        self.ask()
        return []
    def unkept(self):
        return ["pages"]
    def close(self):
        pass
"""


@pytest.fixture
def pager(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a connector that answers as its settings say."""
    entries = "[accelerate_core.connectors]\npager = acme_pager:Pager\n"
    monkeypatch.syspath_prepend(install("acme-pager", PAGER, entries))
    monkeypatch.delitem(sys.modules, "acme_pager", raising=False)
    monkeypatch.setenv("PAGER_TOKEN", CANARY)


def write(folder: Path, *answers: str, more: str = "") -> Path:
    """Write a pipeline file with a connector for each answer."""
    tables = "".join(
        f'[[connectors]]\nuse = "pager"\nid = "{answer}"\n'
        f'token = "env:PAGER_TOKEN"\nanswer = "{answer}"\n'
        for answer in answers
    )
    path = folder / "pipeline.toml"
    path.write_text(
        f'[store]\nuse = "duckdb"\npath = "{folder}/results.duckdb"\n{more}\n{tables}'
        f'[[models]]\nname = "tiny"\nsource = "file:{TINY}"\n'
        '[[benchmarks]]\ntargets = ["cpu"]\nrepeats = 3\n'
    )
    return path


def filled(folder: Path, *errors: str, connector: str = "yes") -> None:
    """Put a regression for each error into the outbox: given up with it, or waiting without."""
    store = DuckDbStore.open(folder / "results.duckdb", tables=OutboxPlugin().store_tables())
    sample = next(one for one in samples.every_event() if isinstance(one, Regression))
    with store.transaction() as transaction:
        for number, text in enumerate(errors):
            event = attrs.evolve(sample, id=f"r-{number}")
            StoredOutbox(store).put(event, (connector,), datetime.now(UTC))
            if text:
                error = to_plain(ErrorInfo(kind="ConnectorError", message=text))
                transaction.execute(
                    "UPDATE outbox_deliveries SET state = 'dead', error = ? WHERE key = ?",
                    [json.dumps(error), event.key],
                )
    store.close()


@pytest.mark.usefixtures("pager")
def test_check_says_what_is_wrong_with_each_connector(accel: Accel, tmp_path: Path) -> None:
    file = write(tmp_path, "yes", "wrong", "503", "bug")
    done = accel("connectors", "check", file)
    assert done.returncode == 1 and CANARY not in done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "yes: ok" and "wrong: not ok" in lines
    assert "  the token *** lacks the right pager:write" in lines
    assert any("ValueError: no such pager ***" in line for line in lines)
    found = json.loads(accel("connectors", "check", file, "yes", "wrong", "--json").stdout)
    assert found == {"yes": [], "wrong": ["the token *** lacks the right pager:write"]}
    assert accel("connectors", "check", file, "yes").returncode == 0


@pytest.mark.usefixtures("pager")
def test_check_refuses_what_is_not_there(accel: Accel, tmp_path: Path) -> None:
    file = write(tmp_path, "yes")
    done = accel("connectors", "check", file, "yess")
    assert done.returncode == 2 and "Did you mean 'yes'?" in done.stderr
    assert accel("connectors", "check", tmp_path / "no.toml").returncode == 2
    assert accel("connectors", "check").returncode == 2
    done = accel("connectors", "check", write(tmp_path))
    assert done.returncode == 0 and "has no [[connectors]]" in done.stdout


@pytest.mark.usefixtures("pager")
def test_check_names_who_never_hears_of_anything(accel: Accel, tmp_path: Path) -> None:
    file = write(tmp_path, "yes", "503")
    file.write_text(file.read_text().replace('answer = "yes"', 'on = ["notification"]'))
    done = accel("connectors", "check", file, "yes", "--json")
    assert done.returncode == 1
    (problem,) = json.loads(done.stdout)["yes"]
    assert "hears of notifications only, and no rule names it" in problem


@pytest.mark.usefixtures("pager")
def test_check_says_what_a_missing_store_loses(accel: Accel, tmp_path: Path) -> None:
    file = write(tmp_path, "yes")
    assert accel("connectors", "check", file).stderr == ""
    file.write_text(file.read_text().partition("\n\n")[2])
    done = accel("connectors", "check", file)
    assert done.returncode == 0
    assert done.stderr == "warning: yes: without [store] a run's end loses pages\n"


@pytest.mark.usefixtures("pager")
def test_ctrl_c_waits_for_no_service_that_is_silent(accel: Accel, tmp_path: Path) -> None:
    done = accel("connectors", "check", write(tmp_path, "silence"))
    alive = [thread for thread in threading.enumerate() if thread.name == "check-silence"]
    assert done.returncode == 130 and alive
    sys.modules["acme_pager"].released.set()
    alive[0].join()


def test_the_outbox_needs_a_database_and_names_that_it_knows(accel: Accel, tmp_path: Path) -> None:
    for words in (("list",), ("retry", "1"), ("drop", "--all")):
        done = accel("outbox", *words)
        assert done.returncode == 2 and "no such database" in done.stderr
    filled(tmp_path, "", "no right")
    for command in ("retry", "drop"):
        done = accel("outbox", command, "9")
        assert done.returncode == 2 and "nothing in the outbox is called '9'" in done.stderr
        for words in ((), ("1", "--all")):
            done = accel("outbox", command, *words)
            assert done.returncode == 2 and "name deliveries, or all" in done.stderr
    path = tmp_path / "pipeline.toml"
    path.write_text("")
    done = accel("outbox", "send", path)
    assert done.returncode == 2 and "nothing outlives a run" in done.stderr


def test_the_list_shows_any_text(accel: Accel, tmp_path: Path) -> None:
    filled(tmp_path, *samples.HOSTILE)
    done = accel("outbox", "list")
    assert done.returncode == 0 and not set("\x1b\x07\u202e") & set(done.stdout)
    starts = [line.split()[:4] for line in done.stdout.splitlines() if line[:1].isdigit()]
    assert starts == [
        [str(number), "yes", "regression", "dead"] for number, _ in enumerate(samples.HOSTILE, 1)
    ]
    rows = json.loads(accel("outbox", "list", "--json").stdout)
    assert [row["error"]["message"] for row in rows] == list(samples.HOSTILE)
    assert {row["state"] for row in rows} == {"dead"}


def test_a_list_and_a_report_ask_the_run_that_holds_the_database(
    accel: Accel, tmp_path: Path
) -> None:
    filled(tmp_path, "", "no right")
    database = tmp_path / "results.duckdb"
    with contextlib.closing(DuckDbStore.open(database, tables=Host().tables())) as store:
        store.save_run(samples.run_info())
        done = accel("outbox", "list", "--json")
        assert done.returncode == 0 and done.stderr == ""
        assert [row["state"] for row in json.loads(done.stdout)] == ["waiting", "dead"]
        assert accel("report", "--list").returncode == 0
        history = accel("notify", "history")
        assert history.returncode == 0 and "No rule made anything known." in history.stdout


def test_what_was_given_up_is_retried_or_dropped(accel: Accel, tmp_path: Path) -> None:
    filled(tmp_path, "", "no right", "no place", "no room")
    assert "no right" in accel("outbox", "list").stdout
    assert accel("outbox", "drop", "2").stdout == "1 message dropped\n"
    assert accel("outbox", "drop", "2").stdout == "0 messages dropped\n"
    assert accel("outbox", "retry", "--all").stdout.startswith("2 messages due again")
    rows = json.loads(accel("outbox", "list", "--json").stdout)
    assert [(row["number"], row["state"]) for row in rows] == [
        (1, "waiting"),
        (3, "waiting"),
        (4, "waiting"),
    ]
    every = json.loads(accel("outbox", "list", "--all", "--json").stdout)
    assert [row["state"] for row in every] == ["waiting", "dropped", "waiting", "waiting"]
    shown = accel("outbox", "list", "--connector", "nobody").stdout
    assert shown == "Nothing was ever for nobody, only for: yes.\n"
    accel("outbox", "drop", "1", "3", "4")
    shown = accel("outbox", "list", "--connector", "yes").stdout
    assert shown == "Everything was delivered.\n"


@pytest.mark.usefixtures("pager")
def test_send_delivers_without_a_run_and_says_what_is_left(accel: Accel, tmp_path: Path) -> None:
    filled(tmp_path, "", "")
    done = accel("outbox", "send", write(tmp_path, "yes"))
    assert done.returncode == 0 and done.stdout == "2 of 2 messages delivered or given up\n"
    filled(tmp_path, "", "", "", connector="gone")
    done = accel("outbox", "send", write(tmp_path, "yes"))
    assert done.returncode == 1
    assert "gone: 3 messages for a connector that" in done.stderr
    filled(tmp_path, "", connector="503")
    done = accel("outbox", "send", write(tmp_path, "503"), "--wait", "0.1", "--json")
    assert done.returncode == 1 and CANARY not in done.stdout + done.stderr
    assert "503: not delivered yet" in json.loads(done.stdout)["problems"][0]


@pytest.mark.usefixtures("pager")
def test_a_secret_is_in_nothing_that_a_run_leaves(
    accel: Accel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answers = ("503", "401", "bug")
    formats = ("json", "csv", "markdown", "html", "junit")
    reports = "".join(
        f'[[reports]]\nuse = "{name}"\npath = "{tmp_path}/report-{name}"\n' for name in formats
    )
    file = write(tmp_path, *answers, more=reports)
    with caplog.at_level(logging.INFO):
        shown = [
            accel(*words)
            for words in (
                ("--debug", "run", file),
                ("outbox", "list", "--all"),
                ("outbox", "list", "--all", "--json"),
                ("--debug", "connectors", "check", file, "--json"),
                ("query", "SELECT * FROM outbox_deliveries"),
            )
        ]
    printed = "".join(one.stdout + one.stderr for one in shown)
    for number, one in enumerate(shown):
        # Each was about to be shown, by everything that is printed.
        assert number == 0 or (one.stdout + one.stderr).count("***") >= len(answers), one.args
    left = [path for path in tmp_path.rglob("*") if path.is_file() and "site" not in path.parts]
    names = {path.name for path in left}
    assert {"results.duckdb", *(f"report-{name}" for name in formats)} <= names
    assert CANARY not in printed + caplog.text
    for path in left:
        assert CANARY.encode() not in path.read_bytes(), path
    config = load(file)
    assert CANARY not in repr(config)
