# SPDX-License-Identifier: Apache-2.0
"""The plugins, as the host finds and uses them."""

from __future__ import annotations

import inspect
from importlib import metadata
from pathlib import Path
from typing import Any

import attrs
import pluggy
import pytest

from accelerate_core.errors import ConfigError
from accelerate_core.hookspecs import report
from accelerate_core.markers import PROJECT
from accelerate_core.protocols import Context

from . import samples

PLUGINS = {
    entry.name: entry
    for entry in metadata.entry_points(group="accelerate_core.reports")
    if entry.value.startswith("accelerate_reports.")
}
FILES = sorted(set(PLUGINS) - {"terminal"})


def create(name: str, ctx: Context, **settings: Any) -> Any:
    plugin = PLUGINS[name].load()()
    assert plugin.name == name
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(report)
    manager.register(plugin)
    manager.check_pending()
    kind = getattr(plugin, "settings", None)
    return manager.hook.report_create(settings=kind and kind(**settings), ctx=ctx)


def test_every_format_is_there() -> None:
    assert set(PLUGINS) == {"terminal", "html", "markdown", "csv", "json", "junit"}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_written_where_the_settings_say(name: str, ctx: Context, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report"
    made = create(name, ctx, path=str(path))
    assert not path.parent.exists()
    for summary in (samples.everything(), samples.summary()):
        assert made.write(summary) == path
        assert path.read_text(encoding="utf-8")
    assert [child.name for child in path.parent.iterdir()] == ["report"]


@pytest.mark.parametrize("name", FILES)
def test_what_is_simulated_says_so(name: str, ctx: Context, tmp_path: Path) -> None:
    made = create(name, ctx, path=str(tmp_path / "report"))
    made.write(samples.summary(samples.simulated()))
    assert "SIMULATED" in (tmp_path / "report").read_text()
    made.write(samples.summary(*samples.good()))
    assert "SIMULATED" not in _without_style((tmp_path / "report").read_text())


def _without_style(text: str) -> str:
    return text.partition("</style>")[2] or text


@pytest.mark.parametrize("name", FILES)
def test_a_directory_is_refused_before_the_run(name: str, ctx: Context, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a directory") as caught:
        create(name, ctx, path=str(tmp_path))
    assert caught.value.info.where == f"reports.{name}.path"


@pytest.mark.parametrize("name", FILES)
def test_every_setting_has_a_default_and_is_explained(name: str) -> None:
    kind = PLUGINS[name].load().settings
    assert kind() == kind()
    explained = inspect.getsource(kind).count("#:")
    assert explained == len(attrs.fields(kind))


def test_the_terminal_report_has_no_file(ctx: Context, capsys: pytest.CaptureFixture[str]) -> None:
    assert create("terminal", ctx).write(samples.everything()) is None
    assert "FAILED" in capsys.readouterr().out
