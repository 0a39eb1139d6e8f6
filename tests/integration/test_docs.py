# SPDX-License-Identifier: Apache-2.0
"""What README and docs print works: code runs, files parse, commands and links exist."""

from __future__ import annotations

import functools
import inspect
import os
import re
import shlex
import subprocess
import sys
import tomllib
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import typer

from accelerate_core import config, testing
from accelerate_core.assembly import assemble, make_host
from accelerate_core.cli.commands import LazyCommand, app
from accelerate_core.cli.overview import COMMANDS, plugin_commands
from accelerate_core.errors import AccelerateError
from accelerate_core.events import EVENT_TYPES
from accelerate_core.hookspecs import CORE_FAMILIES
from accelerate_core.host import Host
from accelerate_core.testing.contract import Contract

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/plugins/accelerate-example-scheduler"
#: Written by tools/docs.py, which has its own test.
GENERATED = ("configuration.md", "hooks.md")
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in GENERATED),
]
_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_INLINE = re.compile(r"`([^`]+)`")


@attrs.frozen
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    info: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def _blocks(page: Path, *infos: str) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, match.start()) + 1, match[1], match[2])
        for match in _FENCE.finditer(text)
        if not infos or match[1] in infos
    ]


def _all(*infos: str) -> list[Any]:
    return [pytest.param(block, id=str(block)) for page in PAGES for block in _blocks(page, *infos)]


def _prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


# --- code -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", _all("python", "python run"))
def test_python_compiles(block: Block) -> None:
    compile(block.text, str(block), "exec")


def test_fences_say_what_they_hold() -> None:
    known = {"python", "python run", "toml", "yaml", "text", "sh", "json", ""}
    # "wgsl folder/file.wgsl": a file of an example, which its own test writes and runs.
    found = {block.info for page in PAGES for block in _blocks(page)}
    assert {info for info in found if "/" not in info} <= known


def _run(command: Sequence[str], folder: Path) -> str:
    state = {"ACCELERATE_STATE_DIR": str(folder / "state"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **state}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_getting_started_runs(tmp_path: Path) -> None:
    script = tmp_path / "getting_started.py"
    script.write_text(_joined("getting-started.md"))
    out = _run([sys.executable, str(script)], tmp_path)
    assert sys.platform == "darwin" or "safari exists only on" in out


def _joined(page: str) -> str:
    return "\n\n".join(block.text for block in _blocks(ROOT / "docs" / page, "python run"))


@pytest.fixture(scope="module")
def plugins_page() -> dict[str, Any]:
    """Return the names that the examples of docs/plugins.md define."""
    return _executed("plugins_page", _joined("plugins.md"))


def _executed(name: str, text: str) -> dict[str, Any]:
    # A module of its own: attrs resolves the types of settings through it.
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(text, name, "exec", dont_inherit=True), vars(module))
    return dict(vars(module))


def test_plugin_examples_pass_their_kits(tmp_path: Path, plugins_page: dict[str, Any]) -> None:
    shown = {
        one.__mro__[1].__name__
        for name, one in plugins_page.items()
        if name.startswith("Test") and isinstance(one, type) and issubclass(one, Contract)
    }
    # The scheduler is the complete example, tested apart; a backend need not keep sessions, nor a
    # connector have a service.
    apart = {"SchedulerContract", "ServiceContract", "SessionContract"}
    assert shown == {*testing.__all__, "DetectorContract"} - apart
    (tmp_path / "test_plugins_page.py").write_text(_joined("plugins.md"))
    options = ["-q", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
    out = _run([sys.executable, "-m", "pytest", *options, str(tmp_path)], tmp_path)
    assert " passed" in out and "skipped" not in out


def test_plugin_examples_are_taken_by_the_host(
    plugins_page: dict[str, Any], tmp_path: Path
) -> None:
    from accelerate_browser.hookspecs import ENGINES, LAUNCHERS
    from accelerate_chaos.hookspecs import FAULTS
    from accelerate_insights.hookspecs import DETECTORS
    from accelerate_models.hookspecs import BUILDERS
    from accelerate_plan.hookspecs import KERNELS

    host = Host(cache_dir=tmp_path, state_dir=tmp_path)
    for family in (LAUNCHERS, ENGINES, BUILDERS, KERNELS, FAULTS, DETECTORS):
        host.add_family(family)
    creates = {one.create: name for name, one in host.families.items() if one.create}
    shown = set()
    for plugin in plugins_page.values():
        name = getattr(plugin, "name", None)
        if not isinstance(plugin, type) or not isinstance(name, str):
            continue
        of = next((creates[hook] for hook in vars(plugin) if hook in creates), "listeners")
        host.add(of, name, plugin)
        host.check_settings(of, name, {})
        shown.add(of)
    assert shown == {*host.families} - {"schedulers"}
    assert "listeners.bell" in host.listeners()
    assert "notes" in [one.namespace for one in host.tables()]
    assert isinstance(plugins_page["app"], typer.Typer)


def test_a_backend_is_as_short_as_promised() -> None:
    (text,) = (
        block.text
        for block in _blocks(ROOT / "docs/plugins.md", "python run")
        if "(Backend)" in block.text
    )
    assert len([line for line in text.splitlines() if line.strip()]) <= 60


def test_the_complete_example_is_the_real_one() -> None:
    page = (ROOT / "docs/plugins.md").read_text()
    for file in ("src/accelerate_example_scheduler/__init__.py", "tests/test_contract.py"):
        source = (EXAMPLE / file).read_text().split("\n", 1)[1].lstrip("\n")
        assert source in page, f"{file} is not printed as it is"
    assert (EXAMPLE / "pyproject.toml").read_text() in page
    readme = (ROOT / "README.md").read_text()
    code = (EXAMPLE / "src/accelerate_example_scheduler/__init__.py").read_text()
    assert code[code.index("from accelerate_core import") :] in readme


# --- configuration --------------------------------------------------------------------------------


@pytest.mark.parametrize("block", _all("toml"))
def test_toml_is_accepted(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = tomllib.loads(block.text)
    if "build-system" in data:
        return  # the example's pyproject.toml, compared with the file above
    parsed = config.parse(data, where=str(block))
    host = make_host(parsed, cache_dir=tmp_path, state_dir=tmp_path)
    if parsed.pool.scheduler == "last_idle":
        host.add("schedulers", "last_idle", _last_idle())
    for name in re.findall(r'"env:(\w+)"', block.text):
        monkeypatch.setenv(name, "https://secret.example/")
    with assemble(parsed, host):  # checks the settings of every plugin it names
        pass


def _last_idle() -> Any:
    text = (EXAMPLE / "src/accelerate_example_scheduler/__init__.py").read_text()
    return _executed("example_scheduler", text)["LastIdle"]


# --- commands -------------------------------------------------------------------------------------


def _commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        prose = _prose(page)
        lines = [line.strip() for line in prose.splitlines() if line.startswith("    accel")]
        lines += [
            line.removeprefix("$ ")
            for block in _blocks(page, "text", "sh")
            for line in block.text.splitlines()
            if line.startswith(("accel ", "$ accel "))
        ]
        lines += [text for text in _INLINE.findall(prose) if text.startswith("accel ")]
        yield from dict.fromkeys((page.name, line) for line in lines)


@functools.cache
def _root_command() -> Any:
    return typer.main.get_command(app)


@pytest.mark.parametrize(("page", "line"), [*_commands()])
def test_command_exists(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    words = words[: words.index(">")] if ">" in words else words
    words = [word for word in words if word not in ("--debug", "--help")]
    if not words:
        return
    root = _root_command()
    command, context = root, root.context_class(root, info_name="accel")
    while words and (command is root or getattr(command, "commands", None)):
        name, *words = words
        if name == "NAME":  # "accel NAME": whatever a plugin is called
            return
        command = command.get_command(context, name)
        assert command is not None, f"accel has no command {name!r}"
        context = command.context_class(command, parent=context, info_name=name)
    if words and isinstance(command, LazyCommand):  # knows its options when it is invoked
        command.make_context(command.name, words, parent=context.parent)
    elif words:
        known = {flag for one in command.params for flag in one.opts}
        assert {word for word in words if word.startswith("--")} <= known
        command.parse_args(context, words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in re.findall(r"(?:^    |`|^)make ([a-z-]+)", page.read_text(), re.MULTILINE):
        assert name in targets, f"make {name}"


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(_prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert target.is_relative_to(ROOT)
        if anchor:
            headings = _HEADING.findall(_prose(target))
            assert anchor in {_anchor(one) for one in headings}, f"{link}: no such heading"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_hook_is_documented_with_its_arguments() -> None:
    from accelerate_browser.hookspecs import ENGINES, LAUNCHERS
    from accelerate_chaos.hookspecs import FAULTS
    from accelerate_ci.hookspecs import PROVIDERS
    from accelerate_insights.hookspecs import DETECTORS
    from accelerate_models.hookspecs import BUILDERS
    from accelerate_plan.hookspecs import KERNELS

    page = (ROOT / "docs/plugins.md").read_text()
    opened = (ENGINES, LAUNCHERS, BUILDERS, KERNELS, FAULTS, DETECTORS, PROVIDERS)
    for family in (*CORE_FAMILIES, *opened):
        module = sys.modules.get(family.specs) or __import__(family.specs, fromlist=["_"])
        for name, hook in inspect.getmembers(module, inspect.isfunction):
            if hook.__module__ == family.specs and hasattr(hook, "accelerate_spec"):
                call = f"`{name}({', '.join(inspect.signature(hook).parameters)})`"
                assert call in page, f"{call} is not in docs/plugins.md"
        assert family.group in page
    assert set(EVENT_TYPES) <= set(re.findall(r"`(\w+)\(event\)`", page))


def test_every_error_is_explained() -> None:
    def tree(kind: type[AccelerateError]) -> Iterator[str]:
        for child in kind.__subclasses__():
            if child.__module__ == "accelerate_core.errors":
                yield child.__name__
                yield from tree(child)

    page = (ROOT / "docs/troubleshooting.md").read_text()
    for name in tree(AccelerateError):
        assert f"### {name}\n" in page, name


def test_the_readme_names_every_page_and_command() -> None:
    readme = (ROOT / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in readme, page.name
    for name in (*COMMANDS, *plugin_commands()):
        assert f"`accel {name}" in readme, name


def test_pictures_are_small() -> None:
    pictures = [*(ROOT / "docs/images").iterdir()]
    assert pictures
    assert all(picture.stat().st_size < 300_000 for picture in pictures)
