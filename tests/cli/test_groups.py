# SPDX-License-Identifier: Apache-2.0
"""Commands that one distribution adds to the group of another."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Accel = Callable[..., subprocess.CompletedProcess[str]]
Install = Callable[..., Path]

SHRINK = """
import typer

app = typer.Typer()


@app.command()
def shrink(name: str, by: int = 2):
    '''Make a model smaller.'''
    print(f"{name} by {by}")
"""


@pytest.fixture
def extended(install: Install, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Return a function that installs code with the given commands."""

    def install_(code: str, entries: str) -> None:
        text = f"[accelerate_core.commands]\n{entries}\n"
        monkeypatch.syspath_prepend(install("acme-shrink", code, text))
        monkeypatch.delitem(sys.modules, "acme_shrink", raising=False)

    return install_


def test_a_command_joins_the_group_of_another_distribution(
    accel: Accel, extended: Callable[[str, str], None]
) -> None:
    extended(SHRINK, "models.shrink = acme_shrink:app")
    assert accel("models", "shrink", "minilm", "--by", "3").stdout == "minilm by 3\n"
    shown = accel("models", "--help").stdout
    assert "Make a model smaller. [acme-shrink]" in shown and "inspect" in shown
    help_ = accel("models", "shrink", "--help").stdout
    assert "accel models shrink" in help_ and "--by" in help_
    assert "shrink" not in accel("--help").stdout
    assert accel("models.shrink", "minilm").returncode == 2
    assert "commands.models.shrink" in accel("plugins", "check", "models.shrink").stdout


WORDY = """
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.callback()
def group():
    '''Do things to a model.'''


@app.command()
def shrink(
    files: Annotated[list[Path], typer.Argument(metavar="[FILE]...")],
    by: int = 2,
    until: list[float] = [],
    device: str = "",
):
    '''Make models smaller and smaller, one after the other, until none of them is left at all.'''
"""


def test_help_speaks_of_names_and_not_of_types(
    accel: Accel, extended: Callable[[str, str], None]
) -> None:
    extended(WORDY, "shrinking = acme_shrink:app")
    shown = " ".join(accel("shrinking", "--help").stdout.split())
    assert "until none of them is left at all" in shown
    shown = accel("shrinking", "shrink", "--help").stdout
    assert "Usage: accel shrinking shrink [OPTIONS] FILE...\n" in shown
    assert all(f" {word}" in shown for word in ("--by N", "--until NUMBER", "--device DEVICE"))
    assert "<" not in shown and "\N{BOX DRAWINGS LIGHT HORIZONTAL}" not in shown


def test_it_is_imported_only_when_invoked(
    accel: Accel, extended: Callable[[str, str], None]
) -> None:
    extended("raise RuntimeError('imported')", "models.shrink = acme_shrink:app")
    assert accel("models", "list", "--json").returncode == 0
    assert accel("--help").returncode == 0
    invoked = accel("models", "shrink")
    assert invoked.returncode == 1
    assert "cannot be imported: RuntimeError: imported" in invoked.stderr


def test_a_broken_one_does_not_hide_the_groups_help(
    accel: Accel, extended: Callable[[str, str], None]
) -> None:
    extended("", "models.shrink = json:dumps")
    shown = accel("models", "--help")
    assert shown.returncode == 0 and "inspect" in shown.stdout
    assert "broken: the command 'models.shrink' is a function" in " ".join(shown.stdout.split())


def test_a_groups_own_command_wins(accel: Accel, extended: Callable[[str, str], None]) -> None:
    extended("raise RuntimeError('imported')", "models.list = acme_shrink:app")
    assert accel("models", "list", "--json").returncode == 0


def test_two_claims_of_one_name_are_refused(
    accel: Accel, install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = "[accelerate_core.commands]\nmodels.shrink = {}:app\n"
    for name in ("acme_a", "acme_b"):
        site = install(name.replace("_", "-"), SHRINK, entries.format(name))
    monkeypatch.syspath_prepend(site)
    done = accel("models", "shrink", "minilm")
    assert done.returncode == 1
    assert "'models.shrink' is claimed by acme-a 0.1 and acme-b 0.1" in done.stderr
