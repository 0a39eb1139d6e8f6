# SPDX-License-Identifier: Apache-2.0
"""Help and listings: what they show, what they import, what they cost."""

from __future__ import annotations

import importlib.metadata as metadata
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from accelerate_core import cli, hookspecs
from accelerate_core.cli import overview

Accel = Callable[..., subprocess.CompletedProcess[str]]
Install = Callable[..., Path]

#: What no listing may import, beside the packages of the plugins themselves.
HEAVY = ("aiohttp", "duckdb", "numpy", "onnx", "onnxruntime", "selenium", "torch", "transformers")
#: Issue 2, table of benchmarks.
HELP_LIMIT = 6


def imported_by(*words: str) -> set[str]:
    """Return the top-level modules that a command leaves imported."""
    code = (
        "import sys; from accelerate_core.cli import main; code = main(sys.argv[1:]);"
        "print('\\n' + ' '.join({name.partition('.')[0] for name in sys.modules}));"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def plugin_packages() -> set[str]:
    """Return the packages that plugins live in."""
    groups = metadata.entry_points().groups
    return {
        entry.value.partition(":")[0].partition(".")[0]
        for group in groups
        if group.startswith("accelerate_")
        for entry in metadata.entry_points(group=group)
    } - {"accelerate_core"}


@pytest.mark.parametrize(
    "words",
    [["bench", "--help"], ["doctor", "--help"], ["plugins", "list"], ["plugins", "list", "--json"]],
    ids=" ".join,
)
def test_help_and_lists_import_no_plugin(words: list[str]) -> None:
    modules = imported_by(*words)
    assert plugin_packages() >= {"accelerate_cpu", "accelerate_duckdb"}
    assert not modules & (plugin_packages() | set(HEAVY))


def test_a_command_lists_what_is_installed_once(
    accel: Accel, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, look = [], metadata.entry_points
    monkeypatch.setattr(metadata, "entry_points", lambda **how: looks.append(how) or look(**how))
    for words in (("models", "list", "--json"), ("plugins", "list"), ("outbox", "list")):
        looks.clear()
        accel(*words)
        assert len(looks) == 1


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_the_first_look_imports_nothing_at_all(word: str) -> None:
    light = {"asyncio", "attr", "cattrs", "pluggy", "rich", "typer"}
    assert not imported_by(word) & (light | plugin_packages() | set(HEAVY))


def test_help_costs_little_more_than_python() -> None:
    def cost(*words: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(words, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # Interleaved, and the least of each: the machine's noise only ever adds.
    accel = str(Path(sys.executable).with_name("accel"))
    pairs = [(cost(sys.executable, "-c", "pass"), cost(accel, "--help")) for _ in range(6)]
    bare, shown = (min(times) for times in zip(*pairs, strict=True))
    assert shown <= HELP_LIMIT * bare


def test_help_names_every_command(
    accel: Accel, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = install(
        "acme-hello",
        "raise RuntimeError('imported by a listing')",
        "[accelerate_core.commands]\nhello = acme_hello:app\n",
        summary="Says hello.",
    )
    monkeypatch.syspath_prepend(site)
    shown = accel("--help")
    assert shown.returncode == 0
    for word in (*overview.COMMANDS, "browsers", "models", "query", "--debug"):
        assert word in shown.stdout
    assert "hello       Says hello. [acme-hello]" in shown.stdout
    assert "acme-hello" in accel("plugins", "list").stdout


def test_each_command_of_a_distribution_says_what_it_does_itself(accel: Accel) -> None:
    shown = accel("--help", COLUMNS="100").stdout
    assert "Ask the results, also while a run writes them. [accelerate-duckdb]" in shown
    assert "Show what a job went through, also while its process runs. [accelerate-duckdb]" in shown


def test_help_is_the_same_with_other_options(accel: Accel) -> None:
    assert accel("--debug", "--help").stdout == accel("-h").stdout == accel().stdout
    # This way goes through Typer.
    assert accel("--help", "run").stdout == accel().stdout
    assert accel("--debug", "--version").stdout == accel("--version").stdout


def test_help_fits_80_columns(accel: Accel) -> None:
    for words in ((), ("run",), ("bench",), ("doctor",), ("report",), ("plugins", "check")):
        shown = accel(*words, "--help", COLUMNS="80")
        assert shown.returncode == 0
        assert max(map(len, shown.stdout.splitlines())) <= 80


def test_the_group_is_the_one_of_the_specs() -> None:
    assert overview.GROUP == hookspecs.COMMANDS_GROUP


@pytest.mark.parametrize("words", [["--help"], ["plugins", "list"]], ids=" ".join)
def test_no_traceback_when_the_reader_goes_away(
    start: Callable[..., subprocess.Popen[str]], words: list[str]
) -> None:
    process = start(*words)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(30) == 1


@pytest.mark.parametrize("words", [["run"], ["bench"], ["plugins", "nope"], ["--nope"]])
def test_bad_usage_exits_2(accel: Accel, words: list[str]) -> None:
    done = accel(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Usage: accel" in done.stderr


def test_an_unknown_command_is_refused_with_the_known_ones(accel: Accel) -> None:
    done = accel("docter")
    assert done.returncode == 2
    assert "no command is called 'docter'" in done.stderr
    assert "browsers" in done.stderr and "Did you mean 'doctor'?" in done.stderr


def test_plugins_list_as_json(accel: Accel) -> None:
    listed = json.loads(accel("plugins", "list", "--json").stdout)
    cpu = next(one for one in listed if one["family"] == "backends" and one["name"] == "cpu")
    assert cpu["distribution"] == "accelerate-cpu"
    assert cpu["problem"] is None


def test_ctrl_c_while_modules_are_imported_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupting:
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "accelerate_core.cli.commands":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "accelerate_core.cli.commands", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    assert cli.main(["run", "pipeline.toml"]) == 130
    assert capsys.readouterr().err == "interrupted\n"
