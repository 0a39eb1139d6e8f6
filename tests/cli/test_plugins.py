# SPDX-License-Identifier: Apache-2.0
"""Plugins of strangers: good ones work, broken ones are named and hurt nobody."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest

Accel = Callable[..., subprocess.CompletedProcess[str]]
Install = Callable[..., Path]

TINY = Path(str(resources.files("accelerate_core") / "data")) / "tiny_mlp.onnx"


@pytest.fixture
def installed(install: Install, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that installs a distribution for this process."""

    def install_(*words: str) -> None:
        monkeypatch.syspath_prepend(install(*words))

    return install_


HELLO = """
import typer

from accelerate_core.errors import ConfigError

app = typer.Typer()


@app.command()
def hello(name: str, shout: bool = False):
    '''Say hello.'''
    if name == "stop":
        raise KeyboardInterrupt
    if name == "bug":
        raise LookupError("a bug")
    if name == "nobody":
        raise ConfigError("nobody is there", where="NAME", accepted=["a", "b"], hint="Try a.")
    print(f"hello {name}")
"""


def test_a_strangers_command_works(accel: Accel, installed: Callable[..., None]) -> None:
    installed("acme-hi", HELLO, "[accelerate_core.commands]\nhi = acme_hi:app\n")
    assert accel("hi", "you").stdout == "hello you\n"
    shown = accel("hi", "--help").stdout
    assert "Say hello." in shown and "--shout" in shown
    assert "--install-completion" not in shown
    refused = accel("hi", "nobody")
    assert refused.returncode == 2
    assert refused.stderr.splitlines() == [
        "error: nobody is there",
        "  where: NAME",
        "  accepted: a, b",
        "  hint: Try a.",
    ]
    bug = accel("hi", "bug")
    assert bug.returncode == 1
    assert "unexpected LookupError: a bug" in bug.stderr and "--debug" in bug.stderr
    assert "Traceback" not in bug.stderr
    assert "Traceback" in accel("hi", "bug", "--debug").stderr


def test_ctrl_c_in_any_command_is_said(accel: Accel, installed: Callable[..., None]) -> None:
    installed("acme-hi", HELLO, "[accelerate_core.commands]\nhi = acme_hi:app\n")
    done = accel("hi", "stop")
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


def test_a_broken_command_hurts_only_itself(accel: Accel, installed: Callable[..., None]) -> None:
    entries = "[accelerate_core.commands]\nbad = acme_bad:app\nodd = json:dumps\n"
    installed("acme-bad", "import no_such_module_here", entries)
    done = accel("bad")
    assert done.returncode == 1
    assert "cannot be imported: ModuleNotFoundError" in done.stderr
    assert "acme-bad 0.1" in done.stderr
    assert "the command 'odd' is a function" in accel("odd").stderr
    assert accel("--help").returncode == 0
    checked = accel("plugins", "check", "commands.bad")
    assert checked.returncode == 1
    assert "no_such_module_here" in checked.stdout


def test_a_name_claimed_twice_is_refused_naming_both(
    accel: Accel, installed: Callable[..., None]
) -> None:
    entries = "[accelerate_core.commands]\nclash = acme_{}:app\n[accelerate_core.stores]\n"
    installed("acme-one", HELLO, entries.format("one"))
    installed("acme-two", HELLO, entries.format("two"))
    done = accel("clash", "you")
    assert done.returncode == 1
    assert "'clash' is claimed by acme-one 0.1 and acme-two 0.1" in done.stderr
    listed = json.loads(accel("plugins", "list", "--json").stdout)
    problems = [one["problem"] for one in listed if one["name"] == "clash"]
    assert len(problems) == 2
    assert all("claimed by acme-one" in problem for problem in problems)
    assert accel("plugins", "check", "clash").returncode == 1


def test_a_broken_model_source_is_skipped_and_reported(
    accel: Accel, installed: Callable[..., None]
) -> None:
    installed(
        "acme-source", "raise OSError('no disk')", "[accelerate_core.models]\nx = acme_source:X\n"
    )
    done = accel("bench", TINY, "--repeats", 3)
    assert done.returncode == 0
    assert "accelerate_core.models 'x' was skipped" in done.stderr
    assert "no disk" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_entry_point_nobody_reads_is_a_problem(
    accel: Accel, installed: Callable[..., None]
) -> None:
    installed("acme-typo", "", "[accelerate_core.backend]\nx = acme_typo:X\n")
    listed = json.loads(accel("plugins", "list", "--json").stdout)
    problem = next(one["problem"] for one in listed if one["distribution"] == "acme-typo")
    assert problem == "no family reads the entry-point group 'accelerate_core.backend'"
    checked = accel("plugins", "check", "x")
    assert checked.returncode == 1
    assert "Did you mean 'accelerate_core.backends'?" in checked.stdout


BAD_HOOKS = """
import attrs
from accelerate_core import hookimpl


@attrs.define
class Settings:
    level: int


class NoCreate:
    @hookimpl
    def run_started(self, event): ...


class Misspelt:
    @hookimpl
    def backend_creat(self, settings, ctx): ...


class NoDefault:
    settings = Settings

    @hookimpl
    def report_create(self, settings, ctx): ...


class OtherName:
    name = "someone"

    @hookimpl
    def report_create(self, settings, ctx): ...
"""


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nocreate", "has no backend_create"),
        ("misspelt", "backend_creat"),
        ("nodefault", "the setting 'level' has no default"),
        ("othername", "calls itself 'someone'"),
    ],
)
def test_check_says_how_a_plugin_breaks_its_contract(
    accel: Accel, installed: Callable[..., None], name: str, told: str
) -> None:
    installed(
        f"acme-{name}",
        BAD_HOOKS,
        f"""\
        [accelerate_core.backends]
        nocreate = acme_{name}:NoCreate
        misspelt = acme_{name}:Misspelt
        [accelerate_core.reports]
        nodefault = acme_{name}:NoDefault
        othername = acme_{name}:OtherName
        """,
    )
    done = accel("plugins", "check", name, "--json")
    assert done.returncode == 1
    (checked,) = json.loads(done.stdout)
    assert told in checked["faults"][0]


def test_a_connector_may_need_what_nobody_can_guess(accel: Accel) -> None:
    done = accel("plugins", "check", "connectors.jira", "--json")
    (jira,) = json.loads(done.stdout)
    assert jira["faults"] == [] and done.returncode == 0


def test_check_measures_the_import(
    accel: Accel, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import time\nend = time.process_time() + 0.1\nwhile time.process_time() < end: pass\n"
        + BAD_HOOKS.replace("level: int", "level: int = 1")
    )
    site = install("acme-slow", code, "[accelerate_core.reports]\nslow = acme_slow:NoDefault\n")
    monkeypatch.syspath_prepend(site)
    done = accel("plugins", "check", "slow", PYTHONPATH=str(site))
    assert done.returncode == 0
    assert "slow: over 50 ms" in done.stdout
    (cpu,) = json.loads(accel("plugins", "check", "backends.cpu", "--json").stdout)
    assert cpu["faults"] == [] and 0 < cpu["import_ms"] < 50


def test_show_explains_settings_and_hooks(accel: Accel) -> None:
    done = accel("plugins", "show", "cpu", "--json")
    (cpu,) = json.loads(done.stdout)
    assert cpu["hooks"] == ["backend_create"]
    threads = next(one for one in cpu["settings"] if one["name"] == "threads")
    assert threads["default"] == "None"
    assert threads["doc"].startswith("Threads that share one run.")
    assert "optimization" in accel("plugins", "show", "backends.cpu", COLUMNS="80").stdout
    refused = accel("plugins", "show", "cpuu")
    assert refused.returncode == 2
    assert "Did you mean 'cpu'?" in refused.stderr
